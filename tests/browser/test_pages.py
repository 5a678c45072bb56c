"""What only a browser can show: live rows, kept focus, typed text, narrow windows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from backups.choices import Outcome, RunState
from backups.models import BackupRun, Cluster
from backups.services.runs.transitions import transition
from tests.browser.watch import Watch

MakeCluster = Callable[[str], Cluster]


def click_backup(screen: Page, name: str) -> BackupRun:
    screen.get_by_role("button", name=f"Back up logs of {name}").click()
    expect(screen.get_by_role("row", name=name).locator(".last .badge")).to_have_text("Queued")
    return BackupRun.objects.latest("pk")


def test_a_click_shows_every_step_without_a_reload(screen: Page, make_cluster: MakeCluster) -> None:
    cluster = make_cluster("orders-prod")
    screen.reload()
    screen.evaluate("window.notReloaded = true")
    run = click_backup(screen, "orders-prod")
    badge = screen.locator(f"#cluster-{cluster.pk} .last .badge")
    expect(screen.locator("#notices")).to_contain_text("Log backup of orders-prod requested")
    steps = [
        (RunState.SENDING, Outcome.NONE, "Sending"),
        (RunState.ACCEPTED, Outcome.ACCEPTED, "Accepted by the cloud"),
        (RunState.SUCCEEDED, Outcome.ACCEPTED, "Verified"),
    ]
    for state, outcome, word in steps:
        assert transition(run, state, actor="worker", outcome=outcome)
        expect(badge).to_have_text(word, timeout=3_000)
        expect(screen.locator("#announce")).to_contain_text(f"orders-prod: {word}")
    assert screen.evaluate("window.notReloaded") is True
    expect(screen.get_by_role("button", name="Back up logs of orders-prod")).to_be_visible()


def test_the_keyboard_keeps_its_place_in_a_row_that_changes(
    screen: Page, make_cluster: MakeCluster
) -> None:
    cluster = make_cluster("orders-prod")
    screen.reload()
    screen.get_by_role("button", name="Back up logs of orders-prod").focus()
    screen.keyboard.press("Enter")
    expect(screen.locator(f"#run-link-{cluster.pk}")).to_be_focused()
    run = BackupRun.objects.get()
    assert transition(run, RunState.SENDING, actor="worker")
    expect(screen.locator(f"#cluster-{cluster.pk} .last .badge")).to_have_text("Sending")
    expect(screen.locator(f"#run-link-{cluster.pk}")).to_be_focused()


def test_what_is_being_typed_is_never_replaced(screen: Page, make_cluster: MakeCluster) -> None:
    cluster, other = make_cluster("typing"), make_cluster("other")
    screen.reload()
    run = click_backup(screen, "other")
    screen.locator(f"#options-{cluster.pk} summary").click()
    screen.locator(f"#reason-{cluster.pk}").fill("before upgr")
    Cluster.objects.filter(pk=cluster.pk).update(status="100")
    assert transition(run, RunState.SENDING, actor="worker")
    # The other row was answered together with this one, which is held back.
    expect(screen.locator(f"#cluster-{other.pk} .last .badge")).to_have_text("Sending")
    expect(screen.locator(f"#reason-{cluster.pk}")).to_be_focused()
    expect(screen.locator(f"#reason-{cluster.pk}")).to_have_value("before upgr")
    screen.keyboard.press("Escape")
    expect(screen.locator(f"#options-{cluster.pk} summary")).to_be_focused()
    expect(screen.locator(f"#cluster-{cluster.pk}")).to_contain_text("Creating")


def test_a_wrong_option_is_told_in_the_row_and_what_was_typed_stays(
    screen: Page, make_cluster: MakeCluster, watch: Watch
) -> None:
    watch.expect_answers(422)
    cluster = make_cluster("orders-prod")
    screen.reload()
    screen.locator(f"#options-{cluster.pk} summary").click()
    screen.locator(f"#reason-{cluster.pk}").fill("before upgrade")
    screen.locator(f"#wait-{cluster.pk}").evaluate("field => { field.max = ''; }")
    screen.locator(f"#wait-{cluster.pk}").fill("99999")
    screen.locator(f"#backup-{cluster.pk}").click()
    expect(screen.get_by_role("alert")).to_contain_text("Minutes to wait")
    expect(screen.locator(f"#reason-{cluster.pk}")).to_have_value("before upgrade")
    assert not BackupRun.objects.exists()


def test_a_queued_run_is_cancelled_from_its_row(screen: Page, make_cluster: MakeCluster) -> None:
    cluster = make_cluster("orders-prod")
    screen.reload()
    click_backup(screen, "orders-prod")
    screen.get_by_role("button", name="Cancel the backup of orders-prod").click()
    expect(screen.locator(f"#cluster-{cluster.pk} .last .badge")).to_have_text("Cancelled")
    assert BackupRun.objects.get().state == "cancelled"


def test_a_server_that_is_away_is_told_quietly_and_asked_again(
    screen: Page, make_cluster: MakeCluster, watch: Watch
) -> None:
    watch.expect("ERR_FAILED", "console: htmx:(sendError|afterRequest)")
    make_cluster("orders-prod")
    screen.reload()
    run = click_backup(screen, "orders-prod")
    screen.route("**/live/**", lambda route: route.abort())
    expect(screen.locator("#live-status")).to_contain_text("is not reachable")
    assert transition(run, RunState.SENDING, actor="worker")
    screen.unroute("**/live/**")
    expect(screen.locator(f"#cluster-{run.cluster_id} .last .badge")).to_have_text("Sending")
    expect(screen.locator("#live-status")).to_be_empty()


def test_a_page_whose_session_has_ended_says_so(screen: Page, make_cluster: MakeCluster) -> None:
    make_cluster("orders-prod")
    screen.reload()
    click_backup(screen, "orders-prod")
    screen.context.clear_cookies()
    expect(screen.locator("#live-status")).to_contain_text("session has ended")
    screen.locator("#live-status a").click()
    expect(screen).to_have_url("**/sign-in/?next=%2Fclusters%2F".replace("**", _origin(screen)))


def test_the_run_page_follows_its_run_and_keeps_an_answer_open(
    screen: Page, make_cluster: MakeCluster
) -> None:
    from backups.models import ApiCall

    make_cluster("orders-prod")
    screen.reload()
    run = click_backup(screen, "orders-prod")
    call = ApiCall.objects.create(
        run=run,
        attempt=1,
        purpose="collect",
        method="POST",
        path="/collect",
        started_at=run.requested_at,
        excerpt='{"a": "<b>"}',
    )
    screen.goto(f"{_origin(screen)}{run.get_absolute_url()}")
    screen.locator(f"#call-{call.pk} summary").click()
    assert transition(run, RunState.SENDING, actor="worker")
    assert transition(run, RunState.REJECTED, actor="worker", outcome=Outcome.CONFLICT)
    expect(screen.locator("#run-head .run-title .badge")).to_have_text("Rejected: Conflict")
    expect(screen.locator(f"#call-{call.pk}")).to_have_attribute("open", "")
    expect(screen.locator(f"#call-{call.pk} pre")).to_have_text('{"a": "<b>"}')
    expect(screen).to_have_title("Rejected: Conflict · orders-prod · CSS Log Backup")
    screen.get_by_role("button", name="Back up again").click()
    expect(screen.locator("#run-head .run-title .badge")).to_have_text("Queued")
    assert BackupRun.objects.count() == 2


def test_the_history_says_that_there_is_a_new_run(screen: Page, make_cluster: MakeCluster) -> None:
    make_cluster("first")
    make_cluster("second")
    screen.reload()
    click_backup(screen, "first")
    history = screen.context.new_page()
    history.goto(f"{_origin(screen)}/history/")
    expect(history.get_by_role("row", name="first").locator(".badge")).to_have_text("Queued")
    click_backup(screen, "second")
    history.bring_to_front()
    history.get_by_role("link", name="1 new run: show").click()
    expect(history.get_by_role("row", name="second")).to_be_visible()


def test_without_javascript_a_click_works_and_is_told(
    plain_screen: Page, make_cluster: MakeCluster
) -> None:
    make_cluster("orders-prod")
    plain_screen.reload()
    plain_screen.get_by_role("button", name="Back up logs of orders-prod").click()
    expect(plain_screen.get_by_text("Log backup of orders-prod requested.")).to_be_visible()
    expect(plain_screen.get_by_role("row", name="orders-prod")).to_contain_text("Queued")


@pytest.mark.parametrize("width", [390, 768, 1040, 1200, 1440])
def test_no_page_is_wider_than_the_window(
    screen: Page, make_cluster: MakeCluster, width: int
) -> None:
    make_cluster("orders-" + "x" * 200)
    screen.set_viewport_size({"width": width, "height": 800})
    screen.reload()
    screen.locator("[id^=backup-]").click()
    expect(screen.locator(".last .badge")).to_have_text("Queued")
    run = BackupRun.objects.get()
    assert transition(run, RunState.SENDING, actor="worker", message="y" * 3000)
    for path in (
        "/clusters/",
        "/protection/",
        "/history/",
        run.get_absolute_url(),
        "/clusters/?q=zz",
    ):
        screen.goto(_origin(screen) + path)
        assert screen.evaluate("document.documentElement.scrollWidth") <= width


def _origin(screen: Page) -> str:
    return str(screen.evaluate("location.origin"))
