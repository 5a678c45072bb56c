"""What may be stored of a request: all that was sent but its secrets."""

from __future__ import annotations

import pytest

from backups.css_api.client import CssClient, Exchange, ShownRequest
from backups.css_api.session import CloudConnection
from backups.css_api.types import LogStorage
from dashboard.http.redact import REDACTED

from .servers import Cloud

CLUSTER = "5b1ce123-2cc6-4b6f-a1cd-5e3d9c0f0b6a"


class Recorder:
    """Keeps the requests that it is told of."""

    def __init__(self) -> None:
        self.requests: list[ShownRequest] = []

    def before_send(self, request: ShownRequest) -> None:
        self.requests.append(request)

    def after(self, exchange: Exchange) -> None:
        """There is nothing to keep."""


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def client(connection: CloudConnection, recorder: Recorder) -> CssClient:
    return CssClient(connection, recorder)


def test_the_address_and_the_headers_are_those_that_arrived_and_the_token_is_not_among_them(
    client: CssClient, cloud: Cloud, recorder: Recorder
) -> None:
    client.collect_logs(CLUSTER)
    [shown], [arrived] = recorder.requests, cloud.css_requests()
    assert (shown.method, shown.path) == (arrived.method, arrived.path)
    assert shown.url == f"http://{arrived.headers['host']}{arrived.path}"
    assert shown.body == ""
    sent = {name: arrived.headers[name.lower()] for name in shown.headers}
    assert sent.pop("X-Auth-Token") == "token-number-1"
    assert dict(shown.headers) == sent | {"X-Auth-Token": REDACTED}
    assert "token-number-1" not in repr(shown)


def test_a_body_is_shown_as_it_was_sent(
    client: CssClient, cloud: Cloud, recorder: Recorder
) -> None:
    client.open_logs(CLUSTER, LogStorage("my-bucket", "css/log", "css_agency"))
    [arrived] = cloud.css_requests()
    assert arrived.body
    assert recorder.requests[0].body == arrived.body.decode()


def test_a_secret_in_a_body_is_taken_out(
    client: CssClient, cloud: Cloud, recorder: Recorder
) -> None:
    client.open_logs(CLUSTER, LogStorage("my-bucket", f"css/{cloud.secret}", "css_agency"))
    [arrived] = cloud.css_requests()
    assert cloud.secret in arrived.body.decode()
    assert cloud.secret not in recorder.requests[0].body
    assert REDACTED in recorder.requests[0].body


def test_a_request_that_is_sent_again_with_a_new_token_is_told_again(
    client: CssClient, cloud: Cloud, recorder: Recorder
) -> None:
    client.collect_logs(CLUSTER)
    cloud.valid.clear()
    client.collect_logs(CLUSTER)
    assert len(recorder.requests) == len(cloud.css_requests()) == 3
    assert {request.headers["X-Auth-Token"] for request in recorder.requests} == {REDACTED}
