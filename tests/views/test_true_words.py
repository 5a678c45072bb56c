"""What pages say of a run is true of it now, and not of what was once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone, translation

from backups.choices import RunState
from backups.models import ApiCall, BackupRun, Cluster, Connection
from backups.serialize import run_document
from backups.services.clusters import readiness
from backups.services.connections import manage
from backups.services.connections.registering import retire
from backups.services.runs.requests import CannotBackUp, Requester, cancel_run, request_backup
from dashboard.audit.trail import Actor
from tests.views.page_text import tight

NOW = timezone.now()
HOUR = timedelta(hours=1)
ANNA = Actor("anna")


def text(web: Client, address: str) -> str:
    return web.get(address).content.decode().replace("&#x27;", "'")


@pytest.mark.parametrize(
    ("outcome", "said", "not_said"),
    [
        ("", "Cancelled before anything was sent to the cloud", "tried again"),
        ("throttled", "Cancelled while waiting for a retry", "before anything was sent"),
        ("server_error", "Cancelled while waiting for a retry", "nothing was sent"),
    ],
)
def test_a_cancelled_run_says_whether_anything_had_been_sent(
    web, make_run, outcome, said, not_said
):
    run = make_run(state="queued", outcome=outcome, attempt=2 if outcome else 0)
    cancel_run(run, actor=ANNA)
    page = text(web, run.get_absolute_url())
    assert said in page
    assert not_said not in page
    note = run.events.last().note
    assert ("attempt 3" in note) == bool(outcome)
    assert said in str(run_document(run)["explanation"])


@pytest.mark.parametrize("state", ["rejected", "failed", "unverified", "not_started"])
def test_a_bad_end_that_a_later_run_resolved_asks_nobody_for_anything(
    web, make_cluster, make_run, state
):
    cluster = make_cluster(readiness="backup_off", readiness_detail="Log backup is off.")
    bad = make_run(cluster, state=state, outcome="precondition_failed", requested_at=NOW - 2 * HOUR)
    assert "Resolved by" not in text(web, bad.get_absolute_url())
    before = text(web, "/history/?group=attention")
    assert f"run-{bad.pk}" in before
    good = make_run(cluster, state="succeeded", requested_at=NOW - HOUR)
    Cluster.objects.filter(pk=cluster.pk).update(readiness="ready", verified_at=NOW - HOUR / 2)
    page = text(web, bad.get_absolute_url())
    assert f'<a href="{good.get_absolute_url()}" id="resolved-by">run {good.pk}</a>' in page
    assert "Enable log backup" not in page
    assert f"run-{bad.pk}" not in text(web, "/history/?group=attention")
    assert f"run-{bad.pk}" in text(web, f"/history/?state={state}")
    assert web.get(f"/runs/{bad.pk}.json").json()["resolved_by"]["run_id"] == good.pk
    assert f"run-{good.pk}" in text(web, "/history/")


def test_a_cluster_whose_backup_failed_says_who_acts(web, make_cluster, make_run):
    cluster = make_cluster(readiness="ready", status="200", checked_at=NOW)
    run = make_run(cluster, state="failed", outcome="accepted", requested_at=NOW - HOUR)
    page = text(web, cluster.get_absolute_url())
    assert "check bucket and agency" in page
    assert 'class="card run-head bad"' in page
    assert f'id="bad-run">Run {run.pk}</a>' in tight(page)
    make_run(cluster, state="succeeded", requested_at=NOW)
    page = text(web, cluster.get_absolute_url())
    assert "check bucket and agency" not in page
    assert 'class="card run-head ok"' in page


def test_the_readings_that_are_told_are_those_that_are_listed(web, make_run):
    run = make_run(state="accepted", outcome="accepted", checks=1, records_readable_at=NOW)
    for purpose in ("baseline", "collect", "records", "records", "records"):
        ApiCall.objects.create(
            run=run, attempt=1, purpose=purpose, method="GET", path="/", started_at=NOW,
            finished_at=NOW, duration_ms=4,
        )  # fmt: skip
    page = text(web, run.get_absolute_url())
    assert "Records read 3 times" in page
    assert "<dt>Request and answer</dt><dd>4 ms</dd>" in page


def test_the_clusters_of_a_disconnected_cloud_are_not_called_ready(make_cluster, monkeypatch):
    # the entry itself stays in clouds.yaml
    monkeypatch.setattr(manage.sync, "is_configured", lambda cloud, region: True)
    cluster = make_cluster(readiness="ready", checked_at=NOW)
    row = Connection.objects.create(cloud="otc", region="eu-de", project=cluster.project)
    with translation.override("de"):
        manage.disconnect(row, ANNA)
    cluster.refresh_from_db()
    assert (cluster.readiness, cluster.checked_at) == ("unknown", None)
    assert cluster.readiness_detail == "The connection is disconnected: the cluster is not checked."
    readiness.check_cluster(cluster.pk)
    cluster.refresh_from_db()
    assert cluster.readiness == "unknown", "a check that was under way does not bring it back"


def test_what_is_stored_of_a_cluster_that_has_gone_is_english(make_cluster, monkeypatch):
    cluster = make_cluster()
    with translation.override("de"):
        retire(cluster.project.cloud, cluster.project.region)
    cluster.refresh_from_db()
    assert cluster.readiness_detail == "Gone from the cloud."


def test_a_page_that_is_not_there_does_not_promise_that_nothing_is_deleted(web):
    page = text(web, "/runs/999999/")
    assert "deleted by retention" in page


@pytest.mark.parametrize("column", ["gone_at", "archived_at"])
def test_what_cannot_be_backed_up_is_refused_whoever_asks(make_cluster, column):
    cluster = make_cluster()
    seen_before = Cluster.objects.get(pk=cluster.pk)
    Cluster.objects.filter(pk=cluster.pk).update(**{column: NOW})
    with pytest.raises(CannotBackUp):
        request_backup(seen_before, Requester("anna", "cli"))
    assert not BackupRun.objects.exists()


def test_all_clusters_means_those_that_are_not_archived(make_cluster, capsys):
    make_cluster("alpha")
    make_cluster("away", archived_at=NOW)
    call_command("backup", "--all")
    assert [run.cluster_name for run in BackupRun.objects.all()] == ["alpha"]
    with pytest.raises(CommandError, match="restore it first"):
        call_command("backup", "away")
    assert RunState(BackupRun.objects.get().state) is RunState.QUEUED
