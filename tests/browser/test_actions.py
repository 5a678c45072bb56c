"""What hands do on a page: keys, selecting rows, copying, a click that shows at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.utils import timezone
from playwright.sync_api import Page, Route, expect

from backups.choices import RunState
from backups.models import BackupRun, Batch, Cluster, Heartbeat, Ticker
from backups.services.runs.transitions import transition
from tests.browser.watch import Watch

MakeCluster = Callable[[str], Cluster]


def origin(screen: Page) -> str:
    return str(screen.evaluate("location.origin"))


@pytest.fixture
def three(screen: Page, make_cluster: MakeCluster) -> list[Cluster]:
    clusters = [make_cluster(name) for name in ("a-orders", "b-billing", "c-search")]
    screen.reload()
    return clusters


def test_rows_are_walked_selected_and_backed_up_by_keys_alone(
    screen: Page, three: list[Cluster]
) -> None:
    first, second, third = three
    screen.keyboard.press("j")
    expect(screen.locator(f"#open-{first.pk}")).to_be_focused()
    screen.keyboard.press("x")
    screen.keyboard.press("j")
    screen.keyboard.press("j")
    expect(screen.locator(f"#open-{third.pk}")).to_be_focused()
    screen.keyboard.press("x")
    expect(screen.locator("#announce")).to_have_text("2 selected")
    screen.keyboard.press("k")
    expect(screen.locator(f"#open-{second.pk}")).to_be_focused()
    screen.keyboard.press("b")
    expect(screen.locator("#bulk-go")).to_be_focused()
    assert not BackupRun.objects.exists(), "a key that was hit by chance starts nothing"
    screen.keyboard.press("Enter")
    expect(screen.get_by_role("heading", name="2 clusters selected")).to_be_visible()
    assert not Batch.objects.exists(), "it is confirmed first"
    screen.locator("#send-ready").focus()
    screen.keyboard.press("Enter")
    expect(screen.locator("#batch-said")).to_have_text("0 of 2 clusters done")
    assert {item.cluster for item in Batch.objects.get().items.all()} == {first, third}


def test_b_without_a_selection_backs_up_the_row_at_hand(screen: Page, three: list[Cluster]) -> None:
    screen.keyboard.press("b")  # at no row: nothing
    screen.keyboard.press("j")
    screen.keyboard.press("j")
    screen.keyboard.press("b")
    assert not BackupRun.objects.exists()
    screen.keyboard.press("Enter")
    expect(screen.locator(f"#cluster-{three[1].pk} .last .badge")).to_have_text("Queued")
    assert BackupRun.objects.get().cluster == three[1]


def test_keys_do_nothing_while_somebody_types(screen: Page, three: list[Cluster]) -> None:
    screen.keyboard.press("/")
    expect(screen.locator("#site-q")).to_be_focused()
    screen.keyboard.type("jxb?gh")
    expect(screen.locator("#site-q")).to_have_value("jxb?gh")
    expect(screen.locator("#keys")).not_to_be_visible()
    assert screen.url.endswith("/clusters/")
    assert not BackupRun.objects.exists()


def test_keys_lead_to_other_pages_and_the_help_tells_them(
    screen: Page, three: list[Cluster]
) -> None:
    site = origin(screen)
    screen.keyboard.press("?")
    expect(screen.get_by_role("dialog", name="Keyboard")).to_be_visible()
    screen.keyboard.press("j")
    screen.keyboard.press("Escape")
    expect(screen.locator("#keys")).not_to_be_visible()
    for keys, path in (
        ("gh", "/history/"),
        ("gp", "/protection/"),
        ("go", "/"),
        ("gc", "/clusters/"),
    ):
        for key in keys:
            screen.keyboard.press(key)
        screen.wait_for_url(site + path)


def test_keys_that_are_switched_off_do_nothing(screen: Page, three: list[Cluster]) -> None:
    screen.goto(f"{origin(screen)}/settings/")
    screen.get_by_label("Shortcut keys").uncheck()
    screen.get_by_role("button", name="Save").click()
    screen.goto(f"{origin(screen)}/clusters/")
    for key in ("j", "x", "b", "?", "g", "h"):
        screen.keyboard.press(key)
    expect(screen.locator("tr.at")).to_have_count(0)
    assert screen.url.endswith("/clusters/")


def test_a_selection_outlives_a_row_that_changes(screen: Page, three: list[Cluster]) -> None:
    run_row, picked_row = three[0], three[1]
    screen.locator(f"#backup-{run_row.pk}").click()
    expect(screen.locator(f"#cluster-{run_row.pk} .last .badge")).to_have_text("Queued")
    screen.locator(f"#pick-{picked_row.pk}").check()
    Cluster.objects.filter(pk=picked_row.pk).update(status="100")
    expect(screen.locator(f"#cluster-{picked_row.pk}")).to_contain_text("Creating")
    expect(screen.locator(f"#pick-{picked_row.pk}")).to_be_checked()
    expect(screen.locator("[data-picked]")).to_have_text("1 selected")


def test_the_backup_of_a_selection_works_without_javascript(
    plain_screen: Page, make_cluster: MakeCluster
) -> None:
    clusters = [make_cluster("a-orders"), make_cluster("b-billing")]
    plain_screen.reload()
    expect(plain_screen.locator("#bulk")).not_to_be_visible()
    for cluster in clusters:
        plain_screen.locator(f"#pick-{cluster.pk}").check()
    plain_screen.get_by_role("button", name="Back up selected").click()
    plain_screen.get_by_role("button", name="Back up 2 clusters").click()
    expect(plain_screen.locator("#batch-said")).to_have_text("0 of 2 clusters done")
    assert Batch.objects.get().items.count() == 2


def test_a_click_shows_before_the_server_answers_and_is_taken_back_when_it_fails(
    screen: Page, three: list[Cluster], watch: Watch
) -> None:
    watch.expect("ERR_FAILED", "console: htmx:(sendError|afterRequest)")
    held: list[Route] = []
    screen.route("**/backup/", lambda route: held.append(route))
    badge = screen.locator(f"#cluster-{three[0].pk} .last .badge")
    frames = screen.evaluate(
        """async (selector) => {
          const row = document.querySelector(selector);
          row.querySelector("[id^=backup-]").click();
          let frames = 0;
          while (!row.querySelector(".last .badge") && frames < 60) {
            await new Promise(requestAnimationFrame);
            frames += 1;
          }
          return frames;
        }""",
        f"#cluster-{three[0].pk}",
    )
    assert frames <= 6  # a tenth of a second where nothing else runs; the answer is held
    expect(badge).to_have_text("Queuing…")
    held[0].abort()
    expect(badge).to_have_count(0)
    expect(screen.locator(f"#cluster-{three[0].pk}")).to_contain_text("Never backed up here")
    expect(screen.locator("#notices")).to_contain_text("Your request may have arrived")


def test_an_id_is_copied_and_nothing_moves(screen: Page, three: list[Cluster]) -> None:
    screen.context.grant_permissions(["clipboard-read", "clipboard-write"])
    button = screen.locator(f"#copy-{three[0].pk}")
    screen.locator(f"#cluster-{three[0].pk} td[data-label=Readiness]").click()  # show all of it
    before = screen.locator(f"#cluster-{three[0].pk}").bounding_box()
    button.click()
    expect(screen.locator("#announce")).to_have_text("Copied")
    assert screen.evaluate("navigator.clipboard.readText()") == three[0].cluster_id
    assert screen.locator(f"#cluster-{three[0].pk}").bounding_box() == before


def test_a_page_on_which_nothing_happens_stops_asking_and_goes_on_when_touched(
    screen: Page, three: list[Cluster]
) -> None:
    asked: list[str] = []
    screen.clock.install()
    screen.reload()
    screen.on(
        "request", lambda request: asked.append(request.url) if "/live/" in request.url else None
    )
    as_of = screen.locator("#as-of")
    for _ in range(300):  # the clock is ours, the answers come when they come
        screen.clock.run_for(31_000)
        if as_of.is_visible():
            break
    expect(as_of).to_contain_text("nothing is in progress")
    so_far = len(asked)
    assert 1 <= so_far <= 6
    screen.clock.run_for(600_000)
    assert len(asked) == so_far
    Cluster.objects.filter(pk=three[0].pk).update(status="100")
    screen.locator("h1").click()
    screen.clock.run_for(6_000)
    expect(screen.locator(f"#cluster-{three[0].pk}")).to_contain_text("Creating")


def test_a_worker_that_goes_away_is_told_over_the_page_that_does_not_move(
    screen: Page, three: list[Cluster]
) -> None:
    now = timezone.now()
    Heartbeat.objects.create(name="worker:1:00000000", kind="worker", seen_at=now, started_at=now)
    Ticker.objects.create(pk=1, holder="worker:1:00000000", ticks=1, ticked_at=now)
    screen.locator(f"#backup-{three[0].pk}").click()
    expect(screen.locator(f"#cluster-{three[0].pk} .last .badge")).to_have_text("Queued")
    screen.reload()
    expect(screen.locator("#light")).to_have_text("Running")
    before = screen.locator("h1").bounding_box()
    Heartbeat.objects.filter(kind="worker").delete()
    expect(screen.locator("#light")).to_have_text("No worker", timeout=8_000)
    expect(screen.locator("#notices")).to_contain_text("No worker is running")
    assert screen.locator("h1").bounding_box() == before
    run = BackupRun.objects.get()
    assert transition(run, RunState.CANCELLED, actor="anna")


def test_columns_and_page_size_are_remembered(screen: Page, three: list[Cluster]) -> None:
    view = screen.locator(".menu-box", has=screen.get_by_text("View", exact=True))
    view.locator("summary").click()
    view.get_by_label("Readiness", exact=True).uncheck()
    view.get_by_label("25").check()
    view.get_by_role("button", name="Save").click()
    expect(screen.locator("td[data-label=Readiness]").first).not_to_be_visible()
    screen.goto(f"{origin(screen)}/history/")
    screen.go_back()
    expect(screen.locator("td[data-label=Readiness]").first).not_to_be_visible()
    expect(screen.locator("td[data-label=Protection]").first).to_be_visible()
