"""What a page that keeps itself up to date promises to who reads it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from socketserver import ThreadingMixIn
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application
from playwright.sync_api import Browser, Page, Request, expect

from backups.choices import RunState
from backups.models import BackupRun, Cluster
from backups.services.runs.transitions import transition
from dashboard.accounts.models import User
from tests.browser.conftest import seat
from tests.browser.watch import Watch

MakeCluster = Callable[[str], Cluster]
# a second between two questions, and what a busy machine needs for the answer
AT_ONCE = 2_500
HIDE = """
hidden => {
  Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}
"""


@dataclass
class Questions:
    """The times at which a page asked what has changed."""

    at: list[float]

    @classmethod
    def of(cls, page: Page) -> Questions:
        asked = cls([])

        def note(request: Request) -> None:
            if urlsplit(request.url).path.endswith("/live/"):
                asked.at.append(time.monotonic())

        page.on("request", note)
        return asked


def start_run(cluster: Cluster) -> BackupRun:
    """A run under way: its page asks once a second."""
    return BackupRun.objects.create(
        cluster=cluster,
        project=cluster.project,
        cluster_name=cluster.name,
        requested_by_name="anna",
        trigger="button",
    )


@pytest.fixture
def runs(make_cluster: MakeCluster) -> list[BackupRun]:
    """More rows than a window shows, each with a run under way."""
    return [start_run(make_cluster(f"cluster-{number:02}")) for number in range(30)]


def test_a_change_is_shown_within_a_second_and_moves_nothing(
    screen: Page, runs: list[BackupRun]
) -> None:
    screen.reload()
    screen.evaluate("window.notReloaded = true")
    read, focused, changed = runs[20], runs[21], runs[:10]
    screen.locator(f"#cluster-{read.cluster_id}").scroll_into_view_if_needed()
    screen.locator(f"#cancel-{focused.cluster_id}").focus()
    screen.evaluate(
        "id => getSelection().selectAllChildren(document.querySelector(`#cluster-${id} .name`))",
        read.cluster_id,
    )
    place = "[scrollX, scrollY, getSelection().toString().trim(), document.activeElement.id]"
    before = screen.evaluate(place)
    assert before[1] > 0
    assert before[2:] == [read.cluster_name, f"cancel-{focused.cluster_id}"]

    for run in changed:
        assert transition(run, RunState.SENDING, actor="worker")
    expect(screen.locator(f"#cluster-{changed[-1].cluster_id} .last .badge")).to_have_text(
        "Sending", timeout=AT_ONCE
    )
    for run in changed:
        expect(screen.locator(f"#cluster-{run.cluster_id} .last .badge")).to_have_text("Sending")
    assert screen.evaluate(place) == before
    assert screen.evaluate("window.notReloaded")


def test_what_is_selected_in_a_row_is_not_taken_away_by_its_change(
    screen: Page, runs: list[BackupRun]
) -> None:
    screen.reload()
    read, other = runs[0], runs[1]
    screen.evaluate(
        "id => getSelection().selectAllChildren(document.querySelector(`#cluster-${id} .name`))",
        read.cluster_id,
    )
    for run in (read, other):
        assert transition(run, RunState.SENDING, actor="worker")
    expect(screen.locator(f"#cluster-{other.cluster_id} .last .badge")).to_have_text("Sending")
    assert screen.evaluate("getSelection().toString().trim()") == read.cluster_name
    screen.evaluate("getSelection().removeAllRanges()")
    expect(screen.locator(f"#cluster-{read.cluster_id} .last .badge")).to_have_text("Sending")


def test_a_page_that_nobody_sees_asks_nothing_and_is_right_when_it_is_seen_again(
    screen: Page, runs: list[BackupRun]
) -> None:
    screen.clock.install()
    asked = Questions.of(screen)
    screen.reload()
    with screen.expect_response("**/live/**"):
        pass
    screen.evaluate(HIDE, True)
    before = len(asked.at)
    screen.clock.run_for(120_000)
    assert len(asked.at) == before
    assert transition(runs[0], RunState.SENDING, actor="worker")
    screen.evaluate(HIDE, False)
    expect(screen.locator(f"#cluster-{runs[0].cluster_id} .last .badge")).to_have_text("Sending")


class Quiet(WSGIRequestHandler):
    """HTTP/1.0: no connection outlives the server."""

    def log_message(self, *args: object) -> None:
        pass


class Threaded(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Server:
    """The site on a port of its own: it can be stopped, and started again in the same place."""

    def __init__(self) -> None:
        self.port = 0
        self.start()

    def start(self) -> None:
        site = StaticFilesHandler(get_wsgi_application())
        self.served = make_server("localhost", self.port, site, Threaded, Quiet)
        self.port = self.served.server_port
        threading.Thread(target=self.served.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.served.shutdown()
        self.served.server_close()


@pytest.fixture
def server(anna: User, live_server: object) -> Iterator[Server]:
    started = Server()
    yield started
    started.stop()


def test_while_the_server_is_away_the_page_says_so_asks_ever_less_and_goes_on_when_it_is_back(
    chromium: Browser, watch: Watch, server: Server, anna: User, runs: list[BackupRun]
) -> None:
    context = watch.follow(chromium.new_context())
    page = seat(context, f"http://localhost:{server.port}", anna)
    watch.expect("ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET")
    watch.expect("console: htmx:(afterRequest|sendError)")
    with page.expect_response("**/live/**"):
        pass
    failed: list[float] = []
    page.on("requestfailed", lambda request: failed.append(time.monotonic()))
    server.stop()
    told = page.locator("#live-status")
    expect(told).to_contain_text("not reachable")
    while len(failed) < 3:
        with page.expect_event("requestfailed", timeout=20_000):
            pass
    assert failed[2] - failed[1] > 1.5 * (failed[1] - failed[0]) > 1.5
    expect(told).to_contain_text("not reachable")
    assert transition(runs[0], RunState.SENDING, actor="worker")
    server.start()
    shown = page.locator(f"#cluster-{runs[0].cluster_id} .last .badge")
    expect(shown).to_have_text("Sending", timeout=30_000)
    expect(told).to_be_empty()
    context.close()


def test_what_changes_is_said_to_who_does_not_see_it(screen: Page, runs: list[BackupRun]) -> None:
    screen.reload()
    region = screen.locator("#announce")
    expect(region).to_have_attribute("aria-live", "polite")
    assert transition(runs[0], RunState.SENDING, actor="worker")
    expect(region).to_contain_text(f"{runs[0].cluster_name}: Sending")
