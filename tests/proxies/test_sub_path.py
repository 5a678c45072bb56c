"""Below a path of a host that others use too, behind real proxies: nothing leads out of it."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright

from dashboard.tokens.models import Scope
from tests.browser.test_security_key import Keyboard
from tests.browser.watch import Watch
from tests.chromium import ARGUMENTS, CHROMIUM
from tests.instances import ROOT, Instance
from tests.proxies.conftest import PREFIX, Browser, Front, direct, missing
from tests.sign_in.provider import Provider

pytestmark = pytest.mark.e2e
# what an attribute of a page leads to
LEADS = re.compile(
    r"""\b(?:href|src|action|formaction|hx-(?:get|post|put|delete)|data-[a-z-]*(?:url|frame|sign-in)|"""
    r"""content="\d+;\ url)="?([^"'\s>]+)""",
    re.VERBOSE,
)
PAGES = [
    *("/", "/clusters/", "/history/", "/protection/", "/audit/", "/settings/"),
    *("/settings/connections/", "/settings/access/", "/settings/retention/", "/history/exports/"),
    *("/account/", "/account/preferences/", "/account/tokens/", "/account/second-factor/"),
    *("/clusters/1/", "/clusters/1/log-backup/", "/settings/access/accounts/", "/no-such-page/"),
]


def admin(front: Front, instance: Instance) -> Browser:
    browser = front.browser()
    browser.sign_in("admin", instance.password)
    return browser


def led_to(page: str) -> Iterator[str]:
    for found in LEADS.findall(page):
        where = html.unescape(found)
        if not where.startswith(("#", "data:", "mailto:", "?")):
            yield where


def test_no_page_leads_out_of_the_path(front: Front, instance: Instance) -> None:
    browser = admin(front, instance)
    static, wrong = set(), []
    for path in PAGES:
        answer = browser.get(path)
        if path != "/no-such-page/" and answer.status_code != 200:
            wrong.append(f"{path}: {answer.status_code}")
        found = list(led_to(answer.text))
        assert len(found) > 3, path
        for where in found:
            if where.startswith("/") and not f"{where}/".startswith(f"{PREFIX}/"):
                wrong.append(f"{path} leads to {where}")
            if "/static/" in where:
                static.add(where)
    assert not wrong, "\n".join(wrong)
    assert len(static) > 5
    for where in static:
        answer = browser.request("GET", f"{front.origin}{where}")
        assert (answer.status_code, answer.content != b"") == (200, True), where


def test_the_documents_curl_signs_in_over_https(
    front: Front, instance: Instance, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    section = page.partition("## Checking with curl")[2]
    script = section.partition("```sh\n")[2].partition("```")[0]
    script = script.replace("http://127.0.0.1:8000", front.url)
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "admin_password").write_text(instance.password)
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=tmp_path,
        env={**os.environ, "CURL_CA_BUNDLE": str(front.certificate)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert '"status": "ok"' in done.stdout, done.stdout
    assert "302\n" in done.stdout, done.stdout
    # signed in: no page that asks to sign in, whether there is a run or not
    assert "current-password" not in done.stdout.partition("302\n")[2], done.stdout


def test_every_cookie_stays_below_the_path(front: Front, instance: Instance) -> None:
    browser = admin(front, instance)
    browser.post("/settings/display/", data={"rows": "50"})
    browser.post("/account/preferences/", data={"language": "", "time_zone": ""})
    assert {cookie.path for cookie in browser.cookies} == {PREFIX}
    names = {cookie.name for cookie in browser.cookies}
    assert {"sessionid_css-logs", "csrftoken_css-logs"} <= names
    assert all(cookie.secure for cookie in browser.cookies if cookie.name != "messages")
    # with and without the slash it is one place: what the admin's "View site" leads to
    answer = browser.request("GET", front.url)
    assert (answer.status_code, "/sign-in/" in answer.url) == (200, False)


def test_redirects_lead_below_the_path(front: Front) -> None:
    browser = front.browser()
    answer = browser.get("/history/?state=failed", allow_redirects=False)
    where = urlsplit(answer.headers["Location"])
    assert where.path == f"{PREFIX}/sign-in/"
    assert parse_qs(where.query)["next"] == [f"{PREFIX}/history/?state=failed"]
    assert answer.headers["Strict-Transport-Security"]
    # only what is asked below the path is ours
    assert browser.request("GET", f"{front.origin}/clusters/").status_code == 404


def test_probes_are_answered_with_and_without_the_path(front: Front, instance: Instance) -> None:
    backend = instance.url.removesuffix(PREFIX)
    instance.wait_for_worker()
    for path in ("/healthz", "/readyz"):
        assert front.browser().get(path).status_code == 200
        assert direct(f"{backend}{path}").status_code == 200
        assert direct(f"{backend}{PREFIX}{path}").status_code == 200


def test_no_header_of_a_stranger_moves_the_path(front: Front) -> None:
    elsewhere = {"SCRIPT_NAME": "/elsewhere", "X-Script-Name": "/elsewhere"}
    elsewhere |= {"X-Forwarded-Prefix": "/elsewhere", "X-Forwarded-Host": "evil.example"}
    answer = front.browser().get("/history/", headers=elsewhere, allow_redirects=False)
    assert urlsplit(answer.headers["Location"]).path == f"{PREFIX}/sign-in/"
    assert urlsplit(answer.headers["Location"]).netloc in ("", urlsplit(front.origin).netloc)


def test_the_api_names_addresses_below_the_path(front: Front, instance: Instance) -> None:
    browser = admin(front, instance)
    form = {"name": f"by {front.origin}", "scope": Scope.RUN, "days": "7"}
    page = browser.post("/account/tokens/new/", data=form).text
    assert f"{front.url}/api/v1/token" in page
    (token,) = re.findall(r"csslb_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", page)
    program = front.browser()
    program.headers["Authorization"] = f"Bearer {token}"
    listed = program.get("/api/v1/clusters?limit=1").json()
    assert listed["next"].startswith(f"{PREFIX}/api/v1/clusters?")
    second = program.request("GET", front.origin + listed["next"]).json()
    assert [each["id"] for each in second["items"]] != [each["id"] for each in listed["items"]]
    description = program.get("/api/v1/openapi.json").json()
    assert {path.startswith(f"{PREFIX}/api/v1/") for path in description["paths"]} == {True}
    cluster = listed["items"][0]["id"]
    made = program.post(f"/api/v1/clusters/{cluster}/backups", json={})
    assert made.status_code in (200, 202)
    assert made.headers["Location"].startswith(f"{PREFIX}/api/v1/runs/")


def test_the_identity_provider_leads_back_below_the_path(front: Front, provider: Provider) -> None:
    provider.user = {"sub": "s-2", "preferred_username": "olga", "groups": []}
    browser = front.browser()
    browser.get("/sign-in/")
    page = browser.post("/sign-in/provider/")
    found = re.search(r'href="([^"]+)" rel="noreferrer"', page.text)
    assert found, page.text
    address = html.unescape(found[1])
    (back,) = parse_qs(urlsplit(address).query)["redirect_uri"]
    assert back == f"{front.url}/sign-in/provider/callback/"
    arrived = browser.request("GET", address)
    assert arrived.status_code == 200
    assert arrived.url == f"{front.url}/"
    assert "olga" in arrived.text


def test_a_person_at_a_browser(front: Front, instance: Instance) -> None:
    missing(CHROMIUM)
    watch, asked = Watch(), set()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = watch.follow(browser.new_context(ignore_https_errors=True))
        context.on("request", lambda request: asked.add(request.url))
        page = context.new_page()
        page.set_default_timeout(20_000)
        try:
            _journey(page, front, instance)
            cookies = context.cookies()
        finally:
            browser.close()
    watch.verify()
    assert {cookie["path"].rstrip("/") for cookie in cookies} == {PREFIX}
    assert "tz" in {cookie["name"] for cookie in cookies}
    outside = {url for url in asked if not url.startswith(f"{front.url}/")}
    assert outside <= {front.url}


def _journey(page, front: Front, instance: Instance) -> None:  # type: ignore[no-untyped-def]
    page.goto(f"{front.url}/history/")
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill(instance.password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(f"{front.url}/history/*")  # where it was asked for

    # a request, followed by the page itself to its end
    page.goto(f"{front.url}/clusters/?q=orders-prod")
    row = page.locator("tbody tr", has_text="orders-prod")
    with page.expect_request(re.compile(re.escape(f"{front.url}/clusters/live/"))):
        row.get_by_role("button", name=re.compile("^Back up logs")).click()
    expect(page.locator("[data-live-active]")).to_have_count(0, timeout=60_000)
    expect(row).to_contain_text("Verified")
    page.get_by_role("link", name="History", exact=True).first.click()
    expect(page.get_by_role("link", name="History", exact=True).first).to_have_attribute(
        "aria-current", "page"
    )
    expect(page.get_by_role("link", name="Home", exact=True).first).not_to_have_attribute(
        "aria-current", re.compile(".")
    )
    page.get_by_text("Export", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="JSON Lines").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert any(json.loads(line)["cluster"] == "orders-prod" for line in lines)

    # a security key, made and used
    Keyboard(page).plug_in()
    page.goto(f"{front.url}/account/second-factor/keys/add/")
    page.get_by_label("Name").fill("blue key")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("button", name="Show the codes")).to_be_visible()
    page.context.clear_cookies()
    page.goto(f"{front.url}/sign-in/")
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill(instance.password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("button", name="Use a security key").click()
    page.wait_for_url(f"{front.url}/")
    page.goto(f"{front.url}/account/second-factor/")
    page.get_by_role("link", name="Remove blue key").click()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("link", name="Add a key")).to_be_visible()

    page.locator("summary").last.click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(re.compile(re.escape(f"{front.url}/sign-in/")))
