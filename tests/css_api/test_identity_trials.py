"""What a trial against a real Keystone taught: holds, short tokens, catalogs, texts."""

from __future__ import annotations

import datetime
import logging
import os
from typing import Any

import pytest

from backups.css_api import session
from backups.css_api.errors import ConfigurationError, IdentityError
from backups.css_api.session import CloudConnection, connect
from dashboard.http.redact import Secret

from .conftest import QUICK, WriteClouds, entry
from .servers import PROJECT, Cloud, whole


def refused(connection: CloudConnection) -> IdentityError:
    with pytest.raises(IdentityError) as caught:
        connection.identity()
    return caught.value


def sign_ins(cloud: Cloud) -> int:
    return sum(request.method == "POST" for request in cloud.server.requests)


def token(
    lives: float = 3600.0, places: tuple[tuple[str, str, str], ...] = (), **more: Any
) -> bytes:
    """A token's answer; `places` are css endpoints (region, interface, url)."""
    now = datetime.datetime.now(datetime.UTC)
    end = now + datetime.timedelta(seconds=lives)
    endpoints = [
        {"id": f"e{n}", "region": region, "region_id": region, "interface": kind, "url": url}
        for n, (region, kind, url) in enumerate(places)
    ]
    body = {
        "methods": ["password"],
        "issued_at": f"{now:%Y-%m-%dT%H:%M:%S.%fZ}",
        "expires_at": f"{end:%Y-%m-%dT%H:%M:%S.%fZ}",
        "user": {"id": "u", "name": "u", "domain": {"id": "d", "name": "d"}},
        "project": {"id": PROJECT, "name": "p", "domain": {"id": "d", "name": "d"}},
        "catalog": [{"type": "css", "name": "css", "id": "s", "endpoints": endpoints}],
    } | more
    return whole(201, {"token": body}, X_Subject_Token="a-token")


HERE = ("eu-test", "public", "https://css.example/v1.0")


# --- Refused credentials -------------------------------------------------------------------------


def test_refused_credentials_are_not_sent_again_at_once(
    connection: CloudConnection, cloud: Cloud
) -> None:
    right, cloud.secret = cloud.secret, "another"
    first = refused(connection)
    cloud.secret = right
    second = refused(connection)
    assert sign_ins(cloud) == 1
    assert (second.status, second.retryable, second.detail) == (401, False, first.detail)


def test_refused_credentials_are_tried_again_after_the_hold(
    connection: CloudConnection, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "FIRST_REJECTION_HOLD", 0.001)
    right, cloud.secret = cloud.secret, "another"
    refused(connection)
    cloud.secret = right
    for _ in range(10_000):
        try:
            connection.identity()
        except IdentityError:
            continue
        break
    assert connection.identity().project_id == PROJECT
    assert sign_ins(cloud) == 2


def test_the_hold_grows_to_its_longest(connection: CloudConnection, cloud: Cloud) -> None:
    cloud.secret = "another"
    holds = []
    for _ in range(6):
        refused(connection)
        holds.append(connection._hold)
        connection._held_until = 0.0
    assert holds == [30.0, 60.0, 120.0, 240.0, 300.0, 300.0]
    assert sign_ins(cloud) == 6


def test_a_changed_file_is_tried_at_once(cloud: Cloud, write_clouds: WriteClouds) -> None:
    wrong = entry(cloud)
    wrong["auth"] = {**wrong["auth"], "password": "wrong"}  # type: ignore[dict-item]
    write_clouds(demo=wrong)
    refused(connect("demo", "eu-test", timeouts=QUICK))
    path = write_clouds(demo=entry(cloud))
    os.utime(path, ns=(5, 5))  # another time, however coarse the file system's clock
    assert connect("demo", "eu-test", timeouts=QUICK).identity().project_id == PROJECT


def test_a_failing_identity_service_is_asked_again_at_once(
    connection: CloudConnection, cloud: Cloud
) -> None:
    cloud.identity_answer = whole(503)
    refused(connection)
    cloud.identity_answer = None
    assert connection.identity().project_id == PROJECT


def test_a_second_factor_is_said(connection: CloudConnection, cloud: Cloud) -> None:
    body = {
        "receipt": {
            "methods": ["password"],
            "expires_at": "2099-01-01T00:00:00.000000Z",
            "issued_at": "2020-01-01T00:00:00.000000Z",
            "user": {"id": "u", "name": "u", "domain": {"id": "d", "name": "d"}},
        },
        "required_auth_methods": [["password", "totp"]],
    }
    cloud.identity_answer = whole(401, body, Openstack_Auth_Receipt="a-receipt")
    error = refused(connection)
    assert (error.status, error.retryable) == (401, False)
    assert "second factor: use an application credential" in error.detail


