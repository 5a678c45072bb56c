"""Tokens and endpoints: from the identity service, shared by threads, with errors in words."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from backups.css_api.errors import ConfigurationError, IdentityError, SecondFactorError
from backups.css_api.identity import endpoint_of, secrets_of
from backups.css_api.session import CloudConnection, connect
from dashboard.http.wire import Timeouts

from .conftest import QUICK, WriteClouds, entry
from .servers import PROJECT, Cloud, Peer, serving, whole

END = f"https://css.example/v1.0/{PROJECT}"


def rejection(connection: CloudConnection) -> IdentityError:
    with pytest.raises(IdentityError) as caught:
        connection.identity()
    assert "\n" not in str(caught.value)
    assert "correct horse" not in str(caught.value)
    return caught.value


# --- Signing in ----------------------------------------------------------------------------------


def test_a_password_gives_project_and_endpoint(connection: CloudConnection, cloud: Cloud) -> None:
    identity = connection.identity()
    assert (identity.cloud, identity.region) == ("demo", "eu-test")
    assert (identity.project_id, identity.project_name) == (PROJECT, "eu-test_logs")
    assert identity.endpoint == f"{cloud.url}/v1.0/{PROJECT}"


def test_an_application_credential_signs_in(cloud: Cloud, write_clouds: WriteClouds) -> None:
    auth = {
        "auth_url": f"{cloud.url}/v3",
        "application_credential_id": "id",
        "application_credential_secret": cloud.secret,
    }
    write_clouds(demo={"auth_type": "v3applicationcredential", "auth": auth})
    connection = connect("demo", "", timeouts=QUICK)
    assert connection.identity().project_id == PROJECT
    assert cloud.secret in connection.secrets


def test_the_token_is_kept(connection: CloudConnection, cloud: Cloud) -> None:
    assert connection.authorization() is connection.authorization()
    assert cloud.issued == 1


def test_the_user_agent_names_product_and_version(
    connection: CloudConnection, cloud: Cloud
) -> None:
    connection.identity()
    agents = {request.headers["user-agent"] for request in cloud.server.requests}
    assert {agent.split()[0] for agent in agents} == {"css-log-backup-dashboard/0.1.0"}


def test_many_threads_share_one_token(connection: CloudConnection, cloud: Cloud) -> None:
    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(lambda _: connection.authorization().token, range(40)))
    assert len(tokens) == 1
    assert cloud.issued == 1


def test_threads_that_were_refused_the_same_token_renew_it_once(
    connection: CloudConnection, cloud: Cloud
) -> None:
    old = connection.authorization().token
    with ThreadPoolExecutor(8) as pool:
        renewed = set(pool.map(lambda _: connection.authorization(rejected=old).token, range(8)))
    assert len(renewed) == 1
    assert old not in renewed
    assert cloud.issued == 2


class Door:
    """A lock that counts who has come to it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.came = threading.Semaphore(0)

    def __enter__(self) -> None:
        self.came.release()
        self.lock.acquire()

    def __exit__(self, *error: object) -> None:
        self.lock.release()


def test_threads_that_wait_share_a_failure(cloud: Cloud, connection: CloudConnection) -> None:
    go = threading.Event()
    cloud.identity_answer = whole(503)
    cloud.identity_delay = lambda: go.wait(3) and None
    door = Door()
    connection._lock = door  # type: ignore[assignment]
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(lambda: str(rejection(connection))) for _ in range(4)]
        for _ in asked:
            assert door.came.acquire(timeout=3)
        go.set()
        assert len({future.result() for future in asked}) == 1
    assert len([r for r in cloud.server.requests if r.method == "POST"]) == 1


# --- What goes wrong -----------------------------------------------------------------------------


def test_refused_credentials_are_said_with_the_entry(
    connection: CloudConnection, cloud: Cloud
) -> None:
    cloud.secret = "another"
    error = rejection(connection)
    assert (error.status, error.retryable) == (401, False)
    assert error.detail == (
        "the identity service rejected the credentials of clouds.yaml entry 'demo' (401): "
        "they are wrong, expired or disabled, or have no role in the project"
    )


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (
            {"error": {"message": "mfa totp code verify fail", "code": 401}},
            SecondFactorError,
            "it wants a second factor: use an application credential; "
            "it says: mfa totp code verify fail",
        ),
        (
            {"error_code": "IAM.0061", "error_msg": "the account correct horse is\nlocked"},
            IdentityError,
            "or have no role in the project; it says: the account [redacted] is locked",
        ),
        ({"error": {"message": 7}}, IdentityError, "or have no role in the project"),
        ({"error": "no"}, IdentityError, "or have no role in the project"),
        ([], IdentityError, "or have no role in the project"),
    ],
)
def test_what_the_identity_service_says_of_a_refusal_is_shown_without_secrets(
    connection: CloudConnection, cloud: Cloud, answer: object, kind: type, said: str
) -> None:
    cloud.identity_answer = whole(401, answer, Content_Type="application/json")
    error = rejection(connection)
    assert type(error) is kind
    assert error.detail.endswith(said), error.detail
    assert cloud.secret not in error.detail


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(400, False), (403, False), (404, False), (429, True), (500, True), (503, True)],
)
def test_other_statuses_are_passed_on(
    connection: CloudConnection, cloud: Cloud, status: int, retryable: bool
) -> None:
    cloud.identity_answer = whole(status, {"error": {"message": "why so", "code": status}})
    error = rejection(connection)
    assert (error.status, error.retryable) == (status, retryable)
    assert f"answered {status}" in error.detail


