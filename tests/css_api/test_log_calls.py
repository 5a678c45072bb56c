"""Changing log backup settings and searching logs: what goes over the wire, and how often."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

from backups.css_api.client import CssClient
from backups.css_api.errors import ApiError, ConfigurationError, MalformedAnswer, Unanswered
from backups.css_api.session import CloudConnection
from backups.css_api.types import (
    Answer,
    LogLine,
    LogLines,
    LogPolicy,
    LogQuery,
    LogStorage,
)

from .servers import PROJECT, UNAUTHORIZED, Cloud, Request, whole

CLUSTER = "5b1ce123-2cc6-4b6f-a1cd-5e3d9c0f0b6a"
LOGS = f"/v1.0/{PROJECT}/clusters/{CLUSTER}/logs"
STORAGE = LogStorage(bucket="my-bucket", base_path="css/log", agency="css_obs_agency")
STORED = {"agency": "css_obs_agency", "logBasePath": "css/log", "logBucket": "my-bucket"}

Call = Callable[[CssClient, str], Answer]
CHANGES: dict[str, tuple[Call, str, str, dict[str, object] | None]] = {
    "open": (
        lambda client, cluster: client.open_logs(cluster, STORAGE),
        "POST", "/open?action=base_log_collect", STORED,
    ),
    "settings": (
        lambda client, cluster: client.update_log_settings(cluster, STORAGE),
        "POST", "/settings?action=base_log_collect", STORED,
    ),
    "close": (
        lambda client, cluster: client.close_logs(cluster),
        "PUT", "/close?action=base_log_collect", None,
    ),
    "policy": (
        lambda client, cluster: client.update_policy(cluster, LogPolicy("03:00 GMT+05:30")),
        "POST", "/policy/update", {"period": "03:00 GMT+05:30"},
    ),
    "no policy": (
        lambda client, cluster: client.close_policy(cluster),
        "PUT", "/policy/close", None,
    ),
}  # fmt: skip
every_change = pytest.mark.parametrize(
    ("call", "method", "path", "body"), CHANGES.values(), ids=CHANGES.keys()
)


@pytest.fixture
def client(connection: CloudConnection) -> CssClient:
    return CssClient(connection)


@every_change
def test_a_change_is_one_request_with_this_body(
    client: CssClient,
    cloud: Cloud,
    call: Call,
    method: str,
    path: str,
    body: dict[str, object] | None,
) -> None:
    answer = call(client, CLUSTER)
    assert (answer.status, answer.ok) == (200, True)
    [request] = cloud.css_requests()
    assert (request.method, request.path) == (method, LOGS + path)
    assert request.headers["content-type"] == "application/json"
    assert request.headers["content-length"] == str(len(request.body))
    assert (json.loads(request.body) if request.body else None) == body


@every_change
@pytest.mark.parametrize("status", [202, 302, 400, 403, 409, 412, 415, 429, 500, 503, 504])
def test_a_refused_change_gives_the_answer_and_is_not_sent_again(
    client: CssClient,
    cloud: Cloud,
    call: Call,
    method: str,
    path: str,
    body: dict[str, object] | None,
    status: int,
) -> None:
    refusal = {"errCode": "CSS.0048", "externalMessage": "CSS.0048 : no such bucket"}
    cloud.css = lambda request: whole(status, refusal, X_Request_Id="r-7")
    answer = call(client, CLUSTER)
    assert (answer.status, answer.ok) == (status, False)
    assert (answer.error_code, answer.request_id) == ("CSS.0048", "r-7")
    assert (answer.method, answer.path) == (method, LOGS + path)
    assert len(cloud.css_requests()) == 1


@every_change
def test_a_change_without_an_answer_is_not_sent_again(
    client: CssClient,
    cloud: Cloud,
    call: Call,
    method: str,
    path: str,
    body: dict[str, object] | None,
) -> None:
    def hang_up(request: Request) -> bytes:
        raise ConnectionResetError

    cloud.css = hang_up
    with pytest.raises(Unanswered):
        call(client, CLUSTER)
    assert len(cloud.css_requests()) == 1


def test_a_change_that_was_refused_at_the_gate_goes_with_a_new_token_and_the_same_body(
    client: CssClient, cloud: Cloud
) -> None:
    client.open_logs(CLUSTER, STORAGE)
    cloud.valid.clear()
    assert client.open_logs(CLUSTER, STORAGE).ok
    assert [json.loads(request.body) for request in cloud.css_requests()] == [STORED] * 3
    cloud.css = lambda request: UNAUTHORIZED
    assert client.close_logs(CLUSTER).status == 401


@every_change
def test_an_id_that_is_none_is_not_put_into_a_path(
    client: CssClient,
    cloud: Cloud,
    call: Call,
    method: str,
    path: str,
    body: dict[str, object] | None,
) -> None:
    with pytest.raises(ConfigurationError):
        call(client, "../other")
    assert cloud.server.requests == []


# --- Searching -----------------------------------------------------------------------------------

NODE = "css-4312-ess-esn-1-1"


@pytest.mark.parametrize(
    ("query", "body"),
    [
        (
            LogQuery(NODE, "instance"),
            {"instance_name": NODE, "log_type": "instance", "level": "ALL", "limit": 100},
        ),
        (
            LogQuery(
                NODE,
                "searchSlow",
                levels=("WARN", "ERROR"),
                limit=10_000,
                before=datetime(2025, 8, 25, 3, 7, 19, 82_999, timezone(timedelta(hours=2))),
                keyword="took [5s]",
            ),
            {
                "instance_name": NODE,
                "log_type": "searchSlow",
                "level": "WARN|ERROR",
                "limit": 10_000,
                "time_index": "2025-08-25T01:07:19,082",
                "keyword": "took [5s]",
            },
        ),
    ],
    ids=["the least", "everything"],
)
def test_a_search_sends_what_is_asked_for(
    client: CssClient, cloud: Cloud, query: LogQuery, body: dict[str, object]
) -> None:
    found = {"content": "<b>", "date": "2021-10-08T03:55:54,718", "level": "INFO"}
    cloud.css = lambda request: whole(200, {"logList": [found], "type": query.log_type})
    expected = LogLine("2021-10-08T03:55:54,718", "INFO", "<b>")
    assert client.search_logs(CLUSTER, query) == LogLines((expected,), None)
    [request] = cloud.css_requests()
    assert (request.method, request.path) == ("POST", f"{LOGS}/search")
    assert json.loads(request.body) == body


@pytest.mark.parametrize("completed", [True, False])
def test_whether_there_are_more_lines_is_told_where_the_cloud_tells(
    client: CssClient, cloud: Cloud, completed: bool
) -> None:
    cloud.css = lambda request: whole(200, {"logList": [], "completed": completed})
    assert client.search_logs(CLUSTER, LogQuery(NODE, "instance")) == LogLines((), completed)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (whole(400, {"errCode": "CSS.0026", "externalMessage": "too large"}), ApiError, "CSS.0026"),
        (whole(200, b"<html></html>"), MalformedAnswer, "the body is html"),
        (whole(200, {}), MalformedAnswer, "logList is missing"),
        (whole(200, {"logList": [{"content": {}}]}), MalformedAnswer, "logList"),
    ],
)
def test_a_search_that_fails_is_an_error(
    client: CssClient, cloud: Cloud, answer: bytes, error: type[Exception], words: str
) -> None:
    def give(request: Request) -> bytes:
        return answer

    cloud.css = give
    with pytest.raises(error, match=words):
        client.search_logs(CLUSTER, LogQuery(NODE, "instance"))
    assert len(cloud.css_requests()) == 1


@pytest.mark.parametrize("listed", [{}, {"logList": None}, {"logList": []}])
def test_the_text_of_a_logstash_node_becomes_lines(
    client: CssClient, cloud: Cloud, listed: dict[str, object]
) -> None:
    text = "first\r\n\n  second \x1b[31mline\nthird"
    cloud.css = lambda request: whole(200, {"instanceLog": text, "type": "", **listed})
    found = client.search_logs(CLUSTER, LogQuery(NODE, "instance"))
    contents = [line.content for line in found.lines]
    assert contents == ["first", "  second  [31mline", "third"]
    assert {(line.date, line.level) for line in found.lines} == {("", "")}
    cloud.css = lambda request: whole(200, {"instanceLog": "", "type": "", **listed})
    assert client.search_logs(CLUSTER, LogQuery(NODE, "instance")).lines == ()


def test_an_entry_keeps_its_lines_and_loses_control_characters(
    client: CssClient, cloud: Cloud
) -> None:
    entry = {"content": "boom\n\tat x.y\r\n\x07end\n", "date": "d", "level": "ERROR"}
    cloud.css = lambda request: whole(200, {"logList": [entry]})
    [line] = client.search_logs(CLUSTER, LogQuery(NODE, "instance")).lines
    assert line.content == "boom\n\tat x.y\n end"


FORMER = {"instanceName": NODE, "logType": "instance", "level": "DEBUG|INFO|WARN|ERROR"}
ENTRIES = [
    {"content": f"entry {number}", "date": f"2025-08-25T0{number}:00:00,000", "level": "INFO"}
    for number in (5, 4, 3, 2, 1)
]


@pytest.mark.parametrize("code", ["CSS.0001", "CSS.0017", "CSS.5037"])
def test_a_rejected_search_is_repeated_once_with_the_former_names(
    client: CssClient, cloud: Cloud, code: str
) -> None:
    def css(request: Request) -> bytes:
        body = json.loads(request.body)
        if "instanceName" not in body:
            return whole(400, {"errCode": code, "externalMessage": "no"})
        return whole(200, {"logList": ENTRIES})

    cloud.css = css
    query = LogQuery(
        NODE,
        "instance",
        limit=2,
        before=datetime(2025, 8, 25, 5, tzinfo=timezone(timedelta(0))),
        keyword="entry",
    )
    found = client.search_logs(CLUSTER, query)
    assert [line.content for line in found.lines] == ["entry 4", "entry 3"]
    assert (found.complete, found.narrowed_here) == (False, True)
    assert [json.loads(request.body) for request in cloud.css_requests()][1:] == [FORMER]


@pytest.mark.parametrize("refusals", [["CSS.0001", "CSS.0047"], ["CSS.0026"], ["CSS.0010"]])
def test_the_first_refusal_counts_where_the_names_were_not_the_reason(
    client: CssClient, cloud: Cloud, refusals: list[str]
) -> None:
    left = iter(refusals)
    cloud.css = lambda request: whole(400, {"errCode": next(left), "externalMessage": "no"})
    with pytest.raises(ApiError, match=refusals[0]):
        client.search_logs(CLUSTER, LogQuery(NODE, "instance"))
    assert len(cloud.css_requests()) == len(refusals)
