"""The endpoints, against a cloud over real sockets."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest

from backups.css_api.client import CssClient, Exchange, ShownRequest
from backups.css_api.errors import (
    ApiError,
    ConfigurationError,
    IdentityError,
    MalformedAnswer,
    NotSent,
    TransportKind,
    Unanswered,
)
from backups.css_api.session import CloudConnection, connect
from backups.css_api.types import BodyKind, RecordStatus

from .conftest import QUICK, WriteClouds, entry
from .servers import PROJECT, UNAUTHORIZED, Cloud, Request, whole

CLUSTER = "5b1ce123-2cc6-4b6f-a1cd-5e3d9c0f0b6a"
COLLECT = f"/v1.0/{PROJECT}/clusters/{CLUSTER}/logs/collect"


class Recorder:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []

    def before_send(self, request: ShownRequest) -> None:
        self.told.append(("before", (request.method, request.path)))

    def after(self, exchange: Exchange) -> None:
        self.told.append(("after", exchange))

    @property
    def exchanges(self) -> list[Exchange]:
        return [what for kind, what in self.told if isinstance(what, Exchange)]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def client(connection: CloudConnection, recorder: Recorder) -> CssClient:
    return CssClient(connection, recorder)


# --- Collect -------------------------------------------------------------------------------------


def test_collect_is_a_post_without_a_body(client: CssClient, cloud: Cloud) -> None:
    answer = client.collect_logs(CLUSTER)
    assert (answer.status, answer.ok, answer.body_kind) == (200, True, BodyKind.EMPTY)
    assert (answer.method, answer.path) == ("POST", COLLECT)
    [request] = cloud.css_requests()
    assert (request.method, request.path, request.body) == ("POST", COLLECT, b"")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["content-length"] == "0"
    assert request.headers["x-auth-token"] == "token-number-1"
    assert request.headers["user-agent"].startswith("css-log-backup-dashboard/")


@pytest.mark.parametrize("status", [202, 307, 400, 403, 404, 409, 412, 415, 429, 500, 503])
def test_collect_gives_the_answer_whatever_its_status(
    client: CssClient, cloud: Cloud, recorder: Recorder, status: int
) -> None:
    body = {"errCode": "CSS.3004", "externalMessage": "CSS.3004 : busy"}
    cloud.css = lambda request: whole(status, body, X_Request_Id="r-9", Retry_After="3")
    answer = client.collect_logs(CLUSTER)
    assert (answer.status, answer.error_code, answer.ok) == (status, "CSS.3004", False)
    assert (answer.request_id, answer.retry_after) == ("r-9", 3.0)
    assert [exchange.answer for exchange in recorder.exchanges] == [answer]
    assert len(cloud.css_requests()) == 1


def test_a_huge_answer_to_collect_is_marked(client: CssClient, cloud: Cloud) -> None:
    cloud.css = lambda request: whole(200, b"x" * 100_000)
    answer = client.collect_logs(CLUSTER)
    assert (answer.body_kind, answer.size) == (BodyKind.OVERSIZED, 64 * 1024)


def test_a_refused_connection_is_not_sent_and_recorded(
    cloud: Cloud, write_clouds: WriteClouds, recorder: Recorder
) -> None:
    write_clouds(demo=entry(cloud, css_endpoint_override="http://127.0.0.1:1/v1.0"))
    client = CssClient(connect("demo", "eu-test", timeouts=QUICK), recorder)
    with pytest.raises(NotSent) as caught:
        client.collect_logs(CLUSTER)
    assert caught.value.kind is TransportKind.REFUSED
    [exchange] = recorder.exchanges
    assert (exchange.answer, exchange.error) == (None, caught.value)
    assert exchange.started_at.tzinfo is UTC


def test_a_truncated_2xx_is_unanswered_and_recorded(
    client: CssClient, cloud: Cloud, recorder: Recorder
) -> None:
    def truncated(request: Request) -> bytes:
        threading.Thread(target=cloud.server.stop).start()
        return b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"

    cloud.css = truncated
    with pytest.raises(Unanswered):
        client.collect_logs(CLUSTER)
    assert isinstance(recorder.exchanges[0].error, Unanswered)


@pytest.mark.parametrize("bad", ["", "..", ".", "a/b", "a?b", "a b", "ä", "x" * 65, "a\n", "%2e"])
def test_an_id_that_is_none_is_not_put_into_a_path(
    client: CssClient, cloud: Cloud, bad: str
) -> None:
    with pytest.raises(ConfigurationError):
        client.collect_logs(bad)
    assert cloud.server.requests == []


# --- The recorder --------------------------------------------------------------------------------


def test_a_recorder_that_raises_stops_the_request(
    connection: CloudConnection, cloud: Cloud
) -> None:
    class Stop(Exception):
        pass

    class Refuses(Recorder):
        def before_send(self, request: ShownRequest) -> None:
            raise Stop

    recorder = Refuses()
    with pytest.raises(Stop):
        CssClient(connection, recorder).collect_logs(CLUSTER)
    assert cloud.css_requests() == []
    assert recorder.exchanges == []


def test_the_recorder_is_asked_when_the_token_is_in_hand(
    connection: CloudConnection, cloud: Cloud
) -> None:
    seen: list[tuple[int, int]] = []

    class Looks(Recorder):
        def before_send(self, request: ShownRequest) -> None:
            seen.append((cloud.issued, len(cloud.css_requests())))

    CssClient(connection, Looks()).collect_logs(CLUSTER)
    assert seen == [(1, 0)]


def test_without_a_token_the_recorder_is_not_asked(
    client: CssClient, cloud: Cloud, recorder: Recorder
) -> None:
    cloud.secret = "another"
    with pytest.raises(IdentityError):
        client.collect_logs(CLUSTER)
    assert recorder.told == []


# --- 401 -----------------------------------------------------------------------------------------


def test_a_401_renews_the_token_and_sends_again_once(
    client: CssClient, cloud: Cloud, recorder: Recorder
) -> None:
    client.collect_logs(CLUSTER)
    cloud.valid.clear()
    recorder.told.clear()
    assert client.collect_logs(CLUSTER).status == 200
    assert cloud.issued == 2
    assert [kind for kind, _ in recorder.told] == ["before", "after", "before", "after"]
    assert [e.answer.status for e in recorder.exchanges if e.answer] == [401, 200]
    tokens = [request.headers["x-auth-token"] for request in cloud.css_requests()]
    assert tokens == ["token-number-1", "token-number-1", "token-number-2"]


def test_a_401_that_stays_is_the_answer(client: CssClient, cloud: Cloud) -> None:
    cloud.css = lambda request: UNAUTHORIZED
    answer = client.collect_logs(CLUSTER)
    assert (answer.status, answer.error_code) == (401, "APIGW.0301")
    assert (len(cloud.css_requests()), cloud.issued) == (2, 2)
    with pytest.raises(ApiError):
        client.get_log_settings(CLUSTER)


def test_threads_that_meet_a_401_at_once_renew_the_token_once(
    client: CssClient, cloud: Cloud
) -> None:
    client.collect_logs(CLUSTER)
    cloud.valid.clear()
    together = threading.Barrier(6)

    def collect(_: int) -> int:
        together.wait(3)
        return client.collect_logs(CLUSTER).status

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(collect, range(6))) == {200}
    assert cloud.issued == 2


# --- Reading -------------------------------------------------------------------------------------


def test_settings_and_detail_are_read(client: CssClient, cloud: Cloud) -> None:
    cloud.css = lambda request: whole(
        200, {"logConfiguration": {"obsBucket": "b", "logSwitch": True}}
    )
    assert client.get_log_settings(CLUSTER).bucket == "b"
    cloud.css = lambda request: whole(200, {"id": CLUSTER, "name": "es-1", "status": "200"})
    assert client.get_cluster(CLUSTER).name == "es-1"
    assert [urlsplit(r.path).path.partition(CLUSTER)[2] for r in cloud.css_requests()] == [
        "/logs/settings",
        "",
    ]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "the body is empty"),
        (b"<html></html>", "the body is html"),
        (b"[]", "the body is json other"),
        (b"[" * 100_000, "the body is text"),
        (b"{}", "logConfiguration is missing"),
        (b'{"logConfiguration": {"logSwitch": []}}', "logConfiguration.logSwitch is a list"),
    ],
)
def test_a_2xx_that_cannot_be_used_is_malformed(
    client: CssClient, cloud: Cloud, recorder: Recorder, data: bytes, problem: str
) -> None:
    cloud.css = lambda request: whole(200, data)
    with pytest.raises(MalformedAnswer) as caught:
        client.get_log_settings(CLUSTER)
    assert caught.value.problem.startswith(problem)
    assert [exchange.answer for exchange in recorder.exchanges] == [caught.value.answer]


def test_a_2xx_with_an_error_code_is_an_error(client: CssClient, cloud: Cloud) -> None:
    cloud.css = lambda request: whole(200, {"errCode": "CSS.0011", "logConfiguration": None})
    with pytest.raises(ApiError) as caught:
        client.get_log_settings(CLUSTER)
    assert caught.value.answer.error_code == "CSS.0011"


def test_an_error_on_reading_carries_the_answer(client: CssClient, cloud: Cloud) -> None:
    cloud.css = lambda request: whole(403, {"errCode": "CSS.0015", "externalMessage": "no"})
    with pytest.raises(ApiError, match=r"HTTP 403 CSS\.0015: no") as caught:
        client.get_cluster(CLUSTER)
    assert not isinstance(caught.value, MalformedAnswer)


# --- Lists ---------------------------------------------------------------------------------------


def page_of(rows: list[dict[str, object]], request: Request) -> list[dict[str, object]]:
    query = dict(parse_qsl(urlsplit(request.path).query))
    start = int(query.get("start", 1)) - 1
    return rows[start : start + int(query["limit"])]


def test_more_than_a_thousand_clusters_are_listed(client: CssClient, cloud: Cloud) -> None:
    rows: list[dict[str, object]] = [
        {"id": f"c-{n}", "name": f"n{n}", "status": "200"} for n in range(1205)
    ]
    cloud.css = lambda r: whole(200, {"totalSize": len(rows), "clusters": page_of(rows, r)})
    assert [cluster.id for cluster in client.list_clusters()] == [row["id"] for row in rows]


def test_a_list_that_cannot_be_read_to_its_end_is_malformed(
    client: CssClient, cloud: Cloud
) -> None:
    cloud.css = lambda request: whole(200, {"totalSize": 30, "clusters": [{"id": "only"}]})
    with pytest.raises(MalformedAnswer, match="totalSize is 30, but only 1"):
        client.list_clusters()


NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.fixture(params=["newest first", "oldest first", "shuffled"])
def records(request: pytest.FixtureRequest) -> list[dict[str, object]]:
    order = list(range(250))
    if request.param == "oldest first":
        order.reverse()
    elif request.param == "shuffled":
        order = [(n * 77) % 250 for n in order]
    return [
        {"id": f"r{n}", "jobId": f"j{n}", "status": "SUCCESS", "jobTypes": "Manual",
         "createAt": int((NOON - timedelta(minutes=n)).timestamp() * 1000)}
        for n in order
    ]  # fmt: skip


def test_the_newest_records_are_found_in_any_order(
    client: CssClient, cloud: Cloud, records: list[dict[str, object]]
) -> None:
    cloud.css = lambda r: whole(200, {"clusterLogRecord": page_of(records, r)})
    found = client.list_log_records(CLUSTER, newest=20)
    assert [row.record_id for row in found.rows] == [f"r{n}" for n in range(20)]
    assert found.rows[0].status is RecordStatus.SUCCESS
    since = client.list_log_records(CLUSTER, since=NOON - timedelta(minutes=4, seconds=30))
    assert [row.record_id for row in since.rows] == [f"r{n}" for n in range(5)]


def test_records_that_come_newest_first_take_one_request(client: CssClient, cloud: Cloud) -> None:
    rows: list[dict[str, object]] = [
        {"id": f"r{n}", "createAt": 1_700_000_000_000 - n * 1000} for n in range(500)
    ]
    cloud.css = lambda r: whole(200, {"clusterLogRecord": page_of(rows, r)})
    assert len(client.list_log_records(CLUSTER).rows) == 100
    assert len(cloud.css_requests()) == 1


def test_records_without_a_time_come_last(client: CssClient, cloud: Cloud) -> None:
    rows = [{"id": "none"}, {"id": "old", "createAt": 1}, {"id": "new", "createAt": 1_700_000_000}]
    cloud.css = lambda request: whole(200, {"clusterLogRecord": rows})
    found = client.list_log_records(CLUSTER)
    assert [row.record_id for row in found.rows] == ["new", "old", "none"]


def test_a_secret_that_the_cloud_echoes_is_not_kept(client: CssClient, cloud: Cloud) -> None:
    def echo(request: Request) -> bytes:
        token = request.headers["x-auth-token"]
        return whole(400, {"errCode": "CSS.0001", "externalMessage": f"{token} {cloud.secret}"})

    cloud.css = echo
    answer = client.collect_logs(CLUSTER)
    assert "token-number" not in answer.message + answer.excerpt
    assert cloud.secret not in answer.message + answer.excerpt
