"""A run's page as evidence: requests, audit trail, neighbours, paper and the same as JSON."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backups.models import ApiCall, BackupRun, Project, RunEvent
from backups.services.runs.requests import cancel_run, put_on_record
from backups.views import runs
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.audit.models import Action, AuditEvent
from dashboard.audit.trail import Actor
from tests import audit_retention
from tests.grants import give
from tests.views.conftest import MakeCluster, MakeRun
from tests.views.page_text import tight

URL = "https://css.eu-de.example.com/v1.0/p/clusters/c/logs/collect"
ANNA = Actor("anna", ip="10.1.2.3", user_agent="Firefox")


def html(client: Client, run: BackupRun) -> str:
    response = client.get(run.get_absolute_url())
    assert response.status_code == 200
    return response.content.decode()


def document(client: Client, run: BackupRun) -> dict[str, Any]:
    return dict(client.get(f"/runs/{run.pk}.json").json())


def call(run: BackupRun, **columns: Any) -> ApiCall:
    values = {
        "run": run,
        "attempt": 1,
        "purpose": "collect",
        "method": "POST",
        "path": "/v1.0/p/clusters/c/logs/collect",
        "started_at": timezone.now(),
    }
    return ApiCall.objects.create(**values | columns)


def auditor(client: Client, project: Project | None = None) -> Client:
    """A browser in which an auditor has signed in; the sign-in is an event, too."""
    user = give(User.objects.create_user("audrey"), Role.AUDITOR, project=project)
    client.force_login(user)
    return client


# --- requests ------------------------------------------------------------------------------------


def test_a_call_shows_its_request_with_address_headers_and_body(
    web: Client, make_run: MakeRun
) -> None:
    run = make_run()
    headers = {"X-Auth-Token": "[redacted]", "Accept": "application/json"}
    call(run, url=URL, request_headers=headers, request_body='{"a": "<b>"}')
    request = re.search(r"<pre[^>]*><bdi>(POST .*?)</bdi></pre>", html(web, run), re.S)
    assert request is not None
    assert request[1].splitlines() == [
        f"POST {URL}",
        "Accept: application/json",
        "X-Auth-Token: [redacted]",
        "",
        "{&quot;a&quot;: &quot;&lt;b&gt;&quot;}",
    ]


def test_a_call_that_was_kept_without_its_request_shows_none(
    web: Client, make_run: MakeRun
) -> None:
    run = make_run()
    call(run, status=200, body_kind="empty", finished_at=timezone.now())
    text = html(web, run)
    assert ">Request</summary>" not in text
    assert "The answer has no body" in text


# --- audit trail ---------------------------------------------------------------------------------


@pytest.fixture
def cancelled(make_run: MakeRun) -> BackupRun:
    """A run with three events of the audit trail."""
    run = make_run()
    put_on_record(Action.RUN_REQUESTED, run, ANNA, "before the upgrade")
    put_on_record(Action.RUN_JOINED, run, Actor("ben"), "<i>mine</i>")
    cancel_run(run, actor=ANNA)
    return run


def test_an_auditor_sees_each_event_with_its_place_in_the_chain(
    client: Client, cancelled: BackupRun
) -> None:
    text = html(auditor(client), cancelled)
    section = text.split('id="run-audit"')[1]
    events = list(AuditEvent.objects.about(cancelled).order_by("sequence"))
    assert [event.action for event in events] == ["run_requested", "run_joined", "run_cancelled"]
    for event in events:
        link = f'<a href="/audit/{event.sequence}/">Event {event.sequence}</a>'
        assert link in tight(section)
        assert re.search(rf">\s*{event.hash[:16]}\s+<button", section)
        assert event.action_label in section
    assert section.index("requested") < section.index("joined") < section.index("cancelled")
    assert "before the upgrade" in section
    assert "&lt;i&gt;mine&lt;/i&gt;" in section
    assert "10.1.2.3" in section


def test_the_events_of_another_run_are_not_among_them(
    client: Client, make_run: MakeRun, cancelled: BackupRun
) -> None:
    other = make_run()
    put_on_record(Action.RUN_REQUESTED, other, Actor("eve"), "another run")
    assert "another run" not in html(auditor(client), cancelled)
    assert "another run" in html(client, other)


def test_who_may_not_audit_sees_none_of_it(web: Client, cancelled: BackupRun) -> None:
    text = html(web, cancelled)
    assert "run-audit" not in text
    assert AuditEvent.objects.about(cancelled)[0].hash[:16] not in text
    live = web.get(f"/runs/{cancelled.pk}/live/").content.decode()
    assert 'id="run-head"' in live
    assert "run-audit" not in live


def test_auditing_another_project_shows_none_of_it(client: Client, cancelled: BackupRun) -> None:
    other = Project.objects.create(cloud="otc", region="eu-nl", project_id="q" * 32)
    auditor(client, project=other)
    give(User.objects.get(username="audrey"), Role.VIEWER)
    assert "run-audit" not in html(client, cancelled)
    assert document(client, cancelled)["audit_events"] is None
    give(User.objects.get(username="audrey"), Role.AUDITOR, project=cancelled.project)
    assert "run-audit" in html(client, cancelled)


def test_the_live_page_carries_new_events(client: Client, cancelled: BackupRun) -> None:
    live = auditor(client).get(f"/runs/{cancelled.pk}/live/").content.decode()
    assert re.search(r'id="run-audit"[^>]*\shx-swap-oob="true"', live)


def test_a_masked_event_names_nobody(client: Client, cancelled: BackupRun) -> None:
    audit_retention.mask(timezone.now(), actor=Actor.process("retention"))
    section = html(auditor(client), cancelled).split('id="run-audit"')[1].split("</section>")[0]
    assert section.count("masked") == 3
    assert "anna" not in section
    assert "10.1.2.3" not in section


def test_a_run_that_nobody_requested_here_says_so(client: Client, make_run: MakeRun) -> None:
    run = make_run(state="succeeded", trigger="cloud")
    assert "no event about this run: it was not requested here" in html(auditor(client), run)


def test_the_page_costs_the_same_for_any_number_of_events(
    client: Client, cancelled: BackupRun
) -> None:
    auditor(client)
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as captured:
            html(client, cancelled)
        counts.append(len(captured))
        for number in range(20):
            put_on_record(Action.RUN_JOINED, cancelled, Actor(f"user-{number}"))
    assert counts[0] == counts[1] <= 11


def test_more_events_than_fit_are_a_link_to_the_trail(
    client: Client, cancelled: BackupRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "MOST_EVENTS", 2)
    text = tight(html(auditor(client), cancelled))
    link = re.search(r'<a href="([^"]*)">All events about this run</a>', text)
    assert link is not None
    page = client.get(link[1]).content.decode()
    assert len(re.findall(r'<tr id="event-', page)) == 3
    assert len(document(client, cancelled)["audit_events"]) == 3, "the file has all"


def test_an_index_finds_the_events_of_a_run(cancelled: BackupRun) -> None:
    found = AuditEvent.objects.about(cancelled).order_by("at", "sequence")
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
    plan = found.explain()
    assert "audit_by_object" in plan
    assert "Sort" not in plan
    assert "TEMP B-TREE" not in plan


# --- JSON ----------------------------------------------------------------------------------------


def test_the_file_holds_what_the_page_shows(
    client: Client, make_run: MakeRun, make_cluster: MakeCluster
) -> None:
    cluster = make_cluster(readiness="backup_off", readiness_detail="Log backup is off.")
    before, run, after = (make_run(cluster, state="failed") for _ in range(3))
    call(run, url=URL, request_headers={"Accept": "x"}, request_body="{}")
    put_on_record(Action.RUN_REQUESTED, run, ANNA, "why")
    found = document(auditor(client), run)
    assert (found["run_before"], found["run_after"]) == (
        {"run_id": before.pk, "state": "failed"},
        {"run_id": after.pk, "state": "failed"},
    )
    assert found["cluster_now"]["readiness"] == "backup_off"
    assert found["settled_by_hand"] is False
    assert found["api_calls"][0]["url"] == URL
    assert found["api_calls"][0]["request_headers"] == {"Accept": "x"}
    assert found["api_calls"][0]["request_body"] == "{}"
    [event] = found["audit_events"]
    stored = AuditEvent.objects.about(run).get()
    assert (event["sequence"], event["hash"]) == (stored.sequence, stored.hash)
    assert (event["action"], event["actor"], event["reason"]) == ("run_requested", "anna", "why")
    assert event["ip"] == "10.1.2.3"


def test_the_file_has_the_times_apart(client: Client, make_run: MakeRun) -> None:
    now = timezone.now()
    second = timedelta(seconds=1)
    run = make_run(
        state="succeeded",
        requested_at=now,
        sent_at=now + 2 * second,
        answered_at=now + 3 * second,
        job_created_at=now + 3 * second,
        job_finished_at=now + 10 * second,
        finished_at=now + 11 * second,
    )
    call(run, purpose="collect", duration_ms=4)
    call(run, purpose="records")
    found = document(auditor(client), run)
    lasted = ("waited", "exchange", "job", "duration")
    assert [found[f"{name}_seconds"] for name in lasted] == [2, 0.004, 7, 11]
    assert found["records_read"] == 1


def test_a_file_for_who_may_not_audit_says_nothing_of_the_trail(
    web: Client, cancelled: BackupRun
) -> None:
    assert document(web, cancelled)["audit_events"] is None
    assert AuditEvent.objects.about(cancelled)[0].hash not in json.dumps(document(web, cancelled))


# --- by hand -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "words"),
    [("unverified", "Not verified, by hand"), ("not_started", "Not started, by hand")],
)
def test_pages_say_that_somebodys_word_ended_a_run(
    web: Client, make_run: MakeRun, state: str, words: str
) -> None:
    run = make_run(state=state, outcome="unanswered", settled_by_hand=True)
    note = "Settled by hand, the cloud started it: seen in the console"
    RunEvent.objects.create(run=run, from_state="unknown", to_state=state, actor="cleo", note=note)
    text = html(web, run)
    assert f"{words} ·" in text, "the title"
    assert re.search(r'<span class="label">\s*By hand, by <bdi>cleo</bdi>\s*</span>', text)
    assert note in text
    assert "Settled by hand: a user found" in text
    assert "the cloud accepted" not in text.lower()
    assert words in web.get("/history/?window=all").content.decode()
    cluster = web.get(f"/clusters/{run.cluster_id}/").content.decode()
    assert words in cluster
    assert document(web, run)["settled_by_hand"] is True


# --- paper ---------------------------------------------------------------------------------------


def test_paper_says_what_it_is_whose_and_from_when(web: Client, make_run: MakeRun) -> None:
    run = make_run()
    text = html(web, run)
    assert re.search(r'<link rel="stylesheet" href="[^"]*print[^"]*\.css" media="print">', text)
    printed = re.search(r'<p class="printed">(.*?)</p>', text, re.S)
    assert printed is not None
    assert f"http://testserver/runs/{run.pk}/" in printed[1]
    assert "<bdi>anna</bdi>" in printed[1]
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", printed[1])


def test_paper_names_the_filter_of_the_history(web: Client) -> None:
    text = web.get("/history/?window=all&user=<b>").content.decode()
    printed = re.search(r'<p class="printed">(.*?)</p>', text, re.S)
    assert printed is not None
    assert "/history/?window=all&amp;user=%3Cb%3E" in printed[1]
