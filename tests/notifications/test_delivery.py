"""At least once, with the same id, in bounded time; and where nothing is sent to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from backups.choices import NoticeKind
from backups.models import Channel, Delivery, Instance
from backups.services.notifications import delivering
from backups.services.notifications.channels import add_channel, change_channel
from backups.services.notifications.notifier import SENDERS, Notifier
from backups.services.notifications.queueing import Attachment, queue_message, queue_ping
from backups.services.notifications.senders import (
    SCHEMES,
    send_ping,
    shown_url,
    url_problem,
    url_secrets,
)
from dashboard.http.addresses import RefusedAddress, networks, require_address

from .conftest import ADMIN, Mailbox, Receiver, deliver_due, wait_for

REPORT = NoticeKind.REPORT


def queue(channel: Channel, key: str = "k", **more: Any) -> Delivery:
    return queue_message(channel, REPORT, "Report", "All is well.", key=key, **more)


def due_again() -> None:
    Delivery.objects.filter(state="waiting").update(next_at=timezone.now())


def test_a_webhook_is_signed_by_standard_webhooks(webhook: Channel, receiver: Receiver) -> None:
    sent = queue(webhook)
    assert [each.state for each in deliver_due()] == ["sent"]
    (request,) = receiver.requests
    assert request.headers["webhook-id"] == sent.message_id
    assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < 60
    # as the specification and its libraries verify it
    secret = webhook.__dict__["secret"]
    assert secret.startswith("whsec_")
    key = base64.b64decode(secret[6:])
    assert len(key) == 32
    signed = f"{sent.message_id}.{request.headers['webhook-timestamp']}.".encode() + request.body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert request.headers["webhook-signature"] == f"v1,{expected}"
    content = json.loads(request.body)
    assert content["type"] == "report"
    assert content["data"] == {"title": "Report", "text": "All is well."}
    assert content["timestamp"].endswith("Z")


def test_a_mail_arrives_with_its_file(mail_channel: Channel, mail: Mailbox) -> None:
    file = Attachment("report.csv", b"cluster;verified\n", "text/csv")
    sent = queue(mail_channel, attachment=file)
    assert [each.state for each in deliver_due()] == ["sent"], Delivery.objects.get().error
    (got,) = mail.mails
    assert got["Subject"] == "Report"
    assert got["X-Message-ID"] == sent.message_id
    body = got.get_body()
    assert body is not None
    assert "All is well." in body.get_content()
    (attached,) = got.iter_attachments()
    assert (attached.get_filename(), attached.get_content()) == ("report.csv", "cluster;verified\n")


def test_a_ping_arrives_whether_its_batch_ended_well_or_not(db: None, receiver: Receiver) -> None:
    queue_ping(receiver.url, key="firing-1")
    queue_ping(receiver.url, key="firing-2", failed=True, text="1 of 3 clusters not verified.")
    assert [each.state for each in deliver_due()] == ["sent", "sent"]
    path = "/hooks/c4n-you-guess-me"
    assert [(each.method, each.path, each.body) for each in receiver.requests] == [
        ("GET", path, b""),
        ("POST", f"{path}/fail", b"1 of 3 clusters not verified."),
    ]


def test_the_same_key_is_one_message(webhook: Channel) -> None:
    assert queue(webhook).pk == queue(webhook).pk
    assert queue_ping("https://x.example.com/1", key="a").pk == queue_ping("x", key="a").pk
    assert queue(webhook, "other").pk != queue(webhook).pk


@pytest.mark.parametrize(
    ("status", "headers", "words", "waits"),
    [
        (500, {}, "HTTP 500", 10),
        (404, {}, "HTTP 404", 10),
        (302, {"Location": "http://169.254.169.254/"}, "redirects are not followed", 10),
        (429, {"Retry-After": "120"}, "HTTP 429", 120),
        (503, {"Retry-After": "999999999"}, "HTTP 503", 6 * 3600),
        (503, {"Retry-After": "soon"}, "HTTP 503", 10),
    ],
)
def test_a_receiver_that_fails_is_tried_again_later_with_the_same_id(
    webhook: Channel,
    receiver: Receiver,
    status: int,
    headers: dict[str, str],
    words: str,
    waits: float,
) -> None:
    receiver.answers = [(status, headers)]
    queue(webhook)
    (row,) = deliver_due()
    assert row.state == "waiting"
    assert words in row.error
    left = (row.next_at - timezone.now()).total_seconds()
    assert waits - 60 < left <= waits
    assert not deliver_due(), "not yet"
    due_again()
    (row,) = deliver_due()
    assert (row.state, row.attempts, row.error) == ("sent", 2, "")
    first, second = receiver.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body


def test_attempts_grow_apart_and_end(webhook: Channel, receiver: Receiver, settings: Any) -> None:
    settings.NOTIFY_MAX_ATTEMPTS = 4
    receiver.answers = [(500, {})] * 9
    row = queue(webhook)
    waits = []
    for _ in range(4):
        (row,) = deliver_due()
        waits.append(round((row.next_at - timezone.now()).total_seconds(), -1))
        due_again()
    assert waits[:3] == [10, 30, 90]
    assert row.state == "failed"
    assert not deliver_due()
    assert len(receiver.requests) == 4


def test_a_receiver_that_hangs_costs_its_time_and_no_more(
    webhook: Channel, receiver: Receiver, settings: Any
) -> None:
    settings.NOTIFY_TIMEOUT = 0.5
    receiver.hang.clear()
    queue(webhook)
    began = time.monotonic()
    (row,) = deliver_due()
    assert time.monotonic() - began < 10
    assert (row.state, "did not answer" in row.error) == ("waiting", True), row.error


def test_a_mail_server_that_hangs_is_killed_with_its_process(db: None, settings: Any) -> None:
    import socket

    settings.NOTIFY_TIMEOUT = 3.0
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        channel, _ = add_channel(
            "m", f"mailto://127.0.0.1:{port}?from=a@b.de&to=c@d.de", actor=ADMIN
        )
        queue(channel)
        (row,) = deliver_due()
    assert (row.state, row.attempts) == ("waiting", 1)
    assert row.error


def test_a_switched_off_channel_keeps_its_messages(webhook: Channel, receiver: Receiver) -> None:
    queue(webhook)
    change_channel(webhook, actor=ADMIN, name="hook", enabled=False)
    assert not deliver_due()
    change_channel(webhook, actor=ADMIN, name="hook", enabled=True)
    assert len(deliver_due()) == 1
    assert len(receiver.requests) == 1


def test_a_copied_database_sends_nothing_before_it_is_adopted(
    webhook: Channel, receiver: Receiver
) -> None:
    queue(webhook)
    Instance.objects.update_or_create(pk=1, defaults={"uid": "0123456789abcdef", "adopted": False})
    assert not deliver_due()
    Instance.objects.update(adopted=True)
    assert len(deliver_due()) == 1


def test_a_time_that_a_wrong_clock_wrote_does_not_delay_for_ever(webhook: Channel) -> None:
    queue(webhook)
    Delivery.objects.update(next_at=timezone.now() + timedelta(days=400))
    assert len(deliver_due()) == 1


@pytest.mark.django_db(transaction=True)
def test_two_deliverers_at_once_send_it_once(webhook: Channel, receiver: Receiver) -> None:
    row = queue(webhook)
    receiver.hang.clear()
    done: list[bool] = []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        done.append(delivering.deliver(row.pk))
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    wait_for(lambda: len(done) == 3, "three of them go away")
    receiver.hang.set()
    for each in threads:
        each.join()
    assert sorted(done) == [False, False, False, True]
    assert len(receiver.requests) == 1
    assert Delivery.objects.get().attempts == 1


KILLED = """
import os, signal
import django
django.setup()
from backups.services.notifications import delivering
from dashboard.db import leases
def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
leases.Lease.release = die
pk = int(os.environ["TEST_PK"])
delivering.deliver(pk)
"""


@pytest.mark.django_db(transaction=True)
def test_a_process_killed_between_sending_and_storing_sends_it_again_with_the_same_id(
    webhook: Channel, receiver: Receiver, settings: Any
) -> None:
    row = queue(webhook)
    database = connection.settings_dict
    url = (
        f"sqlite:///{database['NAME']}"
        if connection.vendor == "sqlite"
        else f"postgres://{database['USER']}:{database['PASSWORD']}@{database['HOST']}"
        f":{database['PORT']}/{database['NAME']}"
    )
    environ = {
        **os.environ,
        "DATABASE_URL": url,
        "DJANGO_SETTINGS_MODULE": "dashboard.settings",
        "TEST_PK": str(row.pk),
        "NOTIFY_ALLOWED_NETWORKS": "127.0.0.0/8",
        "DATA_DIR": str(settings.DATA_DIR),
    }
    killed = subprocess.run(
        [sys.executable, "-c", KILLED], env=environ, cwd=settings.BASE_DIR, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert len(receiver.requests) == 1
    row.refresh_from_db()
    assert (row.state, row.attempts) == ("sending", 1)
    assert not deliver_due(), "its lease has not ended"
    Delivery.objects.update(leased_at=timezone.now() - timedelta(hours=1))
    (row,) = deliver_due()
    assert (row.state, row.attempts) == ("sent", 2)
    first, second = receiver.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == row.message_id


def test_a_ping_is_a_get_or_a_post_to_fail(db: None, receiver: Receiver) -> None:
    queue_ping(receiver.url, key="1")
    queue_ping(receiver.url + "?rid=7", key="2", failed=True, text="2 of 41 failed")
    assert [each.state for each in deliver_due()] == ["sent", "sent"]
    well, badly = receiver.requests
    path = "/hooks/c4n-you-guess-me"
    assert (well.method, well.path, well.body) == ("GET", path, b"")
    assert (badly.method, badly.path) == ("POST", f"{path}/fail?rid=7")
    assert badly.body == b"2 of 41 failed"
    stored = Delivery.objects.first()
    assert stored is not None
    assert "c4n-you" not in stored.sealed


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("127.0.0.1", False),
        ("127.8.9.1", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("100.125.0.10", False),
        ("169.254.169.254", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("fd00:ec2::254", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("2002:7f00:1::", False),
        ("64:ff9b:1::7f00:1", False),
        ("::7f00:1", False),
        ("::ffff:0:7f00:1", False),
        ("fec0::1", False),
        ("168.63.129.16", False),
        ("192.0.0.192", False),
        ("not-an-address", False),
        ("80.158.1.1", True),
        ("2a00:1450:4001::1", True),
        ("::ffff:80.158.1.1", True),
    ],
)
def test_addresses_that_are_not_public_are_refused(address: str, allowed: bool) -> None:
    if allowed:
        require_address(address, [])
        return
    with pytest.raises(RefusedAddress):
        require_address(address, [])
    with pytest.raises(RefusedAddress):
        require_address(address, networks(["192.0.2.0/24"]))


def test_an_allowed_network_is_allowed_however_it_is_written() -> None:
    require_address("10.1.2.3", networks(["10.1.0.0/16"]))
    require_address("::ffff:10.1.2.3", networks(["10.1.0.0/16"]))
    require_address("fd00::7", networks(["fd00::/64"]))


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "127.1", "0x7f000001", "2130706433", "[::ffff:7f00:1]"],
)
def test_webhooks_and_pings_do_not_reach_this_machine(
    db: None, receiver: Receiver, settings: Any, host: str
) -> None:
    settings.NOTIFY_ALLOWED_NETWORKS = []
    port = receiver.server.server_address[1]
    for scheme in ("http", "https"):
        error = send_ping(f"{scheme}://{host}:{port}/").error
        assert "refused" in error or "resolved" in error, error
    assert not receiver.requests


def test_plain_http_goes_to_allowed_networks_only(db: None, settings: Any) -> None:
    settings.NOTIFY_ALLOWED_NETWORKS = ["10.0.0.0/8"]
    assert "without HTTPS" in send_ping("http://80.158.1.1/").error


def test_the_name_is_resolved_once_and_that_address_is_used(
    db: None, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    asked: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "rebind.example.com":
            return real(host, *args, **kwargs)
        asked.append(host)
        return real("127.0.0.1" if len(asked) == 1 else "127.0.0.2", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    port = receiver.server.server_address[1]
    assert send_ping(f"http://rebind.example.com:{port}/x").error == ""
    assert asked == ["rebind.example.com"]
    assert receiver.requests[0].headers["host"] == f"rebind.example.com:{port}"


def test_apprise_does_not_reach_this_machine_either(
    db: None, mail: Mailbox, receiver: Receiver, settings: Any
) -> None:
    settings.NOTIFY_ALLOWED_NETWORKS = []
    port = receiver.server.server_address[1]
    for name, url in (("m", mail.url), ("mm", f"mmost://127.0.0.1:{port}/abcdefghijklmnop")):
        channel, _ = add_channel(name, url, actor=ADMIN)
        queue(channel)
    rows = deliver_due()
    assert len(rows) == 2
    for row in rows:
        assert row.state == "waiting"
        assert "refused to connect to 127.0.0.1" in row.error
    assert not mail.mails
    assert not receiver.requests


def test_apprise_follows_no_redirect(db: None, receiver: Receiver) -> None:
    port = receiver.server.server_address[1]
    url = f"mmost://127.0.0.1:{port}/abcdefghijklmnop"
    receiver.answers = [(302, {"Location": f"http://127.0.0.1:{port}/elsewhere"})]
    channel, _ = add_channel("mm", url, actor=ADMIN)
    queue(channel)
    (row,) = deliver_due()
    assert row.state == "waiting"
    assert [request.path for request in receiver.requests] == ["/hooks/abcdefghijklmnop"]


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "file:///etc/passwd",
        "json://127.0.0.1/",
        "syslog://",
        "exec://x",
        "dbus://",
        "mailto://example.com?template=/etc/passwd",
        "mailto://a:b@example.com?to=c@example.com&pgpkey=/etc/passwd",
        "mailto://a:b@example.com?to=c@example.com&pgpprv=/etc/passwd",
        "mailto://a:b@example.com?to=c@example.com&+%20pgppub=/etc/passwd",
        "mailto://a:b?b@example.com?optional=yes",
        "mmost://example.com/abcdefghijklmnop?optional=yes",
        "slack://a/b/c?redirect=yes",
        "slack://",
        "https://user:password@example.com/",
        "https://",
        "https://[::1",
        "https://example.com:99999/",
    ],
)
def test_addresses_that_cannot_be_used_say_why(url: str) -> None:
    assert url_problem(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://ops.example.com/hooks/1?token=x",
        "mailtos://user:secret@smtp.example.com?from=a@example.com&to=b@example.com",
    ],
)
def test_addresses_that_can_be_used(url: str) -> None:
    assert url_problem(url) == ""


Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("url", "shown", "secret"),
    [
        ("rockets://first0token/second0token@chat.example.com/#a", "rockets:///…", "first0token"),
        (f"matrix://{'ab12' * 16}", "matrix:///…", "ab12" * 16),
        ("mmosts://chat.example.com/t0k3n", "mmosts://chat.example.com/…", "t0k3n"),
        ("https://ops.example.com/@me/t0k3n", "https://ops.example.com/…", "t0k3n"),
    ],
)
def test_no_part_of_an_address_is_shown_that_may_be_a_token(
    url: str, shown: str, secret: str
) -> None:
    assert shown_url(url) == shown
    assert secret in url_secrets(url)


def test_apprise_knows_each_scheme_that_is_offered() -> None:
    import apprise

    known: set[str] = set()
    for each in apprise.Apprise().details()["schemas"]:
        known |= {*(each["protocols"] or ()), *(each["secure_protocols"] or ())}
    assert known >= SCHEMES


@pytest.mark.django_db(transaction=True)
def test_many_messages_to_a_receiver_that_hangs_do_not_hold_up_others(
    webhook: Channel, receiver: Receiver, mail_channel: Channel, mail: Mailbox
) -> None:
    for number in range(10 * SENDERS + 1):
        queue(webhook, key=f"k{number}")
    queue(mail_channel)
    receiver.hang.clear()
    notifier = Notifier()
    notifier._deliver()
    assert not mail.mails
    notifier._deliver()
    wait_for(lambda: Delivery.objects.filter(channel=mail_channel, state="sent"), "the mail")
    assert len(receiver.requests) <= 1
    receiver.hang.set()
    for each in notifier._sending.values():
        each.join()
    assert Delivery.objects.filter(channel=webhook, state="waiting").count() == 10 * SENDERS
