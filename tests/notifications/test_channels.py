"""Channels and rules: their pages, their secrets, their events."""

from __future__ import annotations

import json
import logging
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from backups.choices import NoticeKind
from backups.models import Channel, Delivery, Project, Rule, Schedule
from backups.services.notifications.channels import add_channel, add_rule, change_channel
from backups.services.notifications.queueing import queue_message, queue_ping
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.audit.models import Action, AuditEvent
from dashboard.encryption import decrypt, encrypt
from tests.grants import give
from tests.services.schedules import make_schedule

from .conftest import ADMIN, Mailbox, Receiver, deliver_due

SECRET = "pa55-that-was-planted"


@pytest.fixture(autouse=True)
def plain_static_files(settings: Any) -> None:
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


@pytest.fixture
def web(client: Client, db: None) -> Client:
    client.force_login(give(User.objects.create_user("anna"), Role.ADMIN))
    return client


@pytest.fixture
def auditor(db: None) -> Client:
    made = Client()
    made.force_login(give(User.objects.create_user("otto"), Role.AUDITOR))
    return made


def events(*actions: Action) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(action__in=actions).order_by("sequence"))


def test_a_webhook_is_added_and_its_secret_is_shown_once(web: Client, receiver: Receiver) -> None:
    answer = web.post("/settings/notifications/channels/add/", {"name": "ops", "url": receiver.url})
    channel = Channel.objects.get()
    secret = json.loads(decrypt(channel.sealed).reveal())["secret"]
    assert secret in answer.content.decode()
    for path in ("", f"channels/{channel.pk}/", "log/"):
        page = web.get(f"/settings/notifications/{path}").content.decode()
        assert secret not in page
        assert "c4n-you" not in page
    assert channel.created_by_name == "anna"
    (event,) = events(Action.CHANNEL_ADDED)
    assert event.after == {
        "name": "ops",
        "kind": "webhook",
        "address": "http://127.0.0.1/…",
        "enabled": True,
    }


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": "", "url": "https://x.example.com/"}, "required"),
        ({"name": "a", "url": ""}, "Enter the address."),
        ({"name": "a", "url": "file:///etc/passwd"}, "Use https:// for a webhook"),
        ({"name": "taken", "url": "https://x.example.com/"}, "Another channel has this name."),
    ],
)
def test_what_is_wrong_is_said_and_what_was_typed_is_kept(
    web: Client, values: dict[str, str], words: str
) -> None:
    add_channel("taken", "https://x.example.com/", actor=ADMIN)
    answer = web.post("/settings/notifications/channels/add/", values)
    assert answer.status_code == 422
    page = answer.content.decode()
    assert words in page
    assert all(value in page for value in values.values())
    assert Channel.objects.count() == 1


def test_a_channel_is_changed_without_entering_its_address_again(
    web: Client, webhook: Channel
) -> None:
    before = webhook.sealed
    url = f"/settings/notifications/channels/{webhook.pk}/"
    assert web.post(url, {"name": "renamed"}).status_code == 302
    webhook.refresh_from_db()
    assert (webhook.name, webhook.enabled, webhook.sealed) == ("renamed", False, before)
    (event,) = events(Action.CHANNEL_CHANGED)
    assert event.before is not None
    assert event.after is not None
    assert (event.before["enabled"], event.after["enabled"]) == (True, False)
    assert web.post(url, {"name": "renamed"}).status_code == 302
    assert len(events(Action.CHANNEL_CHANGED)) == 1, "nothing changed"
    answer = web.post(url, {"name": "renamed", "enabled": "1", "renew_secret": "1"})
    assert "whsec_" in answer.content.decode()
    assert "signing_secret" in (events(Action.CHANNEL_CHANGED)[1].details or {})


