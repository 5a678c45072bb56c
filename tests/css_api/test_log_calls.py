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
