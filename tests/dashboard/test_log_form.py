"""Lines as JSON, fields of events, ids of requests, and repeated errors that are counted."""

from __future__ import annotations

import io
import json
import logging
import sys
from typing import Any

import pytest
import structlog
from django.conf import LazySettings
from django.test import Client
from structlog.contextvars import bound_contextvars, get_contextvars

from backups import tasks
from dashboard import correlation, logs


class Lines:
    """A logger with a handler of ours, and what it wrote."""

    def __init__(self, formatter: logging.Formatter) -> None:
        self.output = io.StringIO()
        self.handler = logs.SummingHandler(self.output)
        self.handler.setFormatter(formatter)
        self.logger = logging.getLogger("tests.log_form")
        self.logger.setLevel(logging.DEBUG)
        self.logger.propagate = False
        self.logger.handlers = [self.handler]
        self.events = structlog.stdlib.get_logger("tests.log_form")

    def read(self) -> list[str]:
        return self.output.getvalue().splitlines()

    def parsed(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.read()]


@pytest.fixture
def as_json() -> Lines:
    return Lines(logs.JsonFormatter(logs.FORMAT))


@pytest.fixture
def as_text() -> Lines:
    return Lines(logs.LineFormatter("%(levelname)s%(of_request)s %(message)s"))


def test_an_event_is_an_object_with_its_fields_and_its_context(as_json: Lines) -> None:
    with bound_contextvars(correlation_id="abc", task="backups.tasks.send_run"):
        as_json.events.info("run sent", run=7, cluster="größe\u2028x", attempt=1, error_code="")
    (line,) = as_json.parsed()
    assert line.pop("timestamp").endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "tests.log_form",
        "event": "run sent",
        "correlation_id": "abc",
        "task": "backups.tasks.send_run",
        "run": 7,
        "cluster": "größe x",
        "attempt": 1,
    }


def test_at_a_terminal_the_fields_follow_the_text(as_text: Lines) -> None:
    with bound_contextvars(correlation_id="abc"):
        as_text.events.info("run sent", run=7, cluster='a "b"')
    assert as_text.read() == ['INFO [abc] run sent run=7 cluster="a \\"b\\""']


def test_other_libraries_fields_are_left_out(as_json: Lines) -> None:
    as_json.logger.info("x", extra={"request": object(), "status_code": 500})
    (line,) = as_json.parsed()
    assert set(line) == {"timestamp", "level", "logger", "event"}


def test_a_traceback_is_in_its_object_and_no_secret_is(
    as_json: Lines, settings: LazySettings
) -> None:
    settings.METRICS_TOKEN = 'a-"quoted"-metrics-token'
    settings.SECRET_KEY = "the-secret-key-of-this-test"
    try:
        raise ValueError(
            f"token={settings.METRICS_TOKEN}\nX-Auth-Token: gAAAAABmXkqT0123456789abcdef"
        )
    except ValueError:
        as_json.logger.exception("failed with %s", settings.SECRET_KEY)
    as_json.events.info("run sent", cluster=settings.SECRET_KEY)
    assert "metrics-token" not in as_json.output.getvalue()
    assert "gAAAA" not in as_json.output.getvalue()
    assert "secret-key-of" not in as_json.output.getvalue()
    first, second = as_json.parsed()
    assert "Traceback" in first["exception"]
    assert second["cluster"] == "[redacted]"


def test_the_same_error_is_written_once_and_then_counted(
    as_json: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: now[0])
    for _ in range(40):
        try:
            raise OSError("away")
        except OSError:
            as_json.logger.exception("the broker is away")
    as_json.logger.warning("run %d is late", 7)
    as_json.logger.warning("run %d is late", 8)
    assert [line["event"] for line in as_json.parsed()] == [
        "the broker is away",
        "run 7 is late",
        "run 8 is late",
    ]
    now[0] += 61
    as_json.logger.warning("the sweep fails")
    summed = as_json.parsed()[3]
    assert (summed["event"], summed["repeated"]) == ("the broker is away", 39)
    assert "exception" not in summed
    # it goes on: only the next count is written
    as_json.logger.exception("the broker is away", exc_info=OSError("away"))
    as_json.handler.close()
    last = as_json.parsed()[-1]
    assert (last["event"], last["repeated"]) == ("the broker is away", 1)


