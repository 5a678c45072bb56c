"""How many rows a window shows, that nothing is cut off for good, and that paper has it all."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from backups.choices import Outcome, RunState
from backups.models import Cluster
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.audit.models import Action
from dashboard.audit.trail import Actor, record
from tests.browser.typical import make_run
from tests.grants import give

IN_VIEW = """() => [...document.querySelectorAll(".rows tbody tr")]
  .map((row) => row.getBoundingClientRect())
  .filter(({ top, bottom }) => top >= 0 && bottom <= innerHeight).length"""
PAGES = ["/clusters/", "/history/", "/protection/", "/audit/"]


@pytest.fixture
def twenty_one(make_cluster: Any, anna: User) -> list[Cluster]:
    """Clusters with a run each, and as many events, as in the demo."""
    give(anna, Role.ADMIN)
    clusters = [make_cluster(f"orders-{n:02}-prod") for n in range(21)]
    now = timezone.now()
    for n, cluster in enumerate(clusters):
        at = now - timedelta(hours=n + 1)
        if n % 3:
            make_run(cluster, RunState.SUCCEEDED, Outcome.ACCEPTED, 200, "", at)
            Cluster.objects.filter(pk=cluster.pk).update(
                verified_at=at, due_at=at + timedelta(hours=24), overdue_at=at + timedelta(hours=30)
            )
        else:
            make_run(cluster, RunState.REJECTED, Outcome.CONFLICT, 409, "CSS.3004", at)
        record(Action.RUN_REQUESTED, actor=Actor("anna", anna), target=cluster, reason="CHG-1234")
    return clusters


@pytest.mark.parametrize("path", PAGES)
def test_fifteen_rows_are_seen_at_once(screen: Page, twenty_one: list[Cluster], path: str) -> None:
    screen.goto(screen.url.replace("/clusters/", path))
    screen.evaluate("document.getElementById('alerts').remove()")  # no worker runs here
    if path == "/protection/":  # below its causes
        screen.locator(".rows").evaluate("list => list.scrollIntoView()")
    assert screen.evaluate(IN_VIEW) >= 15
    assert screen.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("path", PAGES[:3])
def test_on_a_phone_the_list_is_short(screen: Page, twenty_one: list[Cluster], path: str) -> None:
    screen.set_viewport_size({"width": 390, "height": 844})
    screen.goto(screen.url.replace("/clusters/", path))
    expect(screen.locator(".rows tbody tr")).to_have_count(21)
    screen.evaluate("document.getElementById('alerts').remove()")
    assert screen.evaluate("document.documentElement.scrollHeight") < 3500
    assert screen.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_row_that_is_clicked_or_walked_to_shows_all_of_it(
    screen: Page, twenty_one: list[Cluster]
) -> None:
    screen.reload()
    cluster = twenty_one[3]
    row = screen.locator(f"#cluster-{cluster.pk}")
    ident = row.locator(".id")
    expect(ident).to_be_hidden()
    row.locator("td[data-label=Readiness]").click()
    expect(ident).to_be_visible()
    expect(ident).to_contain_text(cluster.cluster_id)
    row.locator("td[data-label=Readiness]").click()
    expect(ident).to_be_hidden()
    screen.keyboard.press("j")
    first = screen.locator(f"#cluster-{twenty_one[0].pk} .id")
    expect(first).to_be_visible()
    screen.keyboard.press("j")
    expect(first).to_be_hidden()
    expect(screen.locator(f"#cluster-{twenty_one[1].pk} .id")).to_be_visible()


def test_paper_and_the_comfortable_list_have_every_detail(
    screen: Page, twenty_one: list[Cluster]
) -> None:
    screen.reload()
    ident = screen.locator(f"#cluster-{twenty_one[0].pk} .id")
    screen.emulate_media(media="print")
    expect(ident).to_be_visible()
    screen.emulate_media(media="screen")
    expect(ident).to_be_hidden()
    screen.get_by_text("View", exact=True).click()
    screen.get_by_label("Comfortable").check()
    screen.get_by_role("button", name="Save").click()
    expect(ident).to_be_visible()