def test_the_test_button_shows_the_result(
    web: Client, webhook: Channel, receiver: Receiver
) -> None:
    url = f"/settings/notifications/channels/{webhook.pk}/test/"
    receiver.answers = [(200, {}), (500, {})]
    answer = web.post(url)
    assert (answer.status_code, "was sent" in answer.content.decode()) == (200, True)
    answer = web.post(url)
    assert answer.status_code == 502
    assert "HTTP 500" in answer.content.decode()
    assert [each.state for each in Delivery.objects.order_by("pk")] == ["sent", "failed"]
    assert not deliver_due(), "a test is not repeated"
    assert [each.details["result"] for each in events(Action.CHANNEL_TESTED)] == [  # type: ignore[index]
        "sent",
        "HTTP 500",
    ]


def test_a_channel_is_deleted_after_a_question(web: Client, webhook: Channel) -> None:
    url = f"/settings/notifications/channels/{webhook.pk}/delete/"
    queue_message(webhook, NoticeKind.REPORT, "t", "b", key="k")
    assert web.post(url).status_code == 422
    assert Channel.objects.exists()
    assert web.post(url, {"confirmed": "1"}).status_code == 302
    assert not Channel.objects.exists()
    (event,) = events(Action.CHANNEL_REMOVED)
    assert event.target_id == str(webhook.pk)
    assert event.details == {"cancelled": 1}


def test_rules_are_added_and_deleted(web: Client, webhook: Channel, project: Project) -> None:
    url = "/settings/notifications/rules/add/"
    answer = web.post(url, {"channel": webhook.pk, "label": "a=1,b=2"})
    assert answer.status_code == 422
    page = answer.content.decode()
    assert "Choose at least one kind." in page
    assert "Give one label" in page
    assert "a=1,b=2" in page
    for kind in ("report", "test", "nonsense"):
        assert web.post(url, {"channel": webhook.pk, "kinds": kind}).status_code == 422
    values = {
        "channel": webhook.pk,
        "kinds": ["run_rejected", "run_failed"],
        "project": project.pk,
        "label": "stage=production",
    }
    assert web.post(url, values).status_code == 302
    rule = Rule.objects.get()
    assert (rule.kinds, rule.project, rule.label) == (
        ["run_failed", "run_rejected"],
        project,
        "stage=production",
    )
    assert web.post(f"/settings/notifications/rules/{rule.pk}/delete/").status_code == 302
    added, removed = events(Action.NOTIFICATION_RULE_ADDED, Action.NOTIFICATION_RULE_REMOVED)
    assert added.after == removed.before


def test_auditors_read_and_change_nothing(auditor: Client, webhook: Channel) -> None:
    add_rule(webhook, ["run_failed"], None, "", actor=ADMIN)
    page = auditor.get("/settings/notifications/").content.decode()
    assert "hook" in page
    assert '<form method="post" action="/settings/notifications' not in page
    assert auditor.get("/settings/notifications/log/").status_code == 200
    for path in ("channels/add/", f"channels/{webhook.pk}/", "rules/add/"):
        assert auditor.post(f"/settings/notifications/{path}", {}).status_code == 403


def test_the_log_is_read_in_pages(web: Client, webhook: Channel) -> None:
    for number in range(101):
        queue_message(webhook, NoticeKind.REPORT, f"title {number:03d}", "b", key=str(number))
    first = web.get("/settings/notifications/log/").content.decode()
    assert "title 100" in first
    assert "title 000" not in first
    older = first.split("?older=")[1].split('"')[0]
    second = web.get(f"/settings/notifications/log/?older={older}").content.decode()
    shown = {number for number in range(101) if f"title {number:03d}" in first + second}
    assert len(shown) > len({n for n in range(101) if f"title {n:03d}" in first})
    assert web.get("/settings/notifications/log/?older=!").status_code == 400
    assert web.get(f"/settings/notifications/log/?channel={webhook.pk}").status_code == 200
    assert web.get("/settings/notifications/log/?channel=999999").status_code == 400


