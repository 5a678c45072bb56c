"""The main journeys through the whole product, with its worker and the simulated cloud."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.hands import WAYS, Hands
from tests.browser.watch import Watch
from tests.stack import Stack

PASSWORD = "a-password-of-a-test"
KINDS: dict[str, dict[str, object]] = {"well": {}, "off": {"log_backup": False}, "busy": {}}
ACCOUNTS = """
from dashboard.accounts.models import User
for name in {names!r}:
    User.objects.create_user(name, password={password!r})
"""
# a worker and a cloud are at work, on a machine that others use too
SECONDS = 60_000
Sit = Callable[..., Hands]


def slug(way: str) -> str:
    return way.replace(" ", "-")


def cluster(kind: str, way: str) -> str:
    """The name of the cluster that a journey uses."""
    return f"journey-{kind}-{slug(way)}"


@pytest.fixture(scope="module")
def prepared(running_stack: Stack) -> Stack:
    """A cluster of each kind, a colleague without a role, for each way; an auditor."""
    for way in WAYS:
        for kind, fields in KINDS.items():
            name = cluster(kind, way)
            cluster_id = running_stack.simulator.add_cluster(name, job_seconds=1, **fields)
            if kind == "busy":
                running_stack.simulator.fault("status", cluster_id, preset="busy")
    names = ["auditor", *(f"colleague-{slug(way)}" for way in WAYS)]
    script = ACCOUNTS.format(names=names, password=PASSWORD)
    for command in (
        ("sync_clusters", "--cloud", "demo"),
        ("shell", "-c", script),
        ("grant", "auditor", "auditor"),
    ):
        answer = running_stack.instance.manage(*command)
        assert answer.returncode == 0, answer.stderr
    return running_stack


@pytest.fixture(scope="module")
def states() -> dict[tuple[str, str], Any]:
    """Cookies of who has signed in, by way and name: each signs in once, by hand."""
    return {}


@pytest.fixture
def sit(
    prepared: Stack,
    stack: Stack,
    chromium: Browser,
    watch: Watch,
    states: dict[tuple[str, str], Any],
    way: str,
) -> Iterator[Sit]:
    """Seats somebody at a window in which they have signed in."""
    contexts = []

    def seat(name: str = "admin", password: str = stack.instance.password) -> Hands:
        context = chromium.new_context(
            viewport={"width": 1440, "height": 900},
            base_url=stack.base_url,
            java_script_enabled=way != "no script",
            storage_state=states.get((way, name)),
        )
        contexts.append(watch.follow(context))
        page = context.new_page()
        page.set_default_timeout(20_000)
        hands = Hands(page, way)
        if (way, name) not in states:
            sign_in(hands, name, password)
            states[way, name] = context.storage_state()
        page.goto("/")
        return hands

    yield seat
    for context in contexts:
        context.close()


def sign_in(hands: Hands, name: str, password: str) -> None:
    hands.page.goto("/history/")
    expect(hands.page).to_have_url(re.compile("/sign-in/"))
    hands.write(hands.page.get_by_label("User name"), name)
    hands.write(hands.page.get_by_label("Password", exact=True), password)
    hands.press(hands.page.get_by_role("button", name="Sign in"))
    # where they wanted to go
    expect(hands.page).to_have_url(re.compile("/history/$"))


def to(hands: Hands, name: str) -> None:
    """Follow a link of the main navigation."""
    hands.press(hands.page.get_by_role("navigation", name="Main").get_by_role("link", name=name))
    expect(hands.page.get_by_role("heading", level=1)).to_have_text(name)


def to_settings(hands: Hands, name: str) -> None:
    """Open a page of the settings."""
    to(hands, "Settings")
    pages = hands.page.locator("main").get_by_role("navigation", name="Settings")
    hands.press(pages.get_by_role("link", name=re.compile(f"^{name}")))
    expect(hands.page.get_by_role("heading", level=1)).to_have_text(name)


def row_of(hands: Hands, name: str) -> Locator:
    """Look for a cluster; its row."""
    to(hands, "Clusters")
    search = hands.page.get_by_role("search", name="Filter the clusters")
    hands.write(search.get_by_role("searchbox"), name)
    hands.press(search.get_by_role("button", name="Filter").first)
    # a key does not wait for the page that it leads to, and the row is on the old one, too
    expect(hands.page).to_have_url(re.compile(f"[?&]q={re.escape(name)}"))
    hands.page.wait_for_load_state()
    return hands.page.get_by_role("row", name=re.compile(name))


def last_run(row: Locator) -> Locator:
    return row.locator(".last .badge")


every_way = pytest.mark.parametrize("way", WAYS)


@every_way
def test_a_cluster_is_backed_up_and_seen_verified(sit: Sit, way: str) -> None:
    hands = sit()
    row = row_of(hands, cluster("well", way))
    hands.press(row.get_by_role("button", name=re.compile("^Back up logs")))
    expect(last_run(row)).to_have_text("Verified", timeout=SECONDS)
    hands.press(row.get_by_role("link", name=re.compile(r"^Run \d+")))
    page = hands.page
    expect(page.locator("#run-head .badge").first).to_have_text("Verified")
    expect(page.locator("#run-record")).to_contain_text("Manual")
    expect(page).to_have_title(re.compile("^Verified · journey"))


@every_way
def test_a_412_is_understood_mended_and_backed_up_again(sit: Sit, watch: Watch, way: str) -> None:
    hands = sit()
    page = hands.page
    row = row_of(hands, cluster("off", way))
    hands.press(row.get_by_role("button", name=re.compile("^Back up logs")))
    anyway = page.get_by_role("button", name=re.compile("Back up anyway"))
    refused = page.locator("tbody .last .badge", has_text="Rejected")
    expect(anyway.or_(refused).first).to_be_visible(timeout=SECONDS)
    if anyway.is_visible():  # the check of its readiness was quicker than the click
        watch.expect_answers(409)
        hands.press(anyway)
    expect(refused).to_be_visible(timeout=SECONDS)
    hands.press(page.locator("tbody").get_by_role("link", name=re.compile(r"^Run \d+")))
    expect(page.locator("#run-head")).to_contain_text("412")

    hands.press(page.locator("#run-head").get_by_role("link", name="Enable log backup"))
    expect(page).to_have_url(re.compile("/log-backup/"))
    if page.get_by_text("Not read yet").count():
        hands.press(page.get_by_role("button", name="Read again"))
    hands.write(page.get_by_label("OBS bucket"), "css-logs")
    hands.write(page.get_by_label("Path in the bucket"), "css/log")
    hands.write(page.get_by_label("IAM agency"), "css_obs_agency")
    hands.press(page.get_by_role("button", name="Switch log backup on"))
    expect(page.locator(".notice")).to_contain_text("is on")

    hands.press(page.get_by_role("button", name="Back up logs now"))
    expect(page.locator("#run-head .badge").first).to_have_text("Verified", timeout=SECONDS)


@every_way
def test_the_history_is_filtered_the_view_saved_and_the_runs_exported(
    sit: Sit, way: str, tmp_path: Path
) -> None:
    hands = sit()
    page = hands.page
    name = cluster("well", way)
    to(hands, "History")
    search = page.get_by_role("search", name="Filter the history")
    hands.write(search.get_by_role("searchbox"), name)
    hands.choose(search.get_by_label("Requested within"), "Last 24 hours")
    hands.press(search.get_by_role("button", name="Filter").first)
    expect(page.get_by_role("list", name="Filters in force")).to_contain_text(name)
    runs = page.locator("tbody tr").count()

    hands.press(page.locator("summary", has_text="Views"))
    hands.write(page.get_by_label("Save this filter as"), f"Mine by {way}")
    hands.press(page.get_by_role("button", name="Save"))
    hands.press(page.locator("summary", has_text="Views"))
    hands.press(page.get_by_role("link", name=f"Mine by {way}"))
    expect(page.get_by_role("list", name="Filters in force")).to_contain_text(name)

    hands.press(page.locator("summary", has_text="Export"))
    with page.expect_download() as taken:
        hands.press(page.get_by_role("button", name="CSV", exact=True))
    taken.value.save_as(tmp_path / "runs.csv")
    lines = (tmp_path / "runs.csv").read_text().splitlines()
    assert len(lines) == runs + 1
    assert all(name in line for line in lines[1:])
    hands.press(page.get_by_role("link", name="Your exports"))  # the panel is still open
    expect(page.locator("tbody tr").first).to_contain_text("Complete")


@every_way
def test_a_run_that_waits_for_a_busy_cluster_is_cancelled(sit: Sit, way: str) -> None:
    hands = sit()
    row = row_of(hands, cluster("busy", way))
    hands.press(row.locator("details.options > summary"))
    hands.write(row.get_by_label("Reason"), "in the morning")
    hands.write(row.get_by_label("If the cluster is busy, wait"), "30")
    hands.press(row.get_by_role("button", name=re.compile("^Back up logs")))
    expect(row).to_contain_text("409", timeout=SECONDS)
    expect(last_run(row)).to_have_text("Queued")
    hands.press(row.get_by_role("button", name=re.compile("^Cancel the backup")))
    # in its row; without a script on the page of the run
    expect(hands.page.locator("main .badge", has_text="Cancelled").first).to_be_visible()


@every_way
def test_a_role_is_granted(sit: Sit, way: str) -> None:
    hands = sit()
    page = hands.page
    colleague = f"colleague-{slug(way)}"
    to_settings(hands, "Access")
    hands.choose(page.get_by_label("For", exact=True), "User")
    hands.write(page.get_by_label("Name", exact=True), colleague)
    hands.choose(page.get_by_label("Role", exact=True), "Operator")
    hands.choose(page.get_by_label("Project", exact=True), "All projects, including future ones")
    hands.press(page.get_by_role("button", name="Grant"))
    row = page.get_by_role("row", name=re.compile(colleague))
    expect(row).to_contain_text("Operator")
    expect(row).to_contain_text("by admin")


@every_way
def test_an_auditor_finds_a_run_and_takes_its_proof_away(sit: Sit, way: str, stack: Stack) -> None:
    name = "orders-prod"
    number = stack.visitor().back_up(name)
    hands = sit("auditor", PASSWORD)
    page = hands.page
    to(hands, "History")
    search = page.get_by_role("search", name="Filter the history")
    hands.write(search.get_by_role("searchbox"), name)
    hands.press(search.get_by_role("button", name="Filter").first)
    hands.press(page.get_by_role("link", name=f"Run {number}", exact=True))
    expect(page.locator("#run-head .badge").first).to_have_text("Verified", timeout=SECONDS)
    expect(page.get_by_role("button", name="Back up again")).to_have_count(0)
    with page.expect_download() as taken:
        hands.press(page.get_by_role("link", name="JSON"))
    assert json.loads(taken.value.path().read_text())["run_id"] == number
    page.emulate_media(media="print")
    expect(page.locator(".printed")).to_contain_text("printed by auditor")
    assert page.pdf().startswith(b"%PDF")


@every_way
def test_the_audit_trail_is_verified(sit: Sit, way: str) -> None:
    hands = sit()
    page = hands.page
    to(hands, "Audit trail")
    with page.expect_event("load"):
        hands.press(page.get_by_role("button", name="Verify now"))

    if way == "no script":  # by reloading

        def look() -> str:
            page.goto("/audit/")
            return page.locator("#chain-status").inner_text()

        wait_until(lambda: "intact" in look() and "Verification" not in look(), page)
    expect(page.locator("#chain-status")).to_contain_text("intact", timeout=60_000)
    expect(page.locator("#chain-status")).not_to_contain_text("Verification", timeout=60_000)


@every_way
def test_a_connection_is_left_made_again_and_synchronised(sit: Sit, watch: Watch, way: str) -> None:
    hands = sit()
    page = hands.page
    to_settings(hands, "Connections")
    hands.press(page.get_by_role("button", name="Disconnect demo-nl"))
    watch.expect_answers(422)  # a question first
    hands.write(page.get_by_label("Reason"), "a test of ours")
    hands.press(page.get_by_role("button", name="Disconnect", exact=True))
    hands.press(page.get_by_role("button", name="Connect demo-nl"))
    row = page.get_by_role("row", name=re.compile("demo-nl"))
    expect(row).to_contain_text("just now", timeout=SECONDS)
    hands.press(row.get_by_role("button", name="Sync now"))
    expect(page.locator(".notice")).to_contain_text(
        "Synchronisation of demo-nl / eu-nl has started."
    )
    expect(row.get_by_role("button", name="Test")).to_be_visible()


def wait_until(holds: Callable[[], bool], page: Page) -> None:
    """Look again until something holds."""
    for _each in range(120):
        if holds():
            return
        page.wait_for_timeout(250)
    raise AssertionError("never came")
