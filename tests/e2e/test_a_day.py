"""A day without anybody watching, in minutes: a schedule fires, a mail says what is wrong, its link
leads to the one action that mends it, and a mail says that all is well again."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from simulator.client import SimulatorControl
from tests.e2e.test_batch_under_trouble import batch, wait_until
from tests.e2e.test_redis_refuses_writes import free_port
from tests.e2e.test_schedules import DUE, batches, make
from tests.e2e.test_told_without_redis import redis_server
from tests.instances import Instance
from tests.notifications.conftest import Mailbox, mail
from tests.stack import simulator_url
from tests.visitor import Visitor, text_of

__all__ = ["mail"]

# The channel with its rules, and clusters that are known for longer than their objective.
BEFORE = """
from datetime import timedelta
from django.utils import timezone
from backups.models import Cluster
from backups.services.notifications.channels import add_channel, add_rule
from dashboard.audit.trail import Actor
channel, _ = add_channel("mail", {url!r}, actor=Actor("admin"))
kinds = ["run_rejected", "protection_overdue", "protection_recovered", "work_stalled"]
add_rule(channel, kinds, None, "", actor=Actor("admin"))
Cluster.objects.filter(name__startswith="night-off").update(
    registered_at=timezone.now() - timedelta(days=2)
)
"""


def enable_log_backup(anna: Visitor, link: str) -> None:
    """From the page that a mail links: the cause, its one action, the preview, and send it."""
    page = anna.get(link)
    page.raise_for_status()
    action = re.search(r'id="act-backup_off"\s+href="([^"]+)"', page.text)
    assert action, text_of(page.text)
    preview = anna.get(html.unescape(action[1]))
    preview.raise_for_status()
    data = hidden(preview.text) | {
        "bucket": "css-logs",
        "base_path": "css/log/{cluster}",
        "agency": "css_obs_agency",
        "stop_after": "5",
    }
    shown = anna.post("/batches/", data=data)  # the preview of the paths
    shown.raise_for_status()
    answer = anna.post("/batches/", data=data | hidden(shown.text))
    number = re.search(r"/batches/(\d+)/$", answer.url)
    assert number, text_of(answer.text)
    wait_until(lambda: batch(anna, int(number[1]))["finished_at"] is not None, "settings", 120)


def hidden(page: str) -> dict[str, str]:
    """The hidden fields of the form of a batch."""
    form = page[page.index('id="batch-form"') :]
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form)
    return {name: html.unescape(value) for name, value in found}


@pytest.mark.timeout(900)  # two minutes where nothing else runs
def test_a_day_in_minutes(tmp_path: Path, mail: Mailbox) -> None:
    port, here = free_port(), free_port()
    server = redis_server(port, tmp_path)
    instance = Instance(
        tmp_path,
        DEMO_CLOUD="1",
        PORT=str(here),
        PUBLIC_URL=f"http://127.0.0.1:{here}",
        REDIS_URL=f"redis://127.0.0.1:{port}/0",
        NOTIFY_ALLOWED_NETWORKS="127.0.0.0/8",
        # longer than it takes until the runs of a killed worker are sent again
        NOTIFY_GROUP_SECONDS="40",
    )

    def subjects(words: str) -> list[str]:
        return [each["Subject"] for each in mail.mails if words in each["Subject"]]

    def expect_mail(words: str) -> str:
        wait_until(lambda: bool(subjects(words)), f"a mail: {words}\n{instance.log_tails()}", 180)
        return next(str(each.get_content()) for each in mail.mails if words in str(each["Subject"]))

    try:
        instance.wait_ready().wait_for_worker()
        instance.wait_for_text("clusters registered")
        simulator = SimulatorControl(simulator_url(instance))
        on = simulator.add_clusters(4, "night-on", region="eu-de", job_seconds=10)
        off = simulator.add_clusters(
            2, "night-off", region="eu-de", job_seconds=1, log_backup=False
        )
        assert instance.manage("sync_clusters", "--cloud", "demo").returncode == 0
        made = instance.manage("shell", "-v0", "-c", BEFORE.format(url=mail.url))
        assert made.returncode == 0, made.stderr
        anna = Visitor(instance.url).sign_in("admin", instance.password)
        expect_mail("2 × Protection overdue")  # noqa: RUF001
        night = make(anna, name="Every night", query="q=night-", when_not_ready="anyway")
        due = instance.manage("shell", "-v0", "-c", DUE.format(pk=night))
        assert due.returncode == 0, due.stderr

        # It fires; two are rejected, and its worker is killed; the others are verified.
        wait_until(lambda: bool(batches(anna, night)), "the slot fires")
        [first] = batches(anna, night)
        # their answers are stored: one that died with its worker ends as "not started"
        wait_until(lambda: batch(anna, first)["runs"].get("rejected") == 2, "two are rejected")
        instance.program(" worker").kill()
        assert batch(anna, first)["finished_at"] is None
        wait_until(lambda: batch(anna, first)["finished_at"] is not None, "its batch ends", 180)
        runs = batch(anna, first)["runs"]
        assert runs.get("rejected") == 2, runs
        body = expect_mail("2 × Log backup rejected")  # noqa: RUF001
        assert "Precondition failed" in subjects("rejected")[0]
        link = re.search(r"http://127\.0\.0\.1:\d+(/\S*)", body)
        assert link, body

        # Redis is stopped meanwhile: that arrives, too, and nothing is lost.
        server.kill()
        server.wait()
        expect_mail("Work does not flow")
        server = redis_server(port, tmp_path)
        instance.wait_for_worker()

        # The mail's link leads to the one action, and the next night is a good one.
        enable_log_backup(anna, link[1])
        assert anna.post(f"/schedules/{night}/run/").status_code == 200
        wait_until(lambda: len(batches(anna, night)) == 2, "it is run once more")
        second = max(batches(anna, night))
        wait_until(lambda: batch(anna, second)["finished_at"] is not None, "it ends", 180)
        assert batch(anna, second)["runs"] == {"succeeded": 6}
        expect_mail("2 × Protection recovered")  # noqa: RUF001

        # Nothing was sent twice, neither to the cloud nor to people.
        ids = [each["X-Message-ID"] for each in mail.mails]
        assert len(ids) == len(set(ids))
        assert len(subjects("rejected")) == len(subjects("overdue")) == 1
        sent = [entry.cluster_id for entry in simulator.ledger(endpoint="collect")]
        assert sorted(each for each in sent if each in {*on, *off}) == sorted([*on, *off] * 2)
    finally:
        try:
            assert instance.stop() == 0, instance.text
        finally:
            server.kill()
            server.wait()
