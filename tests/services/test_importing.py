"""The cloud's own jobs come into the history, each once, and no run of ours loses its record."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backups.choices import Outcome, RunState, Trigger
from backups.css_api.types import RecordStatus
from backups.models import RunEvent
from backups.services.cloud import client_for
from backups.services.clusters import readiness
from backups.services.runs import importing
from tests.services.cloud_jobs import check, imported, job, keep, read, row

S = RunState


def test_a_job_of_the_schedule_becomes_a_row_of_the_history(make_cluster, cloud):
    cluster = make_cluster()
    job_id = job(cloud, cluster)
    (run,) = check(cluster)
    assert (run.state, run.outcome, run.trigger) == (S.SUCCEEDED, Outcome.NONE, Trigger.CLOUD)
    assert (run.requested_by_name, run.requested_by) == ("the cloud's schedule", None)
    assert (run.job_id, run.job_type, run.log_path) == (
        job_id,
        "Auto",
        f"simulated-log-bucket/css/log/{cluster.cluster_id[:8]}",
    )
    assert (run.requested_at, run.finished_at) == (run.job_created_at, run.job_finished_at)
    assert (run.cluster_name, run.cluster_cloud_id) == (cluster.name, cluster.cluster_id)
    assert (run.project, run.project_name) == (cluster.project, cluster.project.name)
    assert (run.sent_at, run.attempt, run.idempotency_key) == (None, 0, None)
    assert not run.api_calls.exists()
    (event,) = run.events.all()
    assert (event.from_state, event.to_state) == ("", S.SUCCEEDED)
    assert event.note == "Imported from the cloud's records"
    assert event.at >= run.requested_at


def test_a_failed_job_from_the_console_keeps_the_clouds_reason(make_cluster, cloud):
    cluster = make_cluster()
    job(cloud, cluster, "Manual", failed="bucket is gone")
    (run,) = check(cluster)
    assert (run.state, run.failed_message) == (S.FAILED, "bucket is gone")
    assert (run.requested_by_name, run.job_type) == ("someone in the console", "Manual")


def test_a_running_job_is_imported_when_it_has_ended(make_cluster, cloud):
    cluster = make_cluster()
    job(cloud, cluster)
    cloud.start_job(cluster.cluster_id, "Auto")
    assert len(check(cluster)) == 1
    cloud.end_jobs(cluster.cluster_id)
    assert len(check(cluster)) == 2


def test_a_job_that_ends_long_after_later_ones_is_not_forgotten(make_cluster, cloud):
    cluster = make_cluster()
    now = timezone.now()
    long = row("long", at=now - timedelta(days=2), status=RecordStatus.RUNNING)
    later = row("later", at=now - timedelta(hours=1))
    keep(cluster, [later, long])
    assert [run.job_id for run in imported(cluster)] == ["later"]
    cluster.refresh_from_db()
    assert importing.read_since(cluster, []) < long.created_at
    keep(cluster, [later, replace(long, status=RecordStatus.SUCCESS)])
    assert {run.job_id for run in imported(cluster)} == {"later", "long"}


def test_a_job_that_never_ends_does_not_make_the_readings_long_for_ever(make_cluster):
    cluster, now = make_cluster(), timezone.now()
    stuck = row("stuck", at=now - timedelta(days=30), status=RecordStatus.RUNNING)
    keep(cluster, [row("new", at=now), stuck])
    cluster.refresh_from_db()
    assert cluster.imported_until == now


@pytest.mark.parametrize("stamps", ["ms", "seconds", "string"])
def test_a_second_reading_imports_nothing_again(make_cluster, cloud, stamps):
    cluster = make_cluster(stamps=stamps)
    for job_type in ("Auto", "Manual", "Auto"):
        job(cloud, cluster, job_type)
    assert len(check(cluster)) == 3
    assert len(check(cluster)) == 3
    assert RunEvent.objects.filter(run__cluster=cluster).count() == 3


def test_the_first_reading_goes_back_a_thousand_jobs_and_later_ones_not(make_cluster, cloud):
    cluster = make_cluster()
    records = [row(f"j{n:04}", at=timezone.now() - timedelta(hours=n)) for n in range(1000)]
    with CaptureQueriesContext(connection) as many:
        keep(cluster, records)
    assert cluster.runs.count() == 1000
    assert len(many) < 120, "in batches, not one by one"
    cluster.refresh_from_db()
    assert cluster.imported_until == records[0].created_at
    with CaptureQueriesContext(connection) as again:
        keep(cluster, records[:20], posts=[])
    assert len(again) < 10
    readiness.check_cluster(cluster.pk)
    (entry,) = cloud.ledger(endpoint="records", cluster=cluster.cluster_id)
    assert entry.query == "limit=100", "one page"


def test_failures_that_the_cloud_forgets_stay_in_the_history(make_cluster, cloud):
    cluster = make_cluster()
    for number in range(15):
        job(cloud, cluster, failed=f"failure {number}")
    assert len(check(cluster)) == 15
    client_for(cluster).close_logs(cluster.cluster_id)
    assert read(cluster) == (), "the cloud has dropped them"
    assert [run.failed_message for run in check(cluster)] == [f"failure {n}" for n in range(15)]


def test_a_cloud_whose_clock_is_ahead_is_imported_all_the_same(make_cluster, cloud):
    cloud.set_clock(240)
    cluster = make_cluster()
    job(cloud, cluster, "Manual")
    assert len(check(cluster)) == 1
    job(cloud, cluster, "Manual")
    assert len(check(cluster)) == 2, "the first, though newer than now, is no request of ours"
    cluster.refresh_from_db()
    assert cluster.verified_at <= timezone.now()


def test_a_record_without_times_is_imported_once(make_cluster):
    cluster = make_cluster()
    keep(cluster, [replace(row("j"), created_at=None, finished_at=None)])
    keep(cluster, [replace(row("j"), created_at=None, finished_at=None)])
    (run,) = imported(cluster)
    assert run.requested_at <= run.finished_at
    cluster.refresh_from_db()
    assert cluster.imported_until is None


def test_an_imported_success_protects_the_cluster(make_cluster, cloud):
    cluster = make_cluster()
    job(cloud, cluster)
    job(cloud, cluster)
    runs = check(cluster)
    job(cloud, cluster, failed="no")
    check(cluster)
    cluster.refresh_from_db()
    assert cluster.verified_at == runs[-1].job_finished_at