def test_secrets_are_nowhere(
    db: None,
    web: Client,
    mail: Mailbox,
    receiver: Receiver,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Database, log, pages and events, after successes and failures of every kind."""
    caplog.set_level(logging.DEBUG)
    port = receiver.server.server_address[1]
    urls = {
        "hook": f"http://127.0.0.1:{port}/{SECRET}?token={SECRET}",
        "chat": f"mmost://127.0.0.1:{port}/{SECRET}0123456789",
        "mail": f"mailto://ops:{SECRET}@127.0.0.1:{mail.port}?from=a@b.de&to=c@d.de&mode=insecure",
        "slack": f"slack://T1JJ3T3L2/A1BRTD4JD/{SECRET}0123456789",
        "nowhere": f"https://no-such-host.invalid/{SECRET}",
    }
    receiver.answers = [(500, {}), (500, {}), (302, {"Location": f"/{SECRET}"})]
    for name, url in urls.items():
        web.post("/settings/notifications/channels/add/", {"name": name, "url": url})
        channel = Channel.objects.filter(name=name).first()
        if channel is not None:
            queue_message(channel, NoticeKind.REPORT, "Report", "text", key=name)
    assert Channel.objects.filter(name__in=("hook", "chat", "mail", "nowhere")).count() == 4
    queue_ping(f"http://127.0.0.1:{port}/{SECRET}", key="p")
    rows = deliver_due()
    assert {row.state for row in rows} == {"waiting"}
    pages = [
        web.get(f"/settings/notifications/{path}").content.decode()
        for path in ("", "log/", *(f"channels/{each.pk}/" for each in Channel.objects.all()))
    ]
    stored = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            if table.startswith(("backups_", "audit_")):
                cursor.execute(f'SELECT * FROM "{table}"')
                stored.append(repr(cursor.fetchall()))
    for place, text in (("pages", pages), ("database", stored), ("log", [caplog.text])):
        assert all(SECRET not in each for each in text), place
    assert any("HTTP 500" in row.error for row in rows)


def test_after_a_lost_key_the_address_is_entered_again(
    web: Client, webhook: Channel, receiver: Receiver, settings: Any
) -> None:
    settings.CHANNEL_KEY = "a new key " * 6
    url = f"/settings/notifications/channels/{webhook.pk}/"
    values = {"name": "hook", "enabled": "1"}
    answer = web.post(url, {**values, "renew_secret": "1"})
    assert answer.status_code == 422
    assert "another CHANNEL_KEY" in answer.content.decode()
    answer = web.post(url, {**values, "url": receiver.url})
    assert "whsec_" in answer.content.decode()
    queue_message(webhook, NoticeKind.REPORT, "t", "b", key="k")
    assert [row.state for row in deliver_due()] == ["sent"]


def test_the_key_is_changed_without_entering_addresses_again(
    webhook: Channel, receiver: Receiver, settings: Any
) -> None:
    old = "an old key " * 5
    settings.CHANNEL_KEY = old
    channel, _ = add_channel("old", receiver.url, actor=ADMIN)
    stale = Channel.objects.get(pk=channel.pk)
    schedule = make_schedule(User.objects.create_user("olga"), due=None)
    Schedule.objects.update(ping_sealed=encrypt(receiver.url))
    settings.CHANNEL_KEY, settings.CHANNEL_KEY_FALLBACKS = "a new key " * 6, [old]
    out = StringIO()
    with pytest.raises(CommandError, match="None of the keys opens: hook"):
        call_command("rotate_channel_key", stdout=out)  # `webhook` has the generated key
    assert "2 encrypted with the current key." in out.getvalue()
    settings.CHANNEL_KEY_FALLBACKS = []
    schedule.refresh_from_db()
    assert decrypt(schedule.ping_sealed).reveal() == receiver.url
    # somebody who had loaded the page before writes no old address back
    change_channel(stale, actor=ADMIN, name="new name", enabled=True)
    channel.refresh_from_db()
    assert channel.name == "new name"
    assert json.loads(decrypt(channel.sealed).reveal())["url"] == receiver.url
    queue_message(webhook, NoticeKind.REPORT, "t", "b", key="k")
    (row,) = deliver_due()
    assert "another CHANNEL_KEY" in row.error
