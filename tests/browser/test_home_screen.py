"""The home page and a cluster's page in a browser: live parts, kept focus, narrow windows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from backups.choices import Outcome, Readiness, RunState
from backups.models import BackupRun, Batch, Cluster
from backups.services.runs.transitions import transition

MakeCluster = Callable[[str], Cluster]


def overdue(cluster: Cluster) -> None:
    """A ready cluster whose last verified backup is too old."""
    now = timezone.now()
    Cluster.objects.filter(pk=cluster.pk).update(
        readiness=Readiness.READY,
        checked_at=now,
        verified_at=now - timedelta(hours=30),
        due_at=now - timedelta(hours=12),
        overdue_at=now - timedelta(hours=6),
    )


def home(screen: Page) -> None:
    screen.get_by_role("link", name="Home").click()
    expect(screen.get_by_role("heading", name="Needs attention")).to_be_visible()


def verify(run: BackupRun) -> None:
    """Move a queued run to its end; the cluster is protected by it."""
    assert transition(run, RunState.SENDING, actor="worker")
    accepted: dict[str, Any] = {"outcome": Outcome.ACCEPTED, "http_status": 200}
    assert transition(run, RunState.ACCEPTED, actor="worker", **accepted)
    assert transition(run, RunState.SUCCEEDED, actor="worker")


def test_a_click_on_the_home_page_brings_a_cluster_back_under_protection(
    screen: Page, make_cluster: MakeCluster
) -> None:
    overdue(make_cluster("orders-prod"))
    home(screen)
    expect(screen.locator("#tile-protection")).to_contain_text("0 of 1 cluster protected")
    screen.get_by_role("button", name="Back up logs of orders-prod").click()
    expect(screen.locator("#home-active .steps .now")).to_contain_text("Queued")
    expect(screen.locator("#home-attention")).to_contain_text("Follow run")
    screen.evaluate("window.notReloaded = true")
    verify(BackupRun.objects.get())
    expect(screen.locator("#home-attention")).to_contain_text("Nothing needs attention")
    expect(screen.locator("#home-active")).to_contain_text("No backup is in progress")
    expect(screen.locator("#tile-protection")).to_contain_text("1 of 1 cluster protected")
    expect(screen.locator("#legend-verified")).to_have_text("Verified 1")
    assert screen.evaluate("window.notReloaded")


def test_a_cause_leads_to_one_batch_of_all_its_clusters(
    screen: Page, make_cluster: MakeCluster
) -> None:
    for number in range(7):
        overdue(make_cluster(f"overdue-{number}"))
    overdue(make_cluster("planned"))
    home(screen)
    cause = screen.locator("#cause-overdue")
    expect(cause).to_contain_text("Overdue without a failure")
    expect(cause).to_contain_text("The worst: overdue-0, overdue-1, overdue-2")
    planned = Cluster.objects.get(name="planned")
    screen.goto(screen.url.rstrip("/") + f"/attention/handle/?cause=overdue&cluster={planned.pk}")
    screen.get_by_label("Reason").fill("moved next week")
    screen.get_by_role("button", name="Handle", exact=True).click()
    expect(screen.locator("#handled summary")).to_contain_text("Handled: 1 cluster")
    screen.locator("#act-overdue").click()
    expect(screen.get_by_role("heading", name="7 clusters selected")).to_be_visible()
    screen.locator("#send-ready").click()
    expect(screen.get_by_role("heading", level=1)).to_contain_text("Batch")
    batch = Batch.objects.get()
    assert batch.items.count() == 7
    assert not batch.items.filter(cluster=planned).exists()
    assert "cause=overdue" in batch.query
    home(screen)
    screen.locator("#handled summary").click()
    screen.get_by_role("button", name="Let it count again").click()
    expect(screen.locator("#cause-overdue")).to_contain_text("8 ")


def test_the_focus_stays_on_its_row_when_the_list_changes(
    screen: Page, make_cluster: MakeCluster
) -> None:
    first, second = make_cluster("first"), make_cluster("second")
    overdue(first)
    overdue(second)
    BackupRun.objects.create(  # an active run: the page asks once a second
        cluster=make_cluster("third"), project=first.project, cluster_name="third"
    )
    home(screen)
    button = screen.locator(f"#fix-{second.pk}")
    button.focus()
    Cluster.objects.filter(pk=first.pk).update(overdue_at=timezone.now() + timedelta(hours=1))
    expect(screen.locator(f"#fix-{first.pk}")).to_have_count(0)
    expect(button).to_be_focused()


def test_the_page_of_a_cluster_follows_its_check_and_its_run(
    screen: Page, make_cluster: MakeCluster
) -> None:
    cluster = make_cluster("orders-prod")
    overdue(cluster)
    screen.goto(screen.url + f"{cluster.pk}/")
    screen.get_by_role("button", name="Check now").click()
    expect(screen.get_by_text("Check in progress.")).to_be_visible()
    Cluster.objects.filter(pk=cluster.pk).update(
        check_due_at=timezone.now() + timedelta(minutes=5),
        check_leased_until=None,
        readiness=Readiness.BUSY,
        readiness_detail="A snapshot is being taken.",
    )
    expect(screen.get_by_text("A snapshot is being taken.")).to_be_visible()
    expect(screen.get_by_role("button", name="Check now")).to_be_visible()
    Cluster.objects.filter(pk=cluster.pk).update(readiness=Readiness.READY)
    screen.reload()
    screen.get_by_role("button", name="Back up logs of orders-prod").click()
    expect(screen.locator(".run-head .steps .now")).to_contain_text("Queued")
    verify(BackupRun.objects.get())
    expect(screen.locator("#cluster-latest .badge").first).to_have_text("Verified")
    expect(screen.locator("#cluster-state")).to_contain_text("Protected")
    expect(screen.locator("#strip-desc")).to_contain_text("1 of 90 days have a verified backup")


def test_without_javascript_the_home_page_works(
    plain_screen: Page, make_cluster: MakeCluster
) -> None:
    overdue(make_cluster("orders-prod"))
    home(plain_screen)
    plain_screen.get_by_role("button", name="Back up logs of orders-prod").click()
    expect(plain_screen.get_by_text("Log backup of orders-prod requested.")).to_be_visible()
    expect(plain_screen.locator("#home-active .steps .now")).to_contain_text("Queued")
    plain_screen.get_by_role("button", name="Cancel the backup of orders-prod").click()
    expect(plain_screen.get_by_text("No backup is in progress.")).to_be_visible()


@pytest.mark.parametrize("width", [390, 768, 1040, 1200, 1440])
def test_neither_page_is_wider_than_the_window(
    screen: Page, make_cluster: MakeCluster, width: int
) -> None:
    cluster = make_cluster("orders-" + "x" * 200)
    overdue(cluster)
    moment = timezone.now() - timedelta(hours=1)
    for name, state in (("failing", RunState.REJECTED), ("y" * 240, RunState.UNKNOWN)):
        other = make_cluster(name)
        BackupRun.objects.create(
            cluster=other,
            project=other.project,
            cluster_name=other.name,
            requested_by_name="z" * 255,
            state=state,
            outcome=Outcome.CONFLICT,
            http_status=409,
            error_code="CSS." + "9" * 60,
            note="n" * 500,
            requested_at=moment,
        )
    screen.set_viewport_size({"width": width, "height": 800})
    clusters = screen.url
    home(screen)
    assert screen.evaluate("document.documentElement.scrollWidth") <= width
    for pk in Cluster.objects.values_list("pk", flat=True):
        screen.goto(f"{clusters}{pk}/")
        assert screen.evaluate("document.documentElement.scrollWidth") <= width
