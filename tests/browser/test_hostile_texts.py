"""Scripts in every text that comes from outside stay texts, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page

from backups.choices import Outcome, RunState, Trigger
from backups.models import ApiCall, BackupRun, Cluster, ClusterTag, Project, RunEvent, SavedView
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.audit.trail import Action, Actor, record
from tests.browser.conftest import sign_in
from tests.grants import give

PAYLOADS = [
    "<script>window.planted = 1; alert(1)</script>",
    "\"><img src=x onerror='window.planted=1;alert(1)'>",
    "'-alert(1)-'\"onmouseover=\"alert(1)",
    "</title></textarea></style><svg/onload=alert(1)>",
    "javascript:alert(1)//<a href=javascript:alert(1)>x</a>",
    "{{constructor.constructor('alert(1)')()}}",
    '<div hx-get="/sign-out/" hx-trigger="load" hx-on:load="alert(1)">',
    "\u202e<iframe srcdoc='<script>parent.planted=1</script>'>",
]
# what a text would have become
ALIVE = (
    "main script, main iframe, main [onerror], main [onload], main [onmouseover], "
    "a[href^=javascript], main [hx-trigger=load]:not(#history-count)"
)
LISTEN = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(event.violatedDirective + " " + event.blockedURI);
});
"""


@pytest.fixture
def hostile(project: Project, anna: User) -> list[str]:
    """Every text that somebody outside can choose, with a script in it; the pages to look at."""
    give(anna, Role.AUDITOR)
    give(anna, Role.ADMIN)
    Project.objects.filter(pk=project.pk).update(name=PAYLOADS[0])
    project.refresh_from_db()
    pages = ["/", "/clusters/?presence=all", "/protection/", "/history/?window=all", "/audit/",
             "/settings/connections/", "/settings/access/", "/history/exports/"]  # fmt: skip
    for number, text in enumerate(PAYLOADS):
        cluster = Cluster.objects.create(
            project=project,
            cluster_id=f"id-{number}",
            name=text,
            engine=text[:30],
            version=text[:30],
            status="200",
            readiness="unknown",
            readiness_detail=text,
            check_error=text,
            checked_at=timezone.now(),
        )
        for origin in ("cloud", "own"):
            ClusterTag.objects.create(
                cluster=cluster, origin=origin, key=text[:30], value=text[:43]
            )
        for state in (RunState.REJECTED, RunState.FAILED, RunState.QUEUED):
            run = BackupRun.objects.create(
                cluster=cluster, project=project, cluster_cloud_id=cluster.cluster_id,
                cluster_name=text, project_name=text, cloud=text[:60], region=text[:60],
                requested_by_name=text, reason=text, trigger=Trigger.BUTTON, state=state,
                outcome=Outcome.CONFLICT, http_status=409, error_code=text[:60], message=text,
                failed_message=text, note=text, request_id=text[:120], conflict_holder=text,
                log_path=text, job_id=f"{number}{state}{text}"[:64],
                record_id=f"{number}{state}{text}"[:60],
                job_type=text[:20], requested_at=timezone.now(),
            )  # fmt: skip
            RunEvent.objects.create(run=run, to_state=state, note=text, actor=text)
            ApiCall.objects.create(
                run=run, attempt=1, purpose="collect", method="POST", path=f"/{text}",
                started_at=timezone.now(), status=409, message=text, excerpt=text,
                request_id=text[:120], error_code=text[:60],
            )  # fmt: skip
            pages.append(f"/runs/{run.pk}/")
        pages.append(f"/clusters/{cluster.pk}/")
        SavedView.objects.create(owner=anna, name=f"{number}{text}"[:80], query="window=all")
        event = record(
            Action.CLUSTER_LABELLED,
            actor=Actor(text, ip="192.0.2.1", user_agent=text, request_id=text[:60]),
            target=cluster,
            project=project,
            reason=text,
            before={text[:60]: text},
            after={text[:60]: [text]},
            details={"text": text},
        )
        pages.append(event.get_absolute_url())
    return pages


@pytest.fixture
def watched(chromium: Browser, anna: User, live_server: Any) -> Iterator[tuple[Page, list[str]]]:
    """A window that writes down dialogs, errors and blocked scripts; its user agent is hostile."""
    context = chromium.new_context(user_agent=PAYLOADS[0])
    context.add_init_script(LISTEN)
    page = sign_in(context, live_server.url)
    seen: list[str] = []
    page.on("dialog", lambda dialog: (seen.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on("pageerror", lambda error: seen.append(f"error {error}"))
    yield page, seen
    context.close()


def test_no_text_from_outside_becomes_a_script(
    hostile: list[str], watched: tuple[Page, list[str]], live_server: Any
) -> None:
    page, seen = watched
    shown = 0
    for path in hostile:
        answer = page.goto(f"{live_server.url}{path}")
        assert answer is not None
        assert answer.status == 200, path
        shown += page.content().count("alert(1)") > 0
        for hidden in page.locator("details").all():
            hidden.evaluate("element => { element.open = true }")
        page.mouse.move(300, 300)
        assert page.evaluate("window.planted === undefined"), path
        assert page.evaluate("window.violations") == [], path
        assert page.locator(ALIVE).count() == 0, path
        assert seen == [], path
    assert shown >= 40, "the texts are on the pages"


def test_the_policy_itself_would_stop_one(
    watched: tuple[Page, list[str]], live_server: Any
) -> None:
    """The second line of defence: a script that did get into a page does not run."""
    page, seen = watched
    page.goto(f"{live_server.url}/history/")
    page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.planted = 1";
          document.body.append(script);
          const image = document.createElement("img");
          image.setAttribute("onerror", "window.planted = 1");
          image.src = "/nowhere.png";
          document.body.append(image);
        }"""
    )
    page.wait_for_function("window.violations.length >= 2")
    assert page.evaluate("window.planted === undefined")
    assert all(text.startswith("script-src") for text in page.evaluate("window.violations"))
    assert seen == []
