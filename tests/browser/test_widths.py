"""Lists and panels at the widths people have: nothing is covered, broken or out of the window."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from backups.choices import Outcome, RunState
from backups.models import Cluster, Project
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.audit.models import Action
from dashboard.audit.trail import Actor, record
from tests.browser.typical import make_run
from tests.browser.watch import Watch
from tests.grants import give

MakeCluster = Callable[[str], Cluster]
LISTS = ["/clusters/", "/history/", "/protection/", "/audit/"]
# rows that are seen whole, below the frame and the list's header
IN_VIEW = """() => {
  const head = document.querySelector(".rows thead").getBoundingClientRect().bottom;
  return [...document.querySelectorAll(".rows tbody tr")]
    .map((row) => row.getBoundingClientRect())
    .filter(({ top, bottom }) => top >= head - 1 && bottom <= innerHeight).length;
}"""
LINES = """element => {
  const range = document.createRange();
  range.selectNodeContents(element);
  return new Set([...range.getClientRects()].map(({ top }) => Math.round(top))).size;
}"""
REASON = "CHG-1234: the log bucket moves to another region tonight, so all clusters are backed up"


def go(screen: Page, path: str, width: int = 1440) -> None:
    """Open a page of the site in a window of a width, without the banner of a missing worker."""
    screen.set_viewport_size({"width": width, "height": 900 if width > 600 else 844})
    screen.goto(screen.evaluate("location.origin") + path)
    screen.evaluate("document.getElementById('alerts').remove()")


def comfortable(screen: Page) -> None:
    url = screen.evaluate("location.origin")
    screen.context.add_cookies([{"name": "look", "value": "density=comfortable", "url": url}])


@pytest.fixture
def clusters(make_cluster: MakeCluster, anna: User) -> list[Cluster]:
    """Clusters with runs of many kinds, and events with addresses and reasons."""
    give(anna, Role.ADMIN)
    now = timezone.now()
    made = [make_cluster(f"orders-production-{n:02}") for n in range(21)]
    who = Actor("nightly-job", anna, ip="198.51.100.217")
    for n, cluster in enumerate(made):
        at = now - timedelta(hours=n + 1)
        if n % 3:
            make_run(cluster, RunState.SUCCEEDED, Outcome.ACCEPTED, 200, "", at)
            Cluster.objects.filter(pk=cluster.pk).update(
                verified_at=at, due_at=at + timedelta(hours=24), overdue_at=at + timedelta(hours=30)
            )
        else:
            text = {"message": REASON, "requested_by_name": "nightly-job"}
            make_run(cluster, RunState.REJECTED, Outcome.CONFLICT, 409, "CSS.3004", at, **text)
        record(Action.RUN_REQUESTED, actor=who, target=cluster, reason=REASON)
    return made


@pytest.mark.parametrize("width", [1440, 1280, 1120])
@pytest.mark.parametrize("path", LISTS)
def test_fifteen_rows_below_a_header_that_stays(
    screen: Page, clusters: list[Cluster], path: str, width: int
) -> None:
    go(screen, path, width)
    if path == "/protection/":  # below its causes
        screen.locator(".rows").evaluate("list => list.scrollIntoView()")
    assert screen.evaluate(IN_VIEW) >= 15
    screen.set_viewport_size({"width": width, "height": 500})
    screen.locator(".rows tbody tr").nth(14).evaluate("row => row.scrollIntoView()")
    head = screen.locator(".rows thead th").first.bounding_box()
    frame = screen.locator(".top").bounding_box()
    assert head
    assert frame
    assert abs(head["y"] - max(frame["y"] + frame["height"], 0)) <= 1


@pytest.mark.parametrize("density", ["compact", "comfortable"])
@pytest.mark.parametrize("width", [1400, 1280, 1120, 1024])
def test_columns_stay_readable(
    screen: Page, clusters: list[Cluster], width: int, density: str
) -> None:
    if density == "comfortable":
        comfortable(screen)
    for path in LISTS:
        go(screen, path, width)
        assert screen.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        name = screen.locator(".rows tbody th").first.bounding_box()
        assert name
        assert name["width"] >= 130, path


@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_addresses_and_names_are_not_broken(
    screen: Page, clusters: list[Cluster], width: int
) -> None:
    comfortable(screen)
    go(screen, "/audit/", width)
    address = screen.get_by_text("198.51.100.217").first
    expect(address).to_be_visible()
    assert address.evaluate(LINES) == 1
    go(screen, "/history/", width)
    assert screen.get_by_text("nightly-job", exact=True).first.evaluate(LINES) == 1


@pytest.mark.parametrize("path", LISTS[:3])
def test_on_a_phone_a_row_has_four_lines(screen: Page, clusters: list[Cluster], path: str) -> None:
    go(screen, path, 390)
    heights = screen.locator(".rows tbody tr").evaluate_all(
        "rows => rows.map((row) => row.getBoundingClientRect().height)"
    )
    assert max(heights) <= 4 * 33
    assert screen.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("width", [1440, 390])
def test_a_cut_off_reason_is_whole_on_hover_focus_and_tap(
    screen: Page, clusters: list[Cluster], width: int
) -> None:
    for path in ("/history/", "/audit/"):
        go(screen, path, width)
        cell = screen.locator(".rows td.message", has_text=REASON).first
        expect(cell).to_have_attribute("title", REASON)
        row = cell.locator("xpath=..")
        whole = f"({LINES})(element) > 1 || element.scrollWidth <= element.clientWidth"
        row.locator("td").first.click(position={"x": 4, "y": 4})
        expect(cell).to_be_visible()
        assert cell.evaluate(f"element => {whole}")
        row.locator("td").first.click(position={"x": 4, "y": 4})
        screen.keyboard.press("j")
        while not row.evaluate("row => row.contains(document.activeElement)"):
            screen.keyboard.press("j")
        expect(cell).to_be_visible()
        assert cell.evaluate(f"element => {whole}")


def test_what_a_row_cuts_off_is_its_title(screen: Page, make_cluster: MakeCluster) -> None:
    cluster = make_cluster("orders-" + "very-" * 20 + "long")
    go(screen, "/clusters/")
    name = screen.locator(f"#cluster-{cluster.pk} th")
    name.hover()
    expect(name).to_have_attribute("title", cluster.name)


@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_a_row_in_the_address_is_below_the_header(
    screen: Page, clusters: list[Cluster], width: int
) -> None:
    cluster = clusters[18]
    go(screen, "/history/", width)
    go(screen, f"/clusters/#cluster-{cluster.pk}", width)
    expect(screen.locator(f"#open-{cluster.pk}")).to_be_in_viewport()
    covered = f"""() => {{
      const {{ left, top }} = document.getElementById("open-{cluster.pk}").getBoundingClientRect();
      const seen = document.elementFromPoint(left + 4, top + 8);
      return !!seen && seen.closest("tr") && seen.closest("tr").id === "cluster-{cluster.pk}";
    }}"""
    assert screen.evaluate(covered)


@pytest.mark.parametrize("width", [1440, 1280, 1120, 390])
def test_the_place_in_the_navigation_is_seen(screen: Page, anna: User, width: int) -> None:
    give(anna, Role.ADMIN)
    for path, place in (
        ("/settings/", "Settings"),
        ("/audit/", "Audit trail"),
        ("/batches/", "Clusters"),
    ):
        go(screen, path, width)
        here = screen.locator(".top nav [aria-current]")
        expect(here).to_have_text(place)
        expect(here).to_be_in_viewport(ratio=0.98)


def test_a_notice_covers_no_button_of_a_row(screen: Page, clusters: list[Cluster]) -> None:
    go(screen, "/clusters/")
    screen.evaluate("scrollTo(0, 150)")
    screen.evaluate(
        """() => document.getElementById("notices").innerHTML =
             '<div class="notice"><p>Log backup of orders-production-01 requested</p></div>'"""
    )
    notice = screen.locator("#notices .notice").bounding_box()
    assert notice
    for button in screen.locator(".rows .act button").all():
        box = button.bounding_box()
        assert box
        beside = box["x"] >= notice["x"] + notice["width"] or box["x"] + box["width"] <= notice["x"]
        above = box["y"] + box["height"] <= notice["y"] or box["y"] >= 900
        assert beside or above


@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_an_objective_is_edited_in_a_panel_inside_the_window(
    screen: Page, clusters: list[Cluster], width: int
) -> None:
    cluster = clusters[7]
    go(screen, "/protection/", width)
    screen.locator(f"#objective-{cluster.pk} summary").click()
    panel = screen.locator(f"#objective-{cluster.pk} .panel")
    expect(panel).to_be_in_viewport(ratio=0.99)
    panel.get_by_label(f"Objective of {cluster.name} in hours").fill("8")
    panel.get_by_role("button", name="Save").click()
    expect(screen.locator(f"#cluster-{cluster.pk}")).to_contain_text("8 h")
    cluster.refresh_from_db()
    assert cluster.objective_hours == 8


@pytest.mark.parametrize("width", [1440, 390])
def test_protection_is_sorted_and_says_by_when(
    screen: Page, clusters: list[Cluster], width: int
) -> None:
    go(screen, "/protection/?sort=due", width)
    due = screen.locator(".rows td[data-label='Due by']")
    texts = [text.split("\n")[0].strip() for text in due.all_inner_texts()]
    assert all(text.startswith(("in ", "Overdue for ")) for text in texts[7:]), texts
    assert {len(text) for text in texts[:7]} == {1}, "a dash: never backed up"
    assert texts[-1].startswith("in ")
    if width > 1000:
        screen.get_by_role("columnheader", name="Due by").get_by_role("link").click()
        expect(screen.get_by_role("columnheader", name="Due by")).to_have_attribute(
            "aria-sort", "descending"
        )
        expect(due.first).to_contain_text("in ")


@pytest.mark.parametrize("width", [1440, 390])
def test_actions_are_found_by_typing_and_chosen_without_script(
    screen: Page, plain_screen: Page, clusters: list[Cluster], width: int
) -> None:
    for each in (screen, plain_screen):
        origin = each.url.split("/clusters/")[0]
        each.set_viewport_size({"width": width, "height": 900})
        each.goto(f"{origin}/audit/")
        each.get_by_text("More filters").click()
        action = each.get_by_label("Action", exact=True)
        if each is screen:
            each.get_by_label("Find an action").fill("log backup requested")
            expect(action.locator("option:not([hidden])")).to_have_text(["Log backup requested"])
        else:
            expect(each.get_by_label("Find an action")).to_be_hidden()
        action.select_option(label="Log backup requested")
        each.get_by_role("button", name="Filter").last.click()
        expect(each.locator(".rows tbody tr")).to_have_count(21)
        assert "action=run_requested" in each.url


@pytest.mark.parametrize("width", [1440, 390])
def test_clusters_by_their_last_run_are_saved_as_a_view(
    screen: Page, clusters: list[Cluster], width: int
) -> None:
    go(screen, "/clusters/", width)
    screen.get_by_text("More filters").click()
    screen.get_by_label("Outcome of the last run").select_option(label="Conflict")
    screen.locator(".filter-fields").get_by_role("button", name="Filter").click()
    expect(screen.locator(".rows tbody tr")).to_have_count(7)
    screen.locator(".menu-box summary", has_text="Views").click()
    screen.get_by_label("Save this filter as").fill("Conflicts")
    screen.get_by_role("button", name="Save").last.click()
    expect(screen.get_by_text("View “Conflicts” saved.")).to_be_visible()
    assert screen.url.endswith("/clusters/?last_outcome=conflict")
    go(screen, "/clusters/", width)
    screen.locator(".menu-box summary", has_text="Views").click()
    screen.get_by_role("link", name="Conflicts").click()
    expect(screen.locator(".rows tbody tr")).to_have_count(7)
    go(screen, "/history/", width)
    screen.locator(".menu-box summary", has_text="Views").click()
    expect(screen.get_by_text("No saved views yet.")).to_be_visible()


@pytest.mark.parametrize("width", [1440, 390])
def test_a_number_is_written_alike_everywhere(screen: Page, project: Project, width: int) -> None:
    Cluster.objects.bulk_create(
        Cluster(project=project, cluster_id=f"id-{n}", name=f"many-{n:04}") for n in range(1463)
    )
    for path in ("/", "/clusters/", "/protection/"):
        go(screen, path, width)
        text = screen.locator("main").inner_text()
        assert "1,463" in text, path
        assert "1463" not in text, path


@pytest.mark.parametrize("width", [1440, 390])
def test_retention_is_denied_in_its_own_words(screen: Page, watch: Watch, width: int) -> None:
    watch.expect_answers(403)
    screen.set_viewport_size({"width": width, "height": 900})
    screen.goto(screen.evaluate("location.origin") + "/settings/retention/")
    expect(screen.locator("main")).to_contain_text("retention")
    expect(screen.get_by_role("navigation", name="Main")).to_be_visible()
