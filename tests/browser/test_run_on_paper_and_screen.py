"""A run in a browser: on paper all that is known and nothing to press; forms that lose nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from backups import uptime
from backups.models import ApiCall, BackupRun, Cluster, RunEvent
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from tests.browser.watch import Watch
from tests.grants import give

MakeCluster = Callable[[str], Cluster]
WHITE, BLACK = "rgb(255, 255, 255)", "rgb(0, 0, 0)"


@pytest.fixture
def run(make_cluster: MakeCluster) -> BackupRun:
    """A run that was refused, with a call whose request and answer are folded away."""
    cluster = make_cluster("orders-prod")
    now = timezone.now()
    run = BackupRun.objects.create(
        cluster=cluster,
        project=cluster.project,
        cluster_cloud_id=cluster.cluster_id,
        cluster_name=cluster.name,
        cloud="otc",
        project_id_in_cloud="p",
        requested_by_name="anna",
        trigger="button",
        state="rejected",
        outcome="conflict",
        finished_at=now,
    )
    RunEvent.objects.create(run=run, from_state="sending", to_state="rejected")
    ApiCall.objects.create(
        run=run,
        attempt=1,
        purpose="collect",
        method="POST",
        path="/v1.0/p/clusters/c/logs/collect",
        url="https://css.example.com/v1.0/p/clusters/c/logs/collect",
        request_headers={"X-Auth-Token": "[redacted]"},
        started_at=now,
        finished_at=now,
        status=409,
        excerpt='{"errCode": "CSS.3004"}',
        body_kind="json_object",
    )
    return run


def colours(screen: Page, selector: str) -> tuple[str, str]:
    """Text and background."""
    script = "e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor]"
    text, background = screen.locator(selector).evaluate(script)
    return text, background


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paper_is_black_on_white_and_shows_what_was_folded_away(
    screen: Page, run: BackupRun, scheme: str
) -> None:
    screen.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    screen.goto(screen.url.replace("/clusters/", run.get_absolute_url()))
    request, answer = screen.get_by_text("X-Auth-Token: [redacted]"), screen.locator("pre").last
    expect(request).to_be_hidden()
    expect(screen.locator(".printed")).to_be_hidden()
    screen.emulate_media(media="print", color_scheme=scheme)  # type: ignore[arg-type]
    expect(request).to_be_visible()
    expect(answer).to_be_visible()
    expect(answer).to_contain_text("CSS.3004")
    expect(screen.locator(".printed")).to_contain_text(run.get_absolute_url())
    for pressed in ("header.top", ".crumbs", "#again", "a[download]", ".foot"):
        expect(screen.locator(pressed)).to_be_hidden()
    assert colours(screen, "body") == (BLACK, WHITE)
    assert colours(screen, "#run-head") == (BLACK, WHITE)
    assert colours(screen, "h1 a")[0] == BLACK


def test_printing_notes_the_time_and_leaves_the_page_as_it_was(
    screen: Page, run: BackupRun
) -> None:
    screen.goto(screen.url.replace("/clusters/", run.get_absolute_url()))
    at = screen.locator("#printed-at")
    at.evaluate("e => { e.textContent = 'long ago' }")
    screen.locator("summary", has_text="Request").click()
    assert screen.pdf(prefer_css_page_size=True).startswith(b"%PDF")
    noted = at.evaluate("e => e.textContent")
    assert noted.startswith(f"{timezone.now():%Y-}")
    assert len(noted.split()) >= 3, "date, time, zone"
    opened = screen.locator("details.excerpt").evaluate_all("all => all.map(e => e.open)")
    assert opened == [True, False], "what was open stays open, the rest is closed again"


def test_the_history_is_printed_as_a_table_without_its_filter(screen: Page, run: BackupRun) -> None:
    screen.goto(screen.url.replace("/clusters/", "/history/?window=all&state=rejected"))
    expect(screen.locator("form.filter").first).to_be_visible()
    screen.set_viewport_size({"width": 1000, "height": 700})  # a sheet of A4, on its side
    screen.emulate_media(media="print")
    row = screen.locator(f"#run-{run.pk}")
    expect(row).to_be_visible()
    assert row.evaluate("e => getComputedStyle(e).display") == "table-row"
    expect(screen.locator("form.filter").first).to_be_hidden()
    expect(screen.locator(".chips")).to_contain_text("Rejected")
    expect(screen.locator(".printed")).to_contain_text("state=rejected")


def test_a_missing_reason_opens_the_form_and_nothing_is_lost(
    screen: Page, make_cluster: MakeCluster, settings: object, watch: Watch
) -> None:
    watch.expect_answers(422)
    settings.BACKUP_REASON_REQUIRED = True  # type: ignore[attr-defined]
    make_cluster("orders-prod")
    screen.reload()
    button = screen.get_by_role("button", name="Back up logs of orders-prod")
    button.click()
    field = screen.get_by_label("Reason (required, kept in the history)")
    expect(field).to_be_focused()
    expect(screen.get_by_role("alert")).to_contain_text("A reason is required for every backup.")
    assert not BackupRun.objects.exists()
    field.fill("before the upgrade")
    field.press("Enter")
    expect(screen.locator(".last .badge")).to_have_text("Queued")
    assert BackupRun.objects.get().reason == "before the upgrade"


def test_a_form_that_is_being_filled_is_not_taken_away(
    screen: Page, anna: User, run: BackupRun
) -> None:
    """The page follows the run each second; what was typed stays."""
    give(anna, Role.ADMIN)
    now = timezone.now()
    long_ago = now - timedelta(hours=1)
    stuck = BackupRun.objects.create(
        cluster=run.cluster,
        project=run.project,
        cluster_name=run.cluster_name,
        requested_by_name="anna",
        trigger="button",
        state="unknown",
        outcome="unanswered",
        sent_at=long_ago,
        step_uptime=uptime.now() - 3600,
        checks=9,
        next_check_at=now + timedelta(minutes=1),
    )
    screen.goto(screen.url.replace("/clusters/", stuck.get_absolute_url()))
    screen.locator("#settle summary").click()
    screen.get_by_label("The cloud started nothing for it").check()
    screen.get_by_label("How you know").fill("Nothing in the console")
    BackupRun.objects.filter(pk=stuck.pk).update(note="read once more", version=7)
    expect(screen.locator("#run-head")).to_contain_text("read once more")
    expect(screen.get_by_label("How you know")).to_have_value("Nothing in the console")
    screen.get_by_role("button", name="Settle it").click()
    expect(screen.locator("#run-head .badge")).to_have_text("Not started, by hand")
    expect(screen.locator("#run-head")).to_contain_text("By hand, by anna")
    expect(screen.locator("#run-settle")).to_be_hidden()
