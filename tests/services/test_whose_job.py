"""No run carries another run's job: POSTs, their windows and the way of late evidence."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from backups.choices import RunState
from backups.models import BackupRun, Post
from backups.services.runs.posts import taken_by
from tests.audit_guards import guards_lifted
from tests.services.cloud_jobs import aged, check, followed, job, read, sent, wait_for

S = RunState


def late(run):
    """The run as it is now, due at once."""
    BackupRun.objects.filter(pk=run.pk).update(not_before=timezone.now())
    run.refresh_from_db()
    return run


@pytest.mark.parametrize("runs_on", [True, False])
def test_a_503_whose_job_was_created_all_the_same_is_not_sent_again(make_run, cloud, runs_on):
    run = make_run()
    cloud.fault("error_after", run.cluster_cloud_id, preset="unavailable", times=1)
    run = sent(run)
    assert (run.state, run.http_status) == (S.QUEUED, 503)
    if not runs_on:
        cloud.end_jobs(run.cluster_cloud_id)
    run = sent(late(run))
    assert (run.state, run.attempt) == (S.UNKNOWN, 2)
    assert len(cloud.ledger(endpoint="collect", cluster=run.cluster_cloud_id)) == 1
    run = followed(run)
    cloud.end_jobs(run.cluster_cloud_id)
    run = followed(run) if run.is_active else run
    assert (run.state, run.evidence) == (S.SUCCEEDED, "inferred")
    assert check(run.cluster) == [], "it is not told as the console's"


def test_a_503_whose_job_is_listed_late_is_not_told_as_somebody_elses(make_run, cloud, settings):
    settings.BACKUP_DATE_TOLERANCE = 0
    settings.BACKUP_SETTLE_GRACE = 0
    run = make_run()
    cloud.fault("error_after", run.cluster_cloud_id, preset="unavailable", times=1)
    cloud.fault("late_record", run.cluster_cloud_id, seconds=1.5, times=1)
    run = sent(run)
    cloud.set_clock(10)
    run = sent(late(run))
    wait_for(lambda: read(run.cluster))
    assert run.http_status == 409
    assert "outside this dashboard" not in run.conflict_holder
    assert run.state in (S.UNKNOWN, S.REJECTED)


def test_a_503_is_sent_again_only_when_its_job_can_be_told_from_the_next_one(make_run, cloud):
    """The request is processed seconds after its 503: the next attempt must not have been sent."""
    run = make_run()
    cloud.fault("error_after", run.cluster_cloud_id, preset="unavailable", times=1)
    cloud.fault("process_later", run.cluster_cloud_id, seconds=1.5, times=1)
    run = sent(run)
    assert run.state == S.QUEUED
    assert run.not_before > timezone.now() + timedelta(seconds=25)
    run = sent(late(run))  # as by a message that comes too early
    assert (run.state, run.sent_at) == (S.QUEUED, None)
    wait_for(lambda: read(run.cluster))
    run = sent(late(run))
    assert run.state == S.UNKNOWN
    run = followed(run)
    assert (run.evidence, run.posts.get(attempt=1).job_id) == ("inferred", run.job_id)
    assert len(cloud.ledger(endpoint="collect", cluster=run.cluster_cloud_id)) == 1


def test_the_last_503_is_settled_by_the_records(make_run, cloud, settings):
    settings.BACKUP_MAX_ATTEMPTS = 1
    run = make_run()
    cloud.fault("error_after", run.cluster_cloud_id, preset="unavailable", times=1)
    run = sent(run)
    assert run.state == S.UNKNOWN
    run = followed(run)
    assert (run.state, run.evidence) == (S.ACCEPTED, "inferred")


def test_the_next_post_waits_until_the_last_ones_window_has_closed(make_cluster, make_run, cloud):
    cluster = make_cluster()
    cloud.fault("reset_before", cluster.cluster_id, times=1)
    first = followed(sent(make_run(cluster)))
    assert first.state == S.UNKNOWN
    with guards_lifted():  # as by hand, the moment that the records were read
        BackupRun.objects.filter(pk=first.pk).update(state=S.NOT_STARTED)
        first.posts.update(active=False)
    second = sent(make_run(cluster))
    assert (second.state, second.sent_at) == (S.QUEUED, None)
    assert second.not_before > timezone.now() + timedelta(seconds=20)
    aged(first, 60)
    cloud.set_clock(60)
    assert sent(late(second)).state == S.ACCEPTED


def test_a_job_of_an_earlier_run_does_not_verify_a_later_one(make_cluster, make_run, cloud):
    """The first is answered 504 and its job listed late; the second one's own job fails."""
    cluster = make_cluster()
    cloud.fault("error_after", cluster.cluster_id, preset="gateway_timeout", times=1)
    cloud.fault("late_record", cluster.cluster_id, seconds=2.0, times=1)
    first = followed(sent(make_run(cluster)))
    cloud.set_clock(60)
    first = followed(aged(first, 100))
    assert first.state == S.NOT_STARTED
    cloud.end_jobs(cluster.cluster_id)
    second = sent(make_run(cluster))
    assert second.state == S.ACCEPTED
    second = followed(second)
    wait_for(lambda: len(read(cluster)) == 2)
    second = followed(second)
    cloud.end_jobs(cluster.cluster_id, failed_message="bucket is gone")
    second = followed(second)
    assert (second.state, second.evidence) == (S.FAILED, "proven")
    assert check(cluster) == []
    first.refresh_from_db()
    assert (first.state, first.evidence) == (S.SUCCEEDED, "inferred")
    assert first.job_id != second.job_id