def test_what_happened_to_runs_is_never_held_back(as_json: Lines) -> None:
    for _ in range(3):
        as_json.events.info("run ended", run=7)
    assert len(as_json.parsed()) == 3


def test_different_errors_do_not_fill_the_memory(
    as_json: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(as_json.handler, "MOST", 10)
    for number in range(100):
        as_json.logger.warning("problem %d", number)
    assert len(as_json.read()) == 100
    assert len(as_json.handler._seen) == 10


def test_a_line_from_a_signal_handler_has_the_same_form(
    as_json: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert b" WARNING celery.worker bye\n" in logs.signal_line("celery.worker", "bye")
    monkeypatch.setattr(logging.getLogger(), "handlers", [as_json.handler])
    assert json.loads(logs.signal_line("celery.worker", "bye"))["event"] == "bye"


@pytest.mark.parametrize(
    ("deployment", "form", "name"),
    [
        ("local", "auto", "LineFormatter"),
        ("production", "auto", "JsonFormatter"),
        ("production", "text", "LineFormatter"),
        ("local", "json", "JsonFormatter"),
    ],
)
def test_production_writes_json_unless_told_otherwise(
    deployment: str, form: str, name: str
) -> None:
    assert logs.formatter(deployment, form)["()"] == f"dashboard.logs.{name}"


# --- ids ---------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("given", ["0123abcd", "7d444840-9dc0-11d1-b245-5ffdce74fad2", "a" * 64])
def test_a_well_formed_id_is_taken_and_returned(given: str) -> None:
    answer = Client().get("/sign-in/", headers={"X-Request-ID": given})
    assert answer.headers["X-Request-Id"] == given


@pytest.mark.django_db
@pytest.mark.parametrize(
    "given", ["", "short", "a" * 65, "with blank", 'quote"quote', "new\nline12", "ümlaut-ümlaut"]
)
def test_another_id_is_replaced(given: str) -> None:
    answer = Client().get("/sign-in/", headers={"X-Request-ID": given})
    assert len(answer.headers["X-Request-Id"]) == 32


@pytest.mark.django_db
def test_a_client_cannot_have_the_id_of_a_batch(client: Client) -> None:
    from backups.services.batches.starting import correlation_of

    for number in (17, 4711, 2**40):
        own = correlation_of(number).ljust(8, "0")
        answer = client.get("/sign-in/", headers={"X-Request-ID": own})
        assert len(answer.headers["X-Request-Id"]) == 32, own
    kept = client.get("/sign-in/", headers={"X-Request-ID": "nightly-batch-17"})
    assert kept.headers["X-Request-Id"] == "nightly-batch-17"


@pytest.mark.django_db
def test_a_request_has_one_line_without_its_address(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="dashboard.access"):
        answer = Client().get("/sign-in/?code=of-a-sign-in")
    (record,) = (each for each in caplog.records if each.name == "dashboard.access")
    fields = logs.fields_of(record)
    assert (fields["route"], fields["status"], fields["method"]) == ("login", 200, "GET")
    assert "of-a-sign-in" not in caplog.text + str(fields)
    assert answer.headers["X-Request-Id"]


def test_a_message_carries_the_id_to_its_task_and_no_further() -> None:
    headers: dict[str, Any] = {}
    with bound_contextvars(correlation_id="click-1"):
        correlation._send_along(headers=headers)
    assert headers == {correlation.HEADER: "click-1"}
    task = tasks.canary
    task.push_request(**headers)
    try:
        correlation._take_over(task=task, task_id="t-1")
        assert correlation.current() == "click-1"
        assert get_contextvars()["task"] == "backups.tasks.canary"
        correlation._leave_behind()
        assert correlation.current() == ""
    finally:
        task.pop_request()


def test_the_formatter_of_a_request_in_progress_is_not_confused_by_an_exception() -> None:
    try:
        raise ValueError("a\nb")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "m", (), sys.exc_info())
    line = logs.LineFormatter(logs.FORMAT).format(record)
    assert "\n" not in line
    assert "\n" not in logs.JsonFormatter(logs.FORMAT).format(record)
