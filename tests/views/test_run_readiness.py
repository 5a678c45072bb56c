"""A run that ended for a reason of the cluster's shows the cluster as it is now; imported jobs."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from backups.choices import Outcome, Readiness, RunState
from backups.guide import IMPORTED
from backups.models import BackupRun, Cluster
from tests.views.conftest import MakeCluster, MakeRun
from tests.visitor import text_of

R, S, O = Readiness, RunState, Outcome  # noqa: E741


def page(web: Client, run: BackupRun) -> str:
    answer = web.get(run.get_absolute_url())
    assert answer.status_code == 200
    return answer.content.decode()


def checked(cluster: Cluster, readiness: Readiness, detail: str, **columns: object) -> None:
    Cluster.objects.filter(pk=cluster.pk).update(
        readiness=readiness,
        readiness_detail=detail,
        **{"checked_at": timezone.now() - timedelta(minutes=7), **columns},
    )


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (O.PRECONDITION_FAILED, "CSS.0004"),
        (O.CONFLICT, "CSS.3004"),
        (O.INVALID_REQUEST, "CSS.0048"),
        (O.NOT_FOUND, "CSS.0015"),
        (O.FORBIDDEN, ""),
    ],
)
def test_a_refusal_for_the_clusters_state_shows_how_the_cluster_is_now(
    web: Client, make_run: MakeRun, outcome: Outcome, code: str
) -> None:
    run = make_run(state=S.REJECTED, outcome=outcome, error_code=code)
    checked(run.cluster, R.BACKUP_OFF, "Log backup is switched off for the cluster.")
    text = text_of(page(web, run))
    assert "The cluster now Log backup is off Log backup is switched off for the cluster." in text
    assert "checked 7 min ago" in text


@pytest.mark.parametrize(
    "columns",
    [
        {"state": S.REJECTED, "outcome": O.INVALID_REQUEST, "error_code": "CSS.0001"},
        {"state": S.REJECTED, "outcome": O.UNREACHABLE},
        {"state": S.SUCCEEDED, "outcome": O.ACCEPTED},
        {"state": S.QUEUED, "outcome": O.CONFLICT},
    ],
)
def test_any_other_run_does_not(web: Client, make_run: MakeRun, columns: dict[str, str]) -> None:
    assert "The cluster now" not in page(web, make_run(**columns))


def test_a_cluster_that_was_never_checked_says_so(web: Client, make_run: MakeRun) -> None:
    run = make_run(state=S.FAILED, outcome=O.ACCEPTED)
    assert "The cluster now Not known Never checked." in text_of(page(web, run))


def test_the_last_answer_is_shown_with_the_failure_of_the_last_check(
    web: Client, make_run: MakeRun
) -> None:
    run = make_run(state=S.FAILED, outcome=O.ACCEPTED)
    checked(run.cluster, R.READY, "Available.", check_error="HTTP 500: <b>no</b>")
    html = page(web, run)
    assert "Ready Available. checked 7 min ago The last check failed: HTTP 500:" in text_of(html)
    assert "<b>no</b>" not in html


@pytest.mark.parametrize("readiness", [R.BACKUP_OFF, R.STORAGE_MISSING])
def test_the_fix_is_a_link_to_the_log_backup_settings(
    web: Client, make_run: MakeRun, readiness: Readiness
) -> None:
    run = make_run(state=S.REJECTED, outcome=O.PRECONDITION_FAILED)
    checked(run.cluster, readiness, "why")
    assert f'href="{reverse("backups:log-settings", args=[run.cluster_id])}"' in page(web, run)
    checked(run.cluster, readiness, "why", gone_at=timezone.now())
    assert reverse("backups:log-settings", args=[run.cluster_id]) not in page(web, run)


def test_the_page_is_swapped_when_the_readiness_changes(web: Client, make_run: MakeRun) -> None:
    run = make_run(state=S.REJECTED, outcome=O.PRECONDITION_FAILED)
    token = web.get(run.get_absolute_url()).context["token"]
    live = reverse("backups:run-live", args=[run.pk])
    assert web.get(live, {"shown": f"{run.pk}:{token}"}).status_code == 204
    checked(run.cluster, R.BACKUP_OFF, "Log backup is switched off for the cluster.")
    answer = web.get(live, {"shown": f"{run.pk}:{token}"})
    assert answer.status_code == 200
    assert "switched off" in answer.content.decode()


@pytest.mark.parametrize("state", [S.SUCCEEDED, S.FAILED])
def test_an_imported_job_is_not_told_as_a_request(
    web: Client, make_cluster: MakeCluster, make_run: MakeRun, state: RunState
) -> None:
    now = timezone.now()
    run = make_run(
        state=state,
        trigger="cloud",
        requested_by_name="the cloud's schedule",
        job_id="j" * 32,
        job_type="Auto",
        job_created_at=now - timedelta(minutes=3),
        job_finished_at=now,
        finished_at=now,
        failed_message="no bucket" if state is S.FAILED else "",
    )
    html = page(web, run)
    text = text_of(html)
    assert str(IMPORTED[state].meaning) in text
    assert "the cloud's schedule" in text
    assert "j" * 32 in text
    assert 'class="steps"' not in html, "it was neither queued nor sent"
    assert web.get(f"/runs/{run.pk}.json").json()["explanation"]["meaning"] == str(
        IMPORTED[state].meaning
    )
    history = web.get(reverse("backups:history"))
    assert "the cloud's schedule" in text_of(history.content.decode())
