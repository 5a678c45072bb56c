"""Redis is stopped under a running product: that arrives by mail, and the outside is told."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dashboard.local_run.redis import find_server
from tests.e2e.test_redis_refuses_writes import free_port
from tests.instances import Instance
from tests.notifications.conftest import Mailbox, Receiver, mail, receiver, wait_for

__all__ = ["mail", "receiver"]

CHANNEL = """
from backups.services.notifications.channels import add_channel, add_rule
from dashboard.audit.trail import Actor
channel, _ = add_channel("mail", {url!r}, actor=Actor("admin"))
add_rule(channel, ["work_stalled", "work_recovered"], None, "", actor=Actor("admin"))
"""


def redis_server(port: int, folder: Path) -> subprocess.Popen[bytes]:
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    return subprocess.Popen(
        [find_server(), *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )


@pytest.mark.e2e
def test_redis_is_stopped_and_that_arrives_by_mail(
    tmp_path: Path, mail: Mailbox, receiver: Receiver
) -> None:
    port = free_port()
    server = redis_server(port, tmp_path)
    instance = Instance(
        tmp_path,
        REDIS_URL=f"redis://127.0.0.1:{port}/0",
        NOTIFY_ALLOWED_NETWORKS="127.0.0.0/8",
        PING_URL=receiver.url,
        PING_INTERVAL="1",
    )
    try:
        instance.wait_ready().wait_for_worker()
        made = instance.manage("shell", "-v0", "-c", CHANNEL.format(url=mail.url))
        assert made.returncode == 0, made.stderr
        wait_for(lambda: receiver.requests, "a ping while work flows", 90)
        server.kill()
        server.wait()
        wait_for(lambda: mail.mails, f"a mail\n{instance.log_tails()}", 120)
        assert mail.mails[0]["Subject"].startswith("Work does not flow: Redis is unreachable")
        wait_for(lambda: receiver.requests[-1].path.endswith("/fail"), "a ping of the failure", 60)
        assert b"Redis is unreachable" in receiver.requests[-1].body
        server = redis_server(port, tmp_path)
        wait_for(lambda: len(mail.mails) > 1, f"a second mail\n{instance.log_tails()}", 180)
        assert mail.mails[1]["Subject"] == "Work flows again"
        wait_for(lambda: not receiver.requests[-1].path.endswith("/fail"), "a good ping", 60)
        assert len({each["X-Message-ID"] for each in mail.mails}) == len(mail.mails) == 2
    finally:
        try:
            assert instance.stop() == 0, instance.text
        finally:
            server.kill()
            server.wait()
