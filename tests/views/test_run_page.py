"""The page of a run, its JSON and its cancel button."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backups.choices import ACTIVE, Outcome, Readiness, RunState
from backups.css_api.types import BodyKind
from backups.guide import explain_run
from backups.models import ApiCall, BackupRun, RunEvent
from tests.views.conftest import MakeRun

LINE_KEYS = [
    "cluster_id",
    "cluster",
    "run_id",
    "state",
    "outcome",
    "http_status",
    "error_code",
    "message",
    "request_id",
]


def call(run: BackupRun, **columns: object) -> ApiCall:
    values = {
        "run": run,
        "attempt": 1,
        "purpose": "collect",
        "method": "POST",
        "path": "/v1.0/p/clusters/c/logs/collect",
        "started_at": timezone.now(),
    }
    return ApiCall.objects.create(**values | columns)


def html(client: Client, run: BackupRun) -> str:
    response = client.get(run.get_absolute_url())
    assert response.status_code == 200
    return response.content.decode()


@pytest.mark.parametrize("state", sorted(RunState))
@pytest.mark.parametrize("outcome", sorted(Outcome))
def test_every_state_and_outcome_is_explained(
    web: Client, make_run: MakeRun, state: RunState, outcome: Outcome
) -> None:
    run = make_run(state=state, outcome=outcome)
    words = explain_run(state, outcome)
    text = html(web, run).replace("&#x27;", "'")
    assert str(words.meaning) in text
    assert str(words.actor_label) in text
    assert str(words.next_step) in text
    assert str(run.state_label) in text
    unanswered = state is RunState.UNVERIFIED and outcome != Outcome.ACCEPTED
    assert unanswered == (run.state_label != state.label), "it was accepted by nobody"


def test_facts_timeline_and_calls_are_all_there(web: Client, make_run: MakeRun) -> None:
    run = make_run(
        state="rejected",
        outcome="precondition_failed",
        http_status=412,
        error_code="CSS.0004",
        message="Log backup is off.",
        request_id="req-1",
        reason="before upgrade",
        source_ip="10.1.2.3",
        sent_at=timezone.now(),
        finished_at=timezone.now(),
    )
    RunEvent.objects.create(run=run, from_state="sending", to_state="rejected", note="the note")
    call(
        run,
        finished_at=timezone.now(),
        status=412,
        error_code="CSS.0004",
        request_id="req-1",
        duration_ms=182,
        excerpt='{"errCode": "CSS.0004"}',
        body_kind="json_object",
    )
    call(run, transport_error="connection_refused", sent=False, finished_at=timezone.now())
    text = html(web, run)
    for part in (
        "before upgrade",
        "10.1.2.3",
        run.cluster_cloud_id,
        run.project_id_in_cloud,
        "the note",
        "/v1.0/p/clusters/c/logs/collect",
        "HTTP 412",
        "req-1",
        "182 ms",
        "{&quot;errCode&quot;: &quot;CSS.0004&quot;}",
        "connection refused",
        "not sent",
        "None: the cloud rejected the request",
        "Back up again",
    ):
        assert part in text


def test_the_clouds_record_is_shown_once_it_is_matched(web: Client, make_run: MakeRun) -> None:
    run = make_run(
        state="failed",
        outcome="accepted",
        job_id="job-77",
        job_type="Manual",
        log_path="bucket/css/log",
        failed_message="access denied <for> agency",
        job_created_at=timezone.now(),
    )
    text = html(web, run)
    for part in ("job-77", "Manual", "bucket/css/log", "access denied &lt;for&gt; agency"):
        assert part in text


def test_a_conflict_names_its_holder_and_links_to_it(web: Client, make_run: MakeRun) -> None:
    other = make_run(state="succeeded")
    run = make_run(
        other.cluster,
        state="rejected",
        outcome="conflict",
        conflict_holder="Run of ben holds the cluster.",
        conflict_run=other,
    )
    text = html(web, run)
    assert "Run of ben holds the cluster." in text
    assert f'href="/runs/{other.pk}/"' in text


@pytest.mark.parametrize("state", sorted(ACTIVE))
def test_cancel_is_offered_while_queued_and_explained_after(
    web: Client, make_run: MakeRun, state: RunState
) -> None:
    text = html(web, make_run(state=state))
    assert (">Cancel<" in text) == (state is RunState.QUEUED)
    assert ("no call to stop it" in text) == (state is not RunState.QUEUED)
    assert (
        "Back up again"
        not in text.split("Action by")[1].split("</section>")[0].split('class="actions"')[1]
    )


def test_a_run_of_a_cluster_that_has_gone_is_not_offered_again(
    web: Client, make_run: MakeRun
) -> None:
    run = make_run(state="failed")
    run.cluster.gone_at = timezone.now()
    run.cluster.save()
    text = html(web, run)
    assert "there are no logs left to back up" in text
    assert 'id="again"' not in text


def test_hostile_and_huge_texts_stay_text_and_are_cut(web: Client, make_run: MakeRun) -> None:
    run = make_run(
        state="rejected",
        outcome="malformed",
        message="<script>alert(1)</script>" + "x" * 2_000_000,
        reason="</bdi><b>\u202erotated",
        requested_by_name="<i>ben</i>",
    )
    call(run, status=200, excerpt="</pre><script>alert(2)</script>", path="/<u>")
    text = html(web, run)
    assert len(text) < 60_000
    assert "more characters: see the JSON" in text
    for tag in ("<script>alert", "<b>", "<i>ben", "<u>"):
        assert tag not in text


def test_the_page_costs_the_same_for_any_number_of_events_and_calls(
    web: Client, make_run: MakeRun
) -> None:
    run = make_run(state="unknown", conflict_run=make_run(state="failed"))
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as captured:
            html(web, run)
        counts.append(len(captured))
        for _ in range(40):
            call(run)
            RunEvent.objects.create(run=run, to_state="unknown", from_state="unknown")
    assert counts[0] == counts[1] <= 10


def test_the_json_has_the_promised_keys_in_their_order(web: Client, make_run: MakeRun) -> None:
    run = make_run(
        state="succeeded",
        outcome="accepted",
        http_status=200,
        finished_at=timezone.now() + timedelta(seconds=3),
        message="ü \u2028",
    )
    call(run, status=200, finished_at=timezone.now())
    response = web.get(f"/runs/{run.pk}.json")
    document = json.loads(response.content)
    assert list(document)[:9] == LINE_KEYS
    assert document["cluster_id"] == run.cluster_cloud_id
    assert document["run_id"] == run.pk
    assert document["outcome"] == "accepted"
    assert document["message"] == run.message
    assert document["requested_at"].endswith("Z")
    assert len(document["events"]) == len(document["api_calls"]) == 1
    assert document["explanation"]["actor"] == "nobody"
    assert "attachment" in response.headers["Content-Disposition"]


@pytest.mark.parametrize("path", ["/runs/7/", "/runs/7.json", "/runs/7/live/"])
def test_a_run_that_does_not_exist_is_a_404(web: Client, path: str) -> None:
    assert web.get(path).status_code == 404
    assert web.get(path.replace("7", "9" * 30)).status_code == 404


def test_cancelling_a_queued_run_ends_it(web: Client, make_run: MakeRun) -> None:
    run = make_run()
    response = web.post(f"/runs/{run.pk}/cancel/", follow=True)
    run.refresh_from_db()
    assert run.state == "cancelled"
    assert "was cancelled before it was sent" in response.content.decode()
    assert run.events.latest("pk").actor == "anna"


def test_cancelling_from_the_table_answers_with_the_row(web: Client, make_run: MakeRun) -> None:
    run = make_run()
    response = web.post(f"/runs/{run.pk}/cancel/", headers={"HX-Request": "true"})
    text = response.content.decode()
    assert text.lstrip().startswith(f'<tr id="cluster-{run.cluster_id}"')
    assert "Cancelled" in text
    assert "Back up logs" in text


@pytest.mark.parametrize(
    ("state", "why"), [("sending", "no call to stop it"), ("failed", "already ended")]
)
def test_a_cancel_that_comes_too_late_says_why(
    web: Client, make_run: MakeRun, state: str, why: str
) -> None:
    run = make_run(state=state)
    assert why in web.post(f"/runs/{run.pk}/cancel/", follow=True).content.decode()
    run.refresh_from_db()
    assert run.state == state


def test_nothing_is_cancelled_by_a_get_or_by_a_visitor(client: Client, make_run: MakeRun) -> None:
    run = make_run()
    assert client.post(f"/runs/{run.pk}/cancel/").status_code == 302
    run.refresh_from_db()
    assert run.state == "queued"


def test_cancel_needs_a_post(web: Client, make_run: MakeRun) -> None:
    assert web.get(f"/runs/{make_run().pk}/cancel/").status_code == 405


def test_the_fix_is_the_primary_button_and_backing_up_again_is_not(
    web: Client, make_run: MakeRun
) -> None:
    outcome = Outcome.PRECONDITION_FAILED
    run = make_run(state=RunState.REJECTED, outcome=outcome, error_code="CSS.0004")
    again = re.compile(r'id="again"\s+class="([^"]*)"')
    assert 'id="fix"' not in html(web, run)
    assert again.findall(html(web, run)) == ["button primary"]
    run.cluster.readiness = Readiness.BACKUP_OFF
    run.cluster.save()
    text = html(web, run)
    link = re.search(r'<a class="button primary" id="fix" href="([^"]*)">([^<]*)</a>', text)
    assert link
    assert link.groups() == (f"/clusters/{run.cluster_id}/log-backup/", "Enable log backup")
    assert again.findall(text) == ["button"]
    assert text.count("Enable log backup</a>") == 1


def test_repeated_readings_are_one_line_and_each_stays_reachable(
    web: Client, make_run: MakeRun
) -> None:
    run = make_run(state=RunState.UNKNOWN, outcome=Outcome.UNANSWERED, checks=9)
    call(run, transport_error="read_timeout")
    busy = [call(run, purpose="records", status=503, excerpt=f"busy {n}") for n in range(5)]
    found = [call(run, purpose="records", status=200, excerpt=f"record {n}") for n in range(3)]
    text = html(web, run)
    assert "Read the cloud&#x27;s records: 5 times, answered alike" in text
    assert text.count("answered alike") == 1, "each successful reading said something new"
    for reading in (*busy, *found):
        assert f'id="call-{reading.pk}"' in text
    assert "1 more reading of the records said nothing new and is not listed." in text


def test_internal_names_of_bodies_are_not_shown(web: Client, make_run: MakeRun) -> None:
    run = make_run(state=RunState.REJECTED, outcome=Outcome.CONFLICT)
    for kind in BodyKind:
        call(run, status=409, body_kind=kind, body_size=40, excerpt="{}")
    text = html(web, run)
    assert not [kind for kind in BodyKind if "_" in kind and kind in text]
    assert "JSON, 40" in text


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (
            {"outcome": Outcome.SERVER_ERROR, "http_status": 504},
            "The request was answered with HTTP 504, but the cloud had started the job.",
        ),
        (
            {"outcome": Outcome.UNANSWERED},
            "The request was not answered, but the cloud&#x27;s records show the job it started.",
        ),
        ({"outcome": Outcome.ACCEPTED, "http_status": 200}, ""),
    ],
)
def test_a_verified_run_says_why_its_answer_was_no_acceptance(
    web: Client, make_run: MakeRun, columns: dict[str, object], sentence: str
) -> None:
    text = html(web, make_run(state=RunState.SUCCEEDED, **columns))
    assert re.findall(r'<p id="despite">([^<]*)</p>', text) == ([sentence] if sentence else [])
