"""The clusters page and the protection page in a real browser."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from backups.choices import Readiness
from backups.models import BackupRun, Cluster, ClusterTag
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from tests.browser.watch import Watch
from tests.grants import give

MakeCluster = Callable[[str], Cluster]


def origin(screen: Page) -> str:
    return str(screen.evaluate("location.origin"))


@pytest.fixture
def switched_off(make_cluster: MakeCluster) -> Cluster:
    cluster = make_cluster("payments-logs")
    set_readiness(cluster, Readiness.BACKUP_OFF, "Log backup is switched off.")
    return cluster


def set_readiness(cluster: Cluster, readiness: Readiness, detail: str) -> None:
    Cluster.objects.filter(pk=cluster.pk).update(
        readiness=readiness, readiness_detail=detail, checked_at=timezone.now()
    )


def test_a_click_on_a_cluster_that_is_not_ready_explains_and_still_lets_through(
    screen: Page, switched_off: Cluster, watch: Watch
) -> None:
    watch.expect_answers(409)
    pk = switched_off.pk
    screen.reload()
    screen.locator(f"#options-{pk} summary").click()
    screen.locator(f"#reason-{pk}").fill("before upgrade")
    screen.locator(f"#backup-{pk}").click()
    told = screen.get_by_role("alert")
    expect(told).to_contain_text("The cloud would probably reject this backup.")
    expect(told).to_contain_text("Log backup is switched off.")
    expect(told.get_by_role("link", name="Enable log backup")).to_be_visible()
    expect(screen.locator(f"#why-{pk}")).to_be_focused()
    expect(screen.locator(f"#reason-{pk}")).to_have_value("before upgrade")
    assert not BackupRun.objects.exists()
    screen.locator(f"#anyway-{pk}").press("Enter")
    expect(screen.locator(f"#cluster-{pk} .last .badge")).to_have_text("Queued")
    assert BackupRun.objects.get().reason == "before upgrade"


def test_an_explanation_can_be_put_away_and_the_row_then_follows_what_is(
    screen: Page, switched_off: Cluster, watch: Watch
) -> None:
    watch.expect_answers(409)
    pk = switched_off.pk
    screen.reload()
    screen.locator(f"#backup-{pk}").click()
    expect(screen.get_by_role("alert")).to_be_visible()
    set_readiness(switched_off, Readiness.READY, "Available, and log backup is on.")
    screen.keyboard.press("Escape")
    expect(screen.locator(f"#cluster-{pk} td[data-label=Readiness] .badge")).to_have_text(
        "Ready", timeout=15_000
    )
    screen.locator(f"#backup-{pk}").click()
    expect(screen.locator(f"#cluster-{pk} .last .badge")).to_have_text("Queued")


def test_without_javascript_the_explanation_is_a_page_of_its_own(
    plain_screen: Page, switched_off: Cluster, watch: Watch
) -> None:
    watch.expect_answers(409)
    plain_screen.reload()
    plain_screen.get_by_role("button", name="Back up logs of payments-logs").click()
    expect(plain_screen.get_by_role("alert")).to_contain_text("Log backup is switched off.")
    plain_screen.get_by_role("button", name="Back up anyway").click()
    expect(plain_screen.get_by_role("row", name="payments-logs")).to_contain_text("Queued")
    assert BackupRun.objects.count() == 1


def test_a_filter_is_made_sorted_by_a_head_and_taken_off_by_its_chip(
    screen: Page, make_cluster: MakeCluster, switched_off: Cluster
) -> None:
    ready, hidden = make_cluster("orders-prod"), make_cluster("elsewhere")
    for cluster in (ready, switched_off):
        ClusterTag.objects.create(cluster=cluster, origin="own", key="team", value="shop")
    screen.reload()
    screen.get_by_text("More filters").click()
    screen.get_by_label("Tag or label").fill("team=shop")
    screen.locator(".filter-fields").get_by_role("button", name="Filter").click()
    expect(screen.locator(f"#cluster-{hidden.pk}")).to_have_count(0)
    screen.get_by_role("link", name="Readiness", exact=True).click()
    heads = screen.get_by_role("columnheader", name="Readiness")
    expect(heads).to_have_attribute("aria-sort", "ascending")
    expect(screen.locator("tbody th .name")).to_have_text(["payments-logs", "orders-prod"])
    screen.get_by_role("link", name="Remove the filter Tag or label team=shop").click()
    expect(screen.locator(f"#cluster-{hidden.pk}")).to_be_visible()
    assert screen.url.endswith("/clusters/?sort=readiness")


def test_an_objective_is_changed_in_its_row(
    screen: Page, make_cluster: MakeCluster, anna: User
) -> None:
    cluster = make_cluster("orders-prod")
    give(anna, Role.ADMIN)
    screen.goto(f"{origin(screen)}/protection/")
    screen.locator(f"#objective-{cluster.pk} summary").click()
    screen.get_by_label("Objective of orders-prod in hours").fill("8")
    screen.locator(f"#objective-{cluster.pk}").get_by_role("button", name="Save").click()
    row = screen.get_by_role("row", name="orders-prod")
    expect(row.locator("td[data-label=Objective]")).to_contain_text("8 h (its own)")
    cluster.refresh_from_db()
    assert cluster.objective_hours == 8


@pytest.mark.parametrize("width", [390, 1200, 1440])
def test_crowded_rows_fit_into_the_window(
    screen: Page, make_cluster: MakeCluster, width: int, anna: User
) -> None:
    give(anna, Role.ADMIN)
    for name in ("a" * 200, "<b>bold</b>"):
        cluster = make_cluster(name)
        Cluster.objects.filter(pk=cluster.pk).update(
            readiness="storage_missing",
            readiness_detail="b" * 400,
            check_error="c" * 400,
            checked_at=timezone.now(),
            status="d" * 20,
            version="e" * 50,
        )
        ClusterTag.objects.bulk_create(
            ClusterTag(cluster=cluster, origin="cloud", key=f"{n}" * 120, value="v" * 200)
            for n in range(9)
        )
    screen.set_viewport_size({"width": width, "height": 800})
    for path in ("/clusters/", "/protection/"):
        screen.goto(origin(screen) + path)
        expect(screen.locator("tbody tr").first).to_be_visible()
        assert screen.evaluate("document.documentElement.scrollWidth") <= width
        assert screen.locator("tbody b").count() == 0
