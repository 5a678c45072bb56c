"""A security key in Chromium, with the virtual authenticator that its DevTools protocol has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from playwright.sync_api import Browser, Page, expect

from dashboard.accounts.models import User

LISTEN = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(event.violatedDirective + " " + event.blockedURI);
});
"""


class Keyboard:
    """A window with a USB port: keys are plugged in and pulled out."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._cdp = page.context.new_cdp_session(page)
        self._cdp.send("WebAuthn.enable")

    def plug_in(self) -> str:
        options = {
            "protocol": "ctap2",
            "transport": "usb",
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        made = self._cdp.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        return str(made["authenticatorId"])

    def pull_out(self, key: str) -> None:
        self._cdp.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": key})


@pytest.fixture
def window(chromium: Browser, anna: User, live_server: Any) -> Iterator[Page]:
    """localhost and no address: browsers give a security key to host names only."""
    context = chromium.new_context(base_url=live_server.url.replace("127.0.0.1", "localhost"))
    context.add_init_script(LISTEN)
    page = context.new_page()
    page.set_default_timeout(10_000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    assert page.evaluate("window.violations") == []
    context.close()
    assert problems == []


def password(page: Page) -> None:
    page.goto("/sign-in/")
    page.get_by_label("User name").fill("anna")
    page.get_by_label("Password").fill("a-password")
    page.get_by_role("button", name="Sign in").click()


def test_a_key_is_added_signs_in_and_is_removed(window: Page) -> None:
    keyboard = Keyboard(window)
    blue = keyboard.plug_in()
    password(window)
    window.goto("/account/second-factor/keys/add/")
    window.get_by_label("Name").fill("blue key")
    window.get_by_role("button", name="Add").click()
    window.get_by_role("button", name="Show the codes").click()
    assert len(window.locator("#codes").inner_text().split()) == 10
    window.get_by_role("link", name="I have saved the codes").click()
    expect(window.get_by_text("blue key")).to_be_visible()

    window.locator("summary").last.click()
    window.get_by_role("button", name="Sign out").click()
    password(window)
    expect(window.get_by_role("heading", name="Two-factor authentication")).to_be_visible()
    keyboard.pull_out(blue)
    other = keyboard.plug_in()  # somebody else's
    window.get_by_role("button", name="Use a security key").click()
    expect(window.get_by_text("No key was used")).to_be_visible(timeout=30_000)
    keyboard.pull_out(other)

    window.get_by_label("Code").fill(
        Authenticator.objects.get(type="recovery_codes").wrap().get_unused_codes()[0]
    )
    window.get_by_role("button", name="Sign in", exact=True).click()
    expect(window.get_by_role("heading", name="Two-factor authentication")).not_to_be_visible()
    window.goto("/account/second-factor/")
    window.get_by_role("link", name="Remove blue key").click()
    window.get_by_role("button", name="Remove").click()
    expect(window.get_by_role("link", name="Add a key")).to_be_visible()
    assert not Authenticator.objects.exists()


def test_the_key_that_was_added_opens_the_door(window: Page) -> None:
    Keyboard(window).plug_in()
    password(window)
    window.goto("/account/second-factor/keys/add/")
    window.get_by_role("button", name="Add").click()
    expect(window.get_by_role("button", name="Show the codes")).to_be_visible()
    window.goto("/account/second-factor/keys/add/")
    window.get_by_role("button", name="Add").click()
    expect(window.get_by_text("This key is already registered.")).to_be_visible()
    window.context.clear_cookies()
    password(window)
    window.get_by_role("button", name="Use a security key").click()
    expect(window.get_by_role("heading", name="Two-factor authentication")).not_to_be_visible()
    window.goto("/account/")
    expect(window.get_by_role("heading", name="Account")).to_be_visible()


def test_without_a_script_the_page_says_that_keys_need_one(
    chromium: Browser, anna: User, live_server: Any
) -> None:
    context = chromium.new_context(java_script_enabled=False, base_url=live_server.url)
    page = context.new_page()
    password(page)
    page.goto("/account/second-factor/keys/add/")
    expect(page.get_by_text("Security keys need JavaScript.")).to_be_visible()
    expect(page.get_by_role("button", name="Add")).to_be_disabled()
    context.close()
