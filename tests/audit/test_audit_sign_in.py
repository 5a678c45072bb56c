"""Sign-ins, failed sign-ins, sign-outs and denied requests are recorded."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.db import DatabaseError
from django.test import Client
from django.urls import reverse

from dashboard.accounts.models import User
from dashboard.audit import trail
from dashboard.audit.models import AuditEvent

pytestmark = pytest.mark.django_db


def sign_in(client: Client, name: str, password: str, **more: Any) -> Any:
    data = {"username": name, "password": password}
    return client.post(reverse("login"), data, headers={"User-Agent": "Firefox"}, **more)


def last_event() -> AuditEvent:
    return AuditEvent.objects.latest("sequence")


def test_a_sign_in_is_recorded_with_who_and_where(client: Client, anna: User) -> None:
    response = sign_in(client, "anna", "a-password", REMOTE_ADDR="192.0.2.7")
    event = last_event()
    assert response.status_code == 302
    assert (event.action, event.actor_name, event.actor_user_id) == ("sign_in", "anna", anna.pk)
    assert (event.ip, event.user_agent) == ("192.0.2.7", "Firefox")
    assert event.request_id == response["X-Request-Id"]
    assert AuditEvent.objects.count() == 1


def test_the_address_is_the_one_that_trusted_proxies_tell(
    client: Client, anna: User, settings: Any
) -> None:
    settings.TRUSTED_PROXY_COUNT = 1
    sign_in(client, "anna", "a-password", HTTP_X_FORWARDED_FOR="203.0.113.9, 198.51.100.4")
    assert last_event().ip == "198.51.100.4"


def test_a_wrong_password_is_recorded_without_it(client: Client, anna: User) -> None:
    response = sign_in(client, "anna", "another-password")
    event = last_event()
    assert response.status_code == 200
    assert (event.action, event.actor_name) == ("sign_in_failed", "anna")
    assert event.actor_user_id is None
    assert (event.target_type, event.target_id) == ("accounts.user", str(anna.pk))
    assert event.details == {"account_active": True}
    assert "another-password" not in str(AuditEvent.objects.values().get())


def test_a_password_in_the_name_field_is_not_stored(client: Client, anna: User) -> None:
    sign_in(client, "a-password", "a-password")
    event = last_event()
    assert (event.action, event.actor_name) == ("sign_in_failed", "unknown account")
    assert "a-password" not in str(AuditEvent.objects.values().get())


@pytest.mark.parametrize("name", ["<script>", "x" * 150, "\u202eanna", "' OR 1=1 --"])
def test_an_odd_name_is_recorded_without_an_error(client: Client, anna: User, name: str) -> None:
    assert sign_in(client, name, "x").status_code == 200
    assert last_event().actor_name == "unknown account"


def test_a_try_outside_a_request_is_recorded(anna: User) -> None:
    authenticate(username="anna", password="x")
    assert (last_event().actor_name, last_event().ip) == ("anna", "")


def test_an_account_that_was_switched_off_is_told_apart(client: Client, anna: User) -> None:
    User.objects.filter(pk=anna.pk).update(is_active=False)
    sign_in(client, "anna", "a-password")
    assert last_event().details == {"account_active": False}


def test_a_sign_out_is_recorded_once(client: Client, anna: User) -> None:
    client.force_login(anna)
    client.post(reverse("logout"))
    client.post(reverse("logout"))
    assert [event.action for event in AuditEvent.objects.order_by("pk")] == ["sign_in", "sign_out"]
    assert last_event().actor_name == "anna"


def test_who_cannot_be_recorded_is_not_signed_in(
    client: Client, anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(event: AuditEvent) -> None:
        raise DatabaseError("read-only file system")

    monkeypatch.setattr(trail, "append", fail)
    with pytest.raises(DatabaseError):
        sign_in(client, "anna", "a-password")
    monkeypatch.undo()
    assert client.get(reverse("backups:history")).status_code == 302


def test_a_refusal_is_recorded_and_shown(client: Client) -> None:
    client.force_login(User.objects.create_user("ben"))
    response = client.get(reverse("audit:events"), {"actor": "confidential"})
    event = last_event()
    assert response.status_code == 403
    assert "Permission denied" in response.content.decode()
    assert (event.action, event.actor_name) == ("access_denied", "ben")
    assert event.details is not None
    assert (event.details["method"], event.details["path"]) == ("GET", "/audit/")
    assert "confidential" not in str(AuditEvent.objects.values().get(pk=event.pk))


@pytest.mark.django_db(transaction=True)
def test_a_refusal_that_cannot_be_recorded_is_still_a_refusal(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(event: AuditEvent) -> None:
        raise DatabaseError("gone")

    client.force_login(User.objects.create_user("ben"))
    monkeypatch.setattr(trail, "append", fail)
    assert client.get(reverse("audit:events")).status_code == 403
