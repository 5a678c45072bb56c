"""Panels that open inside the window, what they focus, notices that go, and addresses of forms."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from backups.choices import Readiness
from backups.models import Cluster
from tests.browser.watch import Watch

MakeCluster = Callable[[str], Cluster]

INSIDE = """panel => {
  const { left, right, top, bottom } = panel.getBoundingClientRect();
  return left >= -1 && right <= innerWidth + 1 && top >= -1 && bottom <= innerHeight + 1;
}"""


def expect_inside(panel: str, screen: Page) -> None:
    expect(screen.locator(panel)).to_be_visible()
    screen.wait_for_function(
        f"(selector) => ({INSIDE})(document.querySelector(selector))", arg=panel
    )


@pytest.fixture
def many(make_cluster: MakeCluster) -> list[Cluster]:
    clusters = [make_cluster(f"cluster-{n:02}") for n in range(30)]
    Cluster.objects.update(
        readiness=Readiness.BACKUP_OFF,
        readiness_detail="Log backup is switched off.",
        checked_at=timezone.now(),
    )
    return clusters


@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_options_of_a_cluster_page_open_inside_the_window(
    screen: Page, many: list[Cluster], width: int
) -> None:
    screen.set_viewport_size({"width": width, "height": 800})
    screen.goto(screen.url.replace("/clusters/", many[0].get_absolute_url()))
    screen.locator(f"#options-{many[0].pk} summary").click()
    expect_inside(f"#options-{many[0].pk} .panel", screen)


@pytest.mark.parametrize("width", [1440, 390])
def test_a_refusal_of_the_last_row_is_seen_and_enter_forces_nothing(
    screen: Page, many: list[Cluster], watch: Watch, width: int
) -> None:
    watch.expect_answers(409)
    last = many[-1]
    screen.set_viewport_size({"width": width, "height": 800})
    screen.reload()
    screen.locator(f"#backup-{last.pk}").click()
    expect(screen.locator(f"#why-{last.pk}")).to_be_focused()
    expect_inside(f"#options-{last.pk} .panel", screen)
    screen.keyboard.press("Enter")
    expect(screen.locator(f"#anyway-{last.pk}")).to_be_visible()
    assert not last.runs.exists()


def test_a_notice_goes_by_itself_and_an_error_stays(screen: Page) -> None:
    screen.clock.install()
    screen.reload()
    screen.evaluate(
        """() => {
          const notices = document.getElementById("notices");
          notices.innerHTML =
            '<div class="notice">Requested</div><div class="notice error">No</div>';
          htmx.trigger(notices, "htmx:oobAfterSwap", { target: notices });
        }"""
    )
    expect(screen.locator("#notices .notice")).to_have_count(2)
    screen.clock.fast_forward(9000)
    expect(screen.locator("#notices .notice")).to_have_text(["No"])


def test_j_and_enter_open_the_run_of_the_history(screen: Page, make_cluster: MakeCluster) -> None:
    cluster = make_cluster("orders-prod")
    screen.reload()
    screen.get_by_role("button", name="Back up logs of orders-prod").click()
    expect(screen.locator(f"#cluster-{cluster.pk} .last .badge")).to_have_text("Queued")
    screen.goto(screen.url.replace("/clusters/", "/history/"))
    screen.keyboard.press("j")
    screen.keyboard.press("Enter")
    screen.wait_for_url(f"**/runs/{cluster.runs.get().pk}/")


def test_an_address_of_a_form_and_an_unknown_one_answer_with_a_page_and_the_navigation(
    screen: Page, make_cluster: MakeCluster, watch: Watch
) -> None:
    watch.expect_answers(404, 405)
    origin = screen.evaluate("location.origin")
    cluster = make_cluster("orders-prod")
    screen.goto(f"{origin}/clusters/{cluster.pk}/check/")
    expect(screen.get_by_role("heading", name="This address is not a page")).to_be_visible()
    expect(screen.get_by_role("navigation", name="Main")).to_be_visible()
    screen.goto(f"{origin}/clusters/{cluster.pk + 1}/")
    expect(screen.get_by_role("heading", name="Page not found")).to_be_visible()
    screen.get_by_role("link", name="History", exact=True).click()
    expect(screen.get_by_role("heading", name="History", exact=True)).to_be_visible()