# --- Tokens --------------------------------------------------------------------------------------


def test_a_token_of_half_a_minute_serves_more_than_one_request(
    connection: CloudConnection, cloud: Cloud
) -> None:
    cloud.identity_answer = token(30, (HERE,))
    for _ in range(5):
        connection.identity()
    assert sign_ins(cloud) == 1


def test_a_token_is_renewed_in_the_last_quarter_of_a_short_life(
    connection: CloudConnection, cloud: Cloud
) -> None:
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=70)
    cloud.identity_answer = token(30, (HERE,), issued_at=f"{past:%Y-%m-%dT%H:%M:%S.%fZ}")
    connection.identity()
    connection.identity()
    assert sign_ins(cloud) == 1
    past -= datetime.timedelta(seconds=40)  # lives 140 s, 30 s are left: less than a quarter
    cloud.identity_answer = token(30, (HERE,), issued_at=f"{past:%Y-%m-%dT%H:%M:%S.%fZ}")
    connection.authorization(rejected=Secret("a-token"))
    connection.identity()
    assert sign_ins(cloud) == 3


def test_a_token_of_a_day_is_renewed_two_minutes_before_its_end(
    connection: CloudConnection, cloud: Cloud
) -> None:
    cloud.identity_answer = token(100, (HERE,), issued_at="2020-01-01T00:00:00.000000Z")
    connection.identity()
    connection.identity()
    assert sign_ins(cloud) == 2


# --- The catalog ---------------------------------------------------------------------------------

NL = ("eu-nl", "public", "https://css.eu-nl.example/v1.0")


def test_an_entry_without_region_and_a_catalog_with_two_is_refused(
    cloud: Cloud, write_clouds: WriteClouds
) -> None:
    made = entry(cloud)
    del made["region_name"]
    write_clouds(demo=made)
    cloud.identity_answer = token(places=(NL, HERE))
    error = refused(connect("demo", "", timeouts=QUICK))
    assert error.detail.endswith("has css in eu-nl, eu-test: set region_name in its entry")
    assert not error.retryable


def test_an_entry_with_region_takes_its_endpoint_of_two(
    connection: CloudConnection, cloud: Cloud
) -> None:
    cloud.identity_answer = token(places=(NL, HERE))
    assert connection.identity().endpoint == f"https://css.example/v1.0/{PROJECT}"


def test_an_interface_that_the_catalog_lacks_is_said(
    cloud: Cloud, write_clouds: WriteClouds
) -> None:
    write_clouds(demo=entry(cloud, interface="internal"))
    detail = refused(connect("demo", "eu-test", timeouts=QUICK)).detail
    assert "for region 'eu-test' and interface 'internal': it has css in eu-test (public)" in detail


# --- Entries that cannot work --------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["password", "v3password"])
def test_an_entry_without_password_is_said_before_anything_is_sent(
    cloud: Cloud, write_clouds: WriteClouds, kind: str
) -> None:
    made = entry(cloud, auth_type=kind)
    del made["auth"]["password"]  # type: ignore[attr-defined]
    write_clouds(demo=made)
    with pytest.raises(ConfigurationError, match=r"'demo'.*password is missing"):
        connect("demo", "eu-test", timeouts=QUICK)
    assert cloud.server.connections == 0


def test_an_unknown_key_is_named_without_its_value(cloud: Cloud, write_clouds: WriteClouds) -> None:
    made = entry(cloud)
    made["auth"] = {**made["auth"], "pasword": "hunter22"}  # type: ignore[dict-item]
    write_clouds(demo=made)
    with pytest.raises(ConfigurationError, match="pasword is not a setting") as caught:
        connect("demo", "eu-test", timeouts=QUICK)
    assert "hunter22" not in str(caught.value)


def test_a_password_in_an_address_is_refused_and_not_logged(
    cloud: Cloud, write_clouds: WriteClouds, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made = entry(cloud)
    url = cloud.url.replace("//", "//me:hunter22@") + "/v3"
    made["auth"] = {**made["auth"], "auth_url": url}  # type: ignore[dict-item]
    write_clouds(demo=made)
    with pytest.raises(ConfigurationError, match="contains a user name or password") as caught:
        connect("demo", "eu-test", timeouts=QUICK)
    assert "hunter22" not in str(caught.value) + caplog.text
    assert cloud.server.connections == 0
