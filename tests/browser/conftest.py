"""A real browser against a real server; the domain's rows are moved by the tests themselves."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from backups.models import Cluster, Project
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from tests.browser.watch import Watch
from tests.browser.world import World, a_world, signed_in
from tests.chromium import ARGUMENTS, CHROMIUM
from tests.grants import give


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    # where it counts, a missing browser is a failure
    missing = shutil.which(CHROMIUM) is None and not os.environ.get("CI")
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if missing:
                item.add_marker(pytest.mark.skip(reason=f"no browser: {CHROMIUM} is missing"))


@pytest.fixture(scope="module")
def chromium(django_db_setup: None) -> Iterator[Browser]:
    """Chromium, for one module: while Playwright runs, its event loop is in this thread, where
    Django would refuse the ORM; tests elsewhere must find neither."""
    with pytest.MonkeyPatch.context() as environment, sync_playwright() as playwright:
        environment.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def plain_static_files(settings: Any) -> None:
    """No manifest: the tests need no collectstatic."""
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


@pytest.fixture
def anna(chromium: Browser, transactional_db: None) -> User:
    """An operator of all projects."""
    return give(User.objects.create_user("anna", password="a-password"), Role.OPERATOR)


@pytest.fixture
def project(chromium: Browser, transactional_db: None) -> Project:
    return Project.objects.create(cloud="otc", region="eu-de", project_id="p", name="shop")


@pytest.fixture
def make_cluster(project: Project) -> Callable[[str], Cluster]:
    def make(name: str) -> Cluster:
        return Cluster.objects.create(
            project=project,
            cluster_id=f"id-{name}"[:64],
            name=name,
            engine="OpenSearch",
            status="200",
        )

    return make


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Fails the test where a browser complained; `watch.expect` says what the test provokes."""
    watch = Watch()
    yield watch
    watch.verify()


def sign_in(context: BrowserContext, server: str) -> Page:
    """Sign anna in on the sign-in page, and go to the clusters."""
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.goto(f"{server}/sign-in/")
    page.get_by_label("User name").fill("anna")
    page.get_by_label("Password").fill("a-password")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{server}/")
    page.goto(f"{server}/clusters/")
    return page


def seat(context: BrowserContext, server: str, user: User) -> Page:
    """Open the clusters as somebody who has signed in before."""
    context.add_cookies(signed_in(server, user))
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.goto(f"{server}/clusters/")
    return page


@pytest.fixture
def screen(chromium: Browser, anna: User, live_server: Any, watch: Watch) -> Iterator[Page]:
    """A window in which anna has signed in."""
    context = watch.follow(chromium.new_context(viewport={"width": 1440, "height": 900}))
    yield seat(context, live_server.url, anna)
    context.close()


@pytest.fixture
def plain_screen(chromium: Browser, anna: User, live_server: Any, watch: Watch) -> Iterator[Page]:
    """The same without JavaScript."""
    context = watch.follow(chromium.new_context(java_script_enabled=False))
    yield seat(context, live_server.url, anna)
    context.close()


@pytest.fixture
def world(
    chromium: Browser,
    live_server: Any,
    transactional_db: None,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> Iterator[World]:
    """A data set to look at; its name is the param."""
    with a_world(request.param, live_server.url, tmp_path) as made:
        yield made
