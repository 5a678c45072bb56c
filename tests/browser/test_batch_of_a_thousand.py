"""A fleet in a browser: all that match, the bar, cancelling, and what failed again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from playwright.sync_api import Page, expect

from backups.models import BackupRun, Batch, Cluster, Project
from backups.services import rate
from backups.services.batches.starting import advance

FLEET = 1000


class Cloud(threading.Thread):
    """Starts what may be started, and ends each run: one of ten is rejected.

    Attributes:
        paused: set: no run ends, and so no more are started.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.paused = threading.Event()
        self.most: int | None = None
        self._stopped = threading.Event()
        self._failing = True

    def run(self) -> None:
        while not self._stopped.wait(0.02):
            if self.paused.is_set():
                continue
            advance()
            self._end_runs()
            if self.most and BackupRun.objects.count() >= self.most:
                self.paused.set()
        connection.close()

    def _end_runs(self) -> None:
        now = timezone.now()
        queued = BackupRun.objects.filter(state="queued")
        pks = list(queued.values_list("pk", flat=True))
        times = {"sent_at": now, "answered_at": now, "finished_at": now}
        bad = [pk for pk in pks if pk % 10 == 0] if self._failing else []
        BackupRun.objects.filter(pk__in=bad).update(
            state="rejected", outcome="precondition_failed", http_status=412, **times
        )
        BackupRun.objects.filter(pk__in=set(pks) - set(bad)).update(
            state="succeeded", outcome="accepted", http_status=200, **times
        )

    def work_until(self, most: int) -> None:
        """Go on until there are so many runs."""
        self.most = most
        self.paused.clear()
        if not self.is_alive():
            self.start()

    def work_well(self) -> None:
        """From now on nothing is rejected."""
        self._failing, self.most = False, None
        self.paused.clear()

    def stop(self) -> None:
        self._stopped.set()
        self.join()


@pytest.fixture
def cloud(screen: Page, redis_url: str, settings: Any) -> Iterator[Cloud]:
    settings.BACKUP_BATCH_RATE = 100.0
    rate.close()
    started = Cloud()
    yield started
    started.stop()
    rate.close()


def test_all_of_a_thousand_with_a_bar_half_cancelled_and_the_failed_again(
    screen: Page, project: Project, cloud: Cloud
) -> None:
    Cluster.objects.bulk_create(
        Cluster(project=project, cluster_id=f"id-{n}", name=f"logs-{n:04}", status="200")
        for n in range(FLEET)
    )
    screen.reload()
    screen.get_by_role("link", name="Back up all 1,000…").click()
    expect(screen.get_by_role("heading", name="1,000 clusters selected")).to_be_visible()
    screen.get_by_label("Reason").fill("before the upgrade")
    screen.get_by_role("button", name="Back up 1,000 clusters").click()
    expect(screen.locator("#batch-said")).to_have_text("0 of 1,000 clusters done")
    bar = screen.locator("progress")
    done = 0
    for most in (FLEET // 5, FLEET // 3, FLEET // 2):  # the bar moves, without a reload
        before = done
        cloud.work_until(most)
        assert cloud.paused.wait(60)
        done = BackupRun.objects.count()
        assert before < most <= done < FLEET
        expect(bar).to_have_attribute("value", str(done))

    screen.get_by_role("button", name="Cancel what has not been sent").click()
    said = f"{FLEET - done} clusters were cancelled before their requests were sent."
    expect(screen.get_by_text(said)).to_be_visible()
    expect(screen.locator("#batch-said")).to_have_text("1,000 of 1,000 clusters done")
    assert BackupRun.objects.count() == done
    cloud.work_well()
    expect(screen.locator(".run-title .badge")).to_have_text("Ended")
    failed = BackupRun.objects.filter(state="rejected").count()
    refused = screen.locator("section", has=screen.locator("#refused-title"))
    expect(refused).to_contain_text("Precondition failed")
    expect(refused).to_contain_text(f"{failed}")

    screen.get_by_role("button", name=f"Back up the {failed} failed ones again").click()
    again = Batch.objects.latest("pk")
    expect(screen).to_have_url(f"{screen.url.partition('/batches/')[0]}/batches/{again.pk}/")
    expect(screen.locator("#batch-said")).to_have_text(f"{failed} of {failed} clusters done")
    expect(screen.locator(".run-title .badge")).to_have_text("Ended")
    assert not again.items.exclude(run__state="succeeded").exists()
    expect(screen.get_by_role("link", name=f"batch {again.pk - 1}")).to_be_visible()