def test_how_long_an_identity_service_asks_to_wait_is_passed_on(
    connection: CloudConnection, cloud: Cloud
) -> None:
    cloud.identity_answer = whole(429, Retry_After="9")
    error = rejection(connection)
    assert (error.retry_after, error.again().retry_after) == (9.0, 9.0)


@pytest.mark.parametrize(
    "answer",
    [
        whole(200, b"<html>maintenance</html>"),
        whole(201, {"token": []}, X_Subject_Token="t"),
        whole(201, {"token": {}}),
        whole(201, b"null", X_Subject_Token="t"),
        whole(201, {"token": {"project": {"id": PROJECT}}}, X_Subject_Token="t"),
        whole(201, {"token": {"project": {"id": PROJECT}, "expires_at": ""}}, X_Subject_Token="t"),
        whole(201, {"token": {"catalog": {"a": 1}, "project": 5}}, X_Subject_Token="t"),
    ],
)
def test_an_answer_that_identity_does_not_give_is_an_identity_error(
    connection: CloudConnection, cloud: Cloud, answer: bytes
) -> None:
    cloud.identity_answer = answer
    rejection(connection)


def test_a_redirect_does_not_carry_the_password_away(
    connection: CloudConnection, cloud: Cloud
) -> None:
    with serving(lambda peer: None) as elsewhere:
        cloud.identity_answer = whole(307, b"", Location=f"{elsewhere.url}/v3/auth/tokens")
        error = rejection(connection)
        assert elsewhere.connections == 0
    assert (error.status, error.retryable) == (307, False)
    assert "redirects" in error.detail


@pytest.mark.parametrize("path", ["/v3", ""])
def test_an_identity_service_that_is_away_is_retryable(
    cloud: Cloud, write_clouds: WriteClouds, path: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    made = entry(cloud)
    made["auth"] = {**made["auth"], "auth_url": f"http://127.0.0.1:{port}{path}"}  # type: ignore[dict-item]
    write_clouds(demo=made)
    error = rejection(connect("demo", "", timeouts=QUICK))
    assert (error.status, error.retryable) == (None, True)
    assert f"127.0.0.1:{port}" in error.detail


def test_an_identity_service_that_drips_is_given_up_after_the_total_time(
    cloud: Cloud, write_clouds: WriteClouds
) -> None:
    def drip(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nX: ")
        while not slow.stopping.wait(0.05):
            peer.send(b"x")

    with serving(drip) as slow:
        made = entry(cloud)
        made["auth"] = {**made["auth"], "auth_url": f"{slow.url}/v3"}  # type: ignore[dict-item]
        write_clouds(demo=made)
        began = time.monotonic()
        error = rejection(connect("demo", "", timeouts=Timeouts(connect=1, read=1, total=1)))
    assert error.retryable
    assert time.monotonic() - began < 2


def test_a_token_for_no_project_is_said(connection: CloudConnection, cloud: Cloud) -> None:
    cloud.project = None
    assert "for no project" in rejection(connection).detail


@pytest.mark.parametrize(
    ("change", "expected"),
    [({"region": "eu-nl"}, "it has css in eu-nl"), ({"service": "dns"}, "it has dns")],
)
def test_a_catalog_without_css_says_what_it_has(
    connection: CloudConnection, cloud: Cloud, change: dict[str, str], expected: str
) -> None:
    for name, value in change.items():
        setattr(cloud, name, value)
    detail = rejection(connection).detail
    assert "no css endpoint for region 'eu-test'" in detail
    assert expected in detail


# --- The endpoint --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        END,
        f"{END}/",
        "https://css.example/v1.0/$(tenant_id)s",
        "https://css.example/v1.0/%(project_id)s",
        "https://css.example/v1.0/%(tenant_id)s/",
        "https://css.example/v1.0/$(project_id)s",
        "https://css.example/v1.0",
        "https://css.example/v1.0/",
        "https://css.example",
        f"https://css.example/{PROJECT}",
    ],
)
def test_every_spelling_of_an_endpoint_comes_to_the_same(url: str) -> None:
    assert endpoint_of(url, PROJECT) == END


