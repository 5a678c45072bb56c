"""Log lines carry the request's id and no secret, whoever writes them."""

from __future__ import annotations

import logging
import sys

import pytest
from django.conf import LazySettings
from django.test import Client
from structlog.contextvars import bound_contextvars

from dashboard.logs import LineFormatter

FORMAT = "%(levelname)s%(of_request)s %(message)s"


def line(message: str, *arguments: object, exc_info: bool = False) -> str:
    error = sys.exc_info() if exc_info else None
    record = logging.LogRecord("x", logging.ERROR, "f", 1, message, arguments, error)
    return LineFormatter(FORMAT).format(record)


def test_a_line_inside_a_request_names_it() -> None:
    assert line("out") == "ERROR out"
    with bound_contextvars(correlation_id="abc"):
        assert line("in") == "ERROR [abc] in"


def test_the_id_of_the_answer_is_in_the_log(db: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.setFormatter(LineFormatter(FORMAT))
    answer = Client().post("/no-such-page/", headers={"Host": "evil.example"})
    assert answer.status_code == 400
    assert f"[{answer.headers['X-Request-Id']}]" in caplog.text


def test_secrets_of_the_settings_never_come_through(settings: LazySettings) -> None:
    settings.SECRET_KEY = "the-secret-key-of-this-test"
    settings.REDIS_URL = "redis://:pass%2Fword-of-redis@127.0.0.1:1/0"
    shown = line("%s and %s", settings.SECRET_KEY, "pass/word-of-redis")
    assert shown == "ERROR [redacted] and [redacted]"
    assert "word-of-redis" not in line("cannot reach %s", settings.REDIS_URL)


def test_a_traceback_is_redacted_too() -> None:
    try:
        raise ValueError("X-Auth-Token: gAAAAABmXkqT0123456789abcdef")
    except ValueError:
        shown = line("failed", exc_info=True)
    assert "Traceback" in shown
    assert "gAAAA" not in shown


def test_what_is_no_secret_stays() -> None:
    assert line("run 7: 412 CSS.0004 after 0.2 s") == "ERROR run 7: 412 CSS.0004 after 0.2 s"
