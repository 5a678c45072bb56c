"""No run of ours loses its record to the import, and no import is taken for a run."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.utils import timezone

from backups.choices import ACTIVE, Ruling, RunState, Trigger
from backups.css_api.types import RecordStatus
from backups.models import RunEvent
from backups.services.clusters import readiness
from backups.services.runs import sending
from backups.services.runs.correcting import digest
from backups.services.runs.requests import request_backup
from backups.services.runs.settling import settle_by_hand
from dashboard.audit.models import AuditEvent
from dashboard.audit.trail import Actor
from tests.services.cloud_jobs import (
    at_once,
    check,
    followed,
    imported,
    job,
    keep,
    read,
    row,
    sent,
    wait_for,
)

S = RunState


def test_the_job_of_a_run_is_never_imported(make_cluster, make_run, cloud):
    cluster = make_cluster()
    run = sent(make_run(cluster))
    assert check(cluster) == [], "it runs"
    cloud.end_jobs(cluster.cluster_id)
    assert check(cluster) == [], "it has ended, and the run has not looked yet"
    assert followed(run).state == S.SUCCEEDED
    assert check(cluster) == [], "it is the run's"


def test_what_an_active_run_may_have_made_is_left_and_looked_at_again(
    make_cluster, make_run, cloud, settings
):
    settings.BACKUP_RECORD_GRACE = -1.0
    cluster = make_cluster()
    cloud.fault("no_record", cluster.cluster_id, times=1)
    run = sent(make_run(cluster))
    foreign = job(cloud, cluster, "Manual")
    automatic = job(cloud, cluster, "Auto")
    assert [each.job_id for each in check(cluster)] == [automatic], "what is Auto is never ours"
    cluster.refresh_from_db()
    assert cluster.imported_until is not None
    run = followed(run)
    assert (run.state, run.job_id, run.evidence) == (S.SUCCEEDED, foreign, "inferred")
    assert [each.job_id for each in check(cluster)] == [automatic]


def test_a_queued_run_keeps_nothing_from_the_import(make_cluster, make_run, cloud):
    cluster = make_cluster()
    make_run(cluster)
    foreign = job(cloud, cluster, "Manual")
    assert [each.job_id for each in check(cluster)] == [foreign]


def test_what_was_created_long_before_an_active_run_is_imported_at_once(
    make_cluster, make_run, settings
):
    cluster = make_cluster()
    sent(make_run(cluster))
    old = timezone.now() - timedelta(seconds=settings.BACKUP_CLOCK_SKEW + 60)
    keep(cluster, [row("old", at=old), row("new")])
    assert [run.job_id for run in imported(cluster)] == ["old"]


def test_a_run_that_came_and_went_while_the_records_were_read_keeps_its_job(
    make_cluster, make_run, cloud
):
    """Requested after the reading began, ended before the import: its record was in the answer."""
    cluster = make_cluster()
    run = followed(sent(make_run(cluster)))
    cloud.end_jobs(cluster.cluster_id)
    records = read(cluster)
    followed(run)
    run.refresh_from_db()
    assert run.job_id == records[0].job_id
    assert keep(cluster, records, posts=[]) == 0


def test_a_run_that_claims_its_job_between_the_reading_and_the_import_keeps_it(
    make_cluster, make_run, cloud
):
    cluster = make_cluster()
    run = sent(make_run(cluster))
    cloud.end_jobs(cluster.cluster_id)
    records = read(cluster)
    assert records[0].status is RecordStatus.SUCCESS
    followed(run)
    assert keep(cluster, records, posts=[]) == 0
    assert imported(cluster) == []
    run.refresh_from_db()
    assert (run.state, run.job_id) == (S.SUCCEEDED, records[0].job_id)


def test_an_unknown_run_finds_its_record_however_often_the_cluster_is_checked(
    make_cluster, make_run, cloud
):
    cluster = make_cluster()
    cloud.fault("error_after", cluster.cluster_id, preset="gateway_timeout", times=1)
    run = sent(make_run(cluster))
    assert run.state == S.UNKNOWN
    cloud.end_jobs(cluster.cluster_id)
    assert check(cluster) == []
    assert followed(run).state == S.SUCCEEDED
    assert check(cluster) == []


def test_a_record_that_appears_late_goes_to_its_run(make_cluster, make_run, cloud):
    cluster = make_cluster(job_seconds=0.1)
    cloud.fault("late_record", cluster.cluster_id, seconds=0.6, times=1)
    run = followed(sent(make_run(cluster)))
    assert (run.state, run.job_id) == (S.ACCEPTED, None)
    assert check(cluster) == []
    wait_for(lambda: read(cluster))
    assert check(cluster) == []
    assert followed(run).state == S.SUCCEEDED
    assert check(cluster) == []


@pytest.mark.parametrize(
    ("fault", "state", "setting"),
    [
        ({"kind": "late_record", "seconds": 0.3}, S.UNVERIFIED, "BACKUP_RECORD_GRACE"),
        ({"kind": "reset_after"}, S.NOT_STARTED, "BACKUP_SETTLE_GRACE"),
    ],
)
@pytest.mark.parametrize("failed", ["", "bucket is gone"])
def test_a_run_that_gave_up_is_corrected_once_its_job_is_listed(
    make_cluster, make_run, cloud, settings, fault, state, setting, failed
):
    cluster = make_cluster(job_seconds=3600)
    run = give_up(cluster, make_run, cloud, settings, fault, setting)
    assert run.state == state
    finished_at = run.finished_at
    cloud.end_jobs(cluster.cluster_id, failed_message=failed)
    wait_for(lambda: read(cluster))
    assert check(cluster) == [], "it is ours"
    run.refresh_from_db()
    assert run.state == (S.FAILED if failed else S.SUCCEEDED)
    assert (run.corrected_from, run.finished_at) == (state, finished_at)
    assert run.evidence in ("proven", "inferred")
    event = AuditEvent.objects.about(run).get(action="run_corrected")
    assert run.corrected_by == event.sequence
    assert event.before["state"] == state
    assert event.before["digest"] != event.after["digest"] == digest(run)
    assert run.events.last().note.startswith("Corrected: ")
    cluster.refresh_from_db()
    assert bool(cluster.verified_at) is not bool(failed)
    check(cluster)
    assert AuditEvent.objects.about(run).filter(action="run_corrected").count() == 1


def test_a_run_that_was_settled_by_hand_is_corrected_too(make_cluster, make_run, cloud, settings):
    settings.BACKUP_UNREADABLE_LIMIT = settings.BACKUP_CLOCK_SKEW = 0
    settings.BACKUP_SETTLE_GRACE = 0
    cluster = make_cluster(job_seconds=3600)
    cloud.fault("reset_after", cluster.cluster_id, times=1)
    run = sent(make_run(cluster))
    cloud.fault("status", cluster.cluster_id, endpoint="records", status=403)
    run = followed(run)
    settle_by_hand(run, Ruling.NOT_STARTED, actor=Actor("root"), reason="seen in the console")
    assert (run.state, run.settled_by_hand) == (S.NOT_STARTED, True)
    cloud.clear_faults(cluster.cluster_id)
    cloud.end_jobs(cluster.cluster_id)
    assert check(cluster) == []
    run.refresh_from_db()
    assert (run.state, run.evidence) == (S.SUCCEEDED, "inferred")


def test_where_two_jobs_may_be_a_given_up_runs_neither_is_credited_and_both_say_so(
    make_cluster, make_run, cloud, settings
):
    cluster = make_cluster(job_seconds=3600)
    run = give_up(cluster, make_run, cloud, settings, {"kind": "reset_after"}, SETTLE)
    now = timezone.now()
    keep(cluster, [row("a", at=now), row("b", at=now)])
    run.refresh_from_db()
    assert (run.state, run.job_id) == (S.NOT_STARTED, None)
    for each in imported(cluster):
        assert f"run {run.pk} (attempt 1)" in each.requested_by_name
        assert "the records do not tell" in each.events.get().note
    assert len(imported(cluster)) == 2


def test_a_job_outside_a_given_up_runs_window_is_the_consoles(
    make_cluster, make_run, cloud, settings
):
    cluster = make_cluster(job_seconds=3600)
    run = give_up(cluster, make_run, cloud, settings, {"kind": "reset_after"}, SETTLE)
    hour_ago = timezone.now() - timedelta(hours=1)
    keep(cluster, [row("then", at=hour_ago)])
    run.refresh_from_db()
    assert run.state == S.NOT_STARTED
    assert imported(cluster)[0].requested_by_name == "someone in the console"


SETTLE = "BACKUP_SETTLE_GRACE"


def give_up(cluster, make_run, cloud, settings, fault, setting):
    """A run that ends without its job, which the cloud lists a moment later."""
    setattr(settings, setting, 0)
    settings.BACKUP_DATE_TOLERANCE = 3
    cloud.fault(cluster=cluster.cluster_id, times=1, **fault)
    if fault["kind"] == "reset_after":
        cloud.fault("late_record", cluster.cluster_id, seconds=1.0, times=1)
    run = followed(sent(make_run(cluster)))
    if run.state == S.UNKNOWN:
        cloud.set_clock(60)
        run = followed(run)
        cloud.set_clock(0)
    return run


# --- nor is one that was imported taken for ours


def test_an_imported_job_is_not_claimed_by_a_later_run(make_cluster, make_run, cloud):
    """Just before our POST, in its window, with no baseline: only the import tells it apart."""
    cluster = make_cluster()
    job(cloud, cluster, "Manual")
    assert len(check(cluster)) == 1
    cloud.fault("status", cluster.cluster_id, endpoint="records", status=500, times=1)
    cloud.fault("no_record", cluster.cluster_id)
    run = followed(sent(make_run(cluster)))
    assert run.posts.get().baseline is None
    assert (run.state, run.job_id) == (S.ACCEPTED, None)


def test_an_imported_job_is_no_click(make_cluster, operator, cloud):
    cluster = make_cluster()
    job(cloud, cluster)
    check(cluster)
    request = request_backup(cluster, operator)
    assert request.created
    assert request.run.trigger == Trigger.BUTTON
    assert cluster.runs.filter(state__in=ACTIVE).get() == request.run


# --- at once


@pytest.mark.django_db(transaction=True)
def test_many_importers_at_once_store_each_job_once(make_cluster, cloud):
    cluster = make_cluster()
    jobs = {job(cloud, cluster, "Manual") for _ in range(20)}
    records = read(cluster)
    counts = at_once([lambda: keep(cluster, records)] * 4)
    assert sum(counts) == 20
    assert {run.job_id for run in imported(cluster)} == jobs
    assert RunEvent.objects.filter(run__cluster=cluster).count() == 20


@pytest.mark.django_db(transaction=True)
def test_a_run_never_loses_its_record_to_checks_that_run_beside_it(make_cluster, operator, cloud):
    """Sent, followed and imported by threads of their own, again and again."""
    cluster = make_cluster(job_seconds=0.02)
    stop, ours = threading.Event(), []

    def run_after_run() -> None:
        try:
            for _ in range(12):
                run = request_backup(cluster, operator).run
                sending.send_run(run.pk)
                wait_for(lambda run=run: followed(run).is_terminal)
                ours.append(run)
        finally:
            stop.set()

    def keep_checking() -> None:
        while not stop.is_set():
            readiness.check_cluster(cluster.pk)

    at_once([run_after_run, keep_checking, keep_checking])
    assert len(ours) == 12
    assert {run.state for run in ours} == {S.SUCCEEDED}
    assert check(cluster) == [], "and none was imported"
    started = {each.job_id for each in cloud.cluster(cluster.cluster_id).jobs}
    assert {run.job_id for run in ours} == started
