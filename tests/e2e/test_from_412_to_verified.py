"""An operator turns a 412 into a verified backup, in a browser, through the pages alone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.chromium import ARGUMENTS, CHROMIUM

if TYPE_CHECKING:
    from tests.stack import Stack

pytestmark = pytest.mark.skipif(
    shutil.which(CHROMIUM) is None, reason=f"no browser: {CHROMIUM} is missing"
)


@pytest.fixture
def screen(stack: Stack) -> Iterator[Page]:
    """A window in which the administrator has signed in; nothing may be blocked by the policy."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(20_000)
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console",
            lambda said: problems.append(said.text) if "Content Security" in said.text else None,
        )
        page.goto(f"{stack.base_url}/sign-in/")
        page.get_by_label("User name").fill("admin")
        page.get_by_label("Password").fill(stack.instance.password)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{stack.base_url}/")
        yield page
        browser.close()
    assert problems == []


def test_from_412_to_verified(stack: Stack, screen: Page) -> None:
    stack.add_cluster("needs-a-bucket", log_backup=False)

    # The click, and the cloud's 412.
    screen.goto(f"{stack.base_url}/clusters/?q=needs-a-bucket")
    row = screen.get_by_role("row", name=re.compile("needs-a-bucket"))
    row.get_by_role("button", name=re.compile("^Back up")).first.click()
    anyway = screen.get_by_role("button", name=re.compile("Back up anyway"))
    badge = row.locator(".badge", has_text=re.compile("Rejected|Precondition"))
    expect(anyway.or_(badge).first).to_be_visible(timeout=60_000)
    if anyway.count():  # the check of its readiness was quicker than the click
        # the next page must not be read before the click was stored
        with screen.expect_response(lambda answer: answer.request.method == "POST"):
            anyway.first.click()
    screen.goto(f"{stack.base_url}/history/?q=needs-a-bucket")
    expect(screen.get_by_role("row", name=re.compile("412"))).to_be_visible(timeout=60_000)
    screen.get_by_role("link", name=re.compile(r"^Run \d+")).first.click()
    expect(screen.locator("#run-head")).to_contain_text("Log backup is off", ignore_case=True)

    # The fix that the run's page offers.
    screen.locator("#run-head").get_by_role(
        "link", name=re.compile("log backup", re.I)
    ).first.click()
    screen.wait_for_url("**/log-backup/")
    if screen.get_by_text("Not read yet").count():
        screen.get_by_role("button", name="Read again").click()
    screen.get_by_label("OBS bucket").fill("css-logs")
    screen.get_by_label("Path in the bucket").fill("css/log")
    screen.get_by_label("IAM agency").fill("css_obs_agency")
    screen.get_by_role("button", name="Switch log backup on").click()
    expect(screen.locator(".notice")).to_contain_text("Log backup of needs-a-bucket is on")

    # The backup, to its proof.
    screen.locator("#back-up-now").click()
    screen.wait_for_url(re.compile(r"/runs/\d+/"))
    expect(screen.locator("#run-head .badge").first).to_have_text("Verified", timeout=60_000)
    expect(screen.locator("#run-record")).to_contain_text("css-logs/css/log")

    # And on record.
    screen.goto(f"{stack.base_url}/audit/")
    expect(screen.locator("main")).to_contain_text("Log backup switched on")