def test_seconds_only_stamps_do_not_give_a_run_a_console_job(make_cluster, make_run, cloud):
    cluster = make_cluster(stamps="seconds")
    for _ in range(2):
        job(cloud, cluster, "Manual")
    cloud.fault("reset_before", cluster.cluster_id, times=1)
    run = followed(sent(make_run(cluster)))
    assert (run.state, run.job_id) == (S.UNKNOWN, None)


def test_the_next_post_also_waits_for_one_whose_job_was_inferred(make_cluster, make_run, cloud):
    """The job may be an outsider's, and the request still be processed."""
    cluster = make_cluster()
    cloud.fault("reset_before", cluster.cluster_id, times=1)
    first = sent(make_run(cluster))
    job(cloud, cluster, "Manual")
    first = followed(first)
    assert (first.state, first.evidence) == (S.SUCCEEDED, "inferred")
    second = sent(make_run(cluster))
    assert (second.state, second.sent_at) == (S.QUEUED, None)
    with guards_lifted():
        first.posts.update(answered_at=first.answered_at - timedelta(seconds=60))
    cloud.set_clock(60)
    assert sent(late(second)).state == S.ACCEPTED


def test_a_run_lets_go_of_the_cluster_whichever_attempt_made_its_job(make_run, cloud):
    """The second attempt's POST is active when the first one's job is credited."""
    run = make_run()
    cloud.fault("error_after", run.cluster_cloud_id, preset="unavailable", times=1)
    run = followed(sent(late(sent(run))))
    assert (run.state, run.attempt) == (S.ACCEPTED, 2), "it runs: the second was not sent"
    Post.objects.create(
        run=run,
        attempt=2,
        sent_at=timezone.now(),
        project_id_in_cloud=run.project_id_in_cloud,
        cluster_cloud_id=run.cluster_cloud_id,
    )
    cloud.end_jobs(run.cluster_cloud_id)
    assert followed(run).state == S.SUCCEEDED
    assert not run.posts.filter(active=True).exists()


def test_a_second_entry_waits_while_a_503_is_to_be_sent_again(make_cluster, make_run, cloud):
    """Its task read the records before the first entry's POST, and sends after its 503."""
    cluster = make_cluster()
    first = make_run(cluster)
    cloud.fault("error_after", cluster.cluster_id, preset="unavailable", times=1)
    first = sent(first)
    assert first.state == S.QUEUED
    other = BackupRun(pk=first.pk + 1)  # of the other entry
    for name in ("project_id_in_cloud", "cluster_cloud_id"):
        setattr(other, name, getattr(first, name))
    assert taken_by(other) == first.pk