def test_a_path_before_the_version_stays() -> None:
    assert endpoint_of("https://gw/css", "p") == "https://gw/css/v1.0/p"


def test_an_endpoint_of_another_project_is_refused() -> None:
    with pytest.raises(IdentityError, match="another project"):
        endpoint_of("https://css.example/v1.0/ffff", PROJECT)


def test_an_override_goes_before_the_catalog(cloud: Cloud, write_clouds: WriteClouds) -> None:
    cloud.service = "dns"
    write_clouds(demo=entry(cloud, css_endpoint_override="http://127.0.0.1:1/v1.0/%(project_id)s"))
    endpoint = connect("demo", "eu-test", timeouts=QUICK).identity().endpoint
    assert endpoint == f"http://127.0.0.1:1/v1.0/{PROJECT}"


def test_a_plain_endpoint_on_another_machine_needs_leave(
    cloud: Cloud, write_clouds: WriteClouds
) -> None:
    there = "http://css.example/v1.0"
    write_clouds(demo=entry(cloud, css_endpoint_override=there))
    with pytest.raises(ConfigurationError, match=r"css\.example is not HTTPS.*plain_http"):
        connect("demo", "eu-test", timeouts=QUICK).identity()
    write_clouds(demo=entry(cloud, css_endpoint_override=there, plain_http=True))
    assert connect("demo", "eu-test", timeouts=QUICK).identity().endpoint.startswith(there)


def test_a_plain_identity_address_on_another_machine_is_refused(
    write_clouds: WriteClouds, cloud: Cloud
) -> None:
    made = entry(cloud)
    made["auth"] = {**made["auth"], "auth_url": "http://iam.example/v3"}  # type: ignore[dict-item]
    write_clouds(demo=made)
    with pytest.raises(ConfigurationError, match=r"iam\.example is not HTTPS"):
        connect("demo", "", timeouts=QUICK)


# --- Connections ---------------------------------------------------------------------------------


def test_a_connection_is_made_once_and_anew_when_the_file_changes(
    cloud: Cloud, write_clouds: WriteClouds
) -> None:
    path = write_clouds(demo=entry(cloud))
    first = connect("demo", "eu-test", timeouts=QUICK)
    assert connect("demo", "eu-test", timeouts=QUICK) is first
    os.utime(path, ns=(5, 5))
    second = connect("demo", "eu-test", timeouts=QUICK)
    assert second is not first


def test_each_thread_has_its_own_session(connection: CloudConnection) -> None:
    with ThreadPoolExecutor(1) as pool:
        elsewhere = pool.submit(connection.http).result()
        assert pool.submit(connection.http).result() is elsewhere
    assert connection.http() is connection.http()
    assert connection.http() is not elsewhere


def test_a_missing_certificate_file_is_said(cloud: Cloud, write_clouds: WriteClouds) -> None:
    write_clouds(demo=entry(cloud, cacert="/nonexistent/ca.pem"))
    with pytest.raises(ConfigurationError, match=r"/nonexistent/ca\.pem does not exist"):
        connect("demo", "", timeouts=QUICK)


def test_credentials_without_a_catalog_are_refused(cloud: Cloud, write_clouds: WriteClouds) -> None:
    auth = {"endpoint": cloud.url, "token": "t"}
    write_clouds(demo={"auth_type": "admin_token", "auth": auth})
    with pytest.raises(ConfigurationError, match="admin_token"):
        connect("demo", "", timeouts=QUICK)


def test_secrets_of_an_entry_are_known() -> None:
    found = secrets_of(
        {"auth": {"password": "pw", "username": "u", "token": "t"}, "sk": "s", "key": "/path",
         "region_name": "r", "application_credential_secret": 12345}
    )  # fmt: skip
    assert set(found) == {"pw", "t", "s", "12345"}


@pytest.fixture
def debug_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    loggers = [logging.getLogger(name) for name in ("keystoneauth", "keystoneauth1", "urllib3")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    caplog.set_level(logging.DEBUG)
    yield caplog
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def test_no_log_carries_token_password_or_catalog(
    debug_log: Any, cloud: Cloud, write_clouds: WriteClouds
) -> None:
    write_clouds(demo=entry(cloud))
    connection = connect("demo", "eu-test", timeouts=QUICK)
    token = connection.authorization().token.reveal()
    assert token not in debug_log.text
    assert cloud.secret not in debug_log.text
    assert "catalog" not in debug_log.text
    assert token not in repr(connection.authorization())
