"""An accepted run is followed through the cloud's own records, and only its own record counts."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from backups import uptime
from backups.choices import Outcome, RunState
from backups.models import BackupRun, Cluster, Project
from backups.services.runs import following, posts, sending
from tests.services.cloud_jobs import aged

S = RunState


def sent(run: BackupRun) -> BackupRun:
    sending.send_run(run.pk)
    run.refresh_from_db()
    return run


def followed(run: BackupRun) -> BackupRun:
    following.follow_run(run.pk)
    run.refresh_from_db()
    return run


def test_success_in_the_records_verifies_the_run(make_run, cloud):
    run = followed(sent(make_run()))
    assert run.state == S.ACCEPTED
    assert run.job_id
    cloud.end_jobs(run.cluster_cloud_id)
    run = followed(run)
    assert (run.state, run.job_type) == (S.SUCCEEDED, "Manual")
    assert run.log_path
    assert run.job_finished_at
    assert run.ended_well
    assert [e.to_state for e in run.events.all()][-1] == S.SUCCEEDED


def test_failure_in_the_records_fails_the_run_with_the_clouds_reason(make_run, cloud):
    run = followed(sent(make_run()))
    cloud.end_jobs(run.cluster_cloud_id, failed_message="bucket is gone")
    run = followed(run)
    assert (run.state, run.failed_message) == (S.FAILED, "bucket is gone")
    assert run.outcome == Outcome.ACCEPTED, "the POST was accepted all the same"


def test_a_job_of_the_automatic_schedule_is_never_ours(make_run, cloud):
    run = make_run()
    cloud.fault("no_record", run.cluster_cloud_id)
    run = sent(run)
    cloud.start_job(run.cluster_cloud_id, "Auto")
    run = followed(run)
    assert (run.state, run.job_id) == (S.ACCEPTED, None)


def test_a_job_that_was_there_before_the_request_is_never_ours(make_run, cloud):
    run = make_run()
    cloud.start_job(run.cluster_cloud_id, "Manual")
    cloud.end_jobs(run.cluster_cloud_id)
    cloud.fault("no_record", run.cluster_cloud_id)
    run = followed(sent(run))
    assert run.posts.get().baseline
    assert (run.state, run.job_id) == (S.ACCEPTED, None), (
        "a moment ago, within the skew, yet not ours"
    )


def test_a_job_that_another_run_has_claimed_is_not_claimed_again(make_cluster, make_run, cloud):
    cluster = make_cluster()
    first = followed(sent(make_run(cluster)))
    cloud.end_jobs(cluster.cluster_id)
    assert followed(first).state == S.SUCCEEDED
    cloud.fault("status", cluster.cluster_id, endpoint="records", status=500, times=1)
    cloud.fault("no_record", cluster.cluster_id)
    second = sent(make_run(cluster))
    assert second.posts.get().baseline is None
    assert followed(second).job_id is None


@pytest.mark.parametrize("offset", [-240, 240])
def test_matching_tolerates_a_clock_that_is_off_by_minutes(make_run, cloud, offset):
    cloud.set_clock(offset)
    run = followed(sent(make_run()))
    assert run.job_id
    cloud.end_jobs(run.cluster_cloud_id)
    assert followed(run).state == S.SUCCEEDED


def test_an_accepted_run_without_a_record_ends_unverified_not_succeeded(make_run, cloud, settings):
    run = make_run()
    cloud.fault("no_record", run.cluster_cloud_id)
    run = followed(sent(run))
    assert run.state == S.ACCEPTED
    run = followed(aged(run, settings.BACKUP_RECORD_GRACE + 1))
    assert run.state == S.UNVERIFIED


def test_an_unknown_run_without_a_record_ends_not_started_after_the_grace(
    make_run, cloud, settings
):
    run = make_run()
    cloud.fault("reset_before", run.cluster_cloud_id)
    run = followed(sent(run))
    assert run.state == S.UNKNOWN, "the grace is not over"
    run = followed(aged(run, settings.BACKUP_SETTLE_GRACE + 1))
    assert run.state == S.NOT_STARTED
    assert len(cloud.ledger(endpoint="collect", cluster=run.cluster_cloud_id)) == 1


def test_an_unknown_run_stays_unknown_while_the_records_are_unreadable(make_run, cloud):
    run = make_run()
    cloud.fault("reset_before", run.cluster_cloud_id)
    run = sent(run)
    cloud.fault("status", run.cluster_cloud_id, endpoint="records", status=403)
    run = followed(aged(run, 100_000))
    assert run.state == S.UNKNOWN
    assert "cannot be read" in run.note
    assert run.is_active, "it keeps the cluster's slot"
    cloud.clear_faults(run.cluster_cloud_id)
    followed(run)
    cloud.set_clock(60)
    assert followed(run).state == S.NOT_STARTED


def test_an_accepted_run_with_unreadable_records_ends_unverified_in_time(make_run, cloud, settings):
    run = sent(make_run())
    cloud.fault("status", run.cluster_cloud_id, endpoint="records", status=500, body_kind="html")
    run = followed(run)
    assert run.state == S.ACCEPTED
    run = followed(aged(run, settings.BACKUP_UNREADABLE_LIMIT + 1))
    assert run.state == S.UNVERIFIED


def test_an_error_that_had_been_accepted_is_found_in_the_records(make_run, cloud):
    run = make_run()
    cloud.fault("error_after", run.cluster_cloud_id, preset="gateway_timeout")
    run = sent(run)
    assert (run.state, run.http_status) == (S.UNKNOWN, 504)
    run = followed(run)
    assert run.state == S.ACCEPTED
    cloud.end_jobs(run.cluster_cloud_id)
    assert followed(run).state == S.SUCCEEDED


def test_a_record_that_vanishes_while_running_ends_unverified(make_run, cloud, settings):
    run = followed(sent(make_run()))
    assert run.job_id
    cloud.fault(
        "status",
        run.cluster_cloud_id,
        endpoint="records",
        status=200,
        body='{"clusterLogRecord":[]}',
    )
    run = followed(run)
    assert run.state == S.ACCEPTED
    BackupRun.objects.filter(pk=run.pk).update(
        records_readable_at=timezone.now() - timedelta(seconds=settings.BACKUP_RECORD_GRACE + 1),
        step_uptime=uptime.now() - settings.BACKUP_RECORD_GRACE - 2,
        readable_uptime=uptime.now() - settings.BACKUP_RECORD_GRACE - 1,
    )
    assert followed(run).state == S.UNVERIFIED


def test_a_job_that_never_ends_is_followed_to_the_limit_only(make_run, cloud, settings):
    run = followed(sent(make_run()))
    run = followed(aged(run, settings.BACKUP_FOLLOW_LIMIT + 1))
    assert run.state == S.UNVERIFIED


def test_records_that_are_due_are_given_to_one_sweep_only(make_run, cloud):
    run = sent(make_run())
    BackupRun.objects.filter(pk=run.pk).update(next_check_at=timezone.now())
    assert following.due_for_check(10) == [run.pk]
    assert following.due_for_check(10) == []


def test_the_pauses_between_two_readings_grow():
    now = timezone.now()
    pauses = [(following.next_check(now, age) - now).total_seconds() for age in (1, 60, 500, 5000)]
    assert pauses == [1, 3, 10, 30]


def test_an_empty_list_that_was_stored_late_does_not_prove_that_nothing_was_started(
    make_run, cloud, monkeypatch
):
    """The database is away between reading and storing, and the grace time ends meanwhile."""
    run = sent(make_run())
    BackupRun.objects.filter(pk=run.pk).update(
        state=S.UNKNOWN, answered_at=timezone.now() - timedelta(seconds=5), job_id=None
    )
    cloud.fault("status", endpoint="records", status=200, body='{"clusterLogRecord": []}')

    class Later:
        """The clock when the database is back."""

        @staticmethod
        def now():
            return timezone.now() + timedelta(seconds=60)

    def hold(work, **_limits):
        monkeypatch.setattr(following, "timezone", Later)
        return work()

    monkeypatch.setattr(following, "retry_while_unavailable", hold)
    run = followed(run)
    assert run.state == S.UNKNOWN
    cloud.clear_faults()


def undated(*jobs: str, status: str = "SUCCESS") -> str:
    """The body of a list of records that do not tell when they were created."""
    rows = [
        {"id": f"record-{job}", "jobId": job, "status": status, "jobTypes": "Manual"}
        for job in jobs
    ]
    return json.dumps({"clusterLogRecord": rows})


def test_a_job_without_a_time_is_ours_where_there_was_none_before(make_run, cloud):
    run = sent(make_run())
    cloud.fault("status", run.cluster_cloud_id, endpoint="records", status=200, body=undated("new"))
    run = followed(run)
    assert (run.state, run.job_id) == (S.SUCCEEDED, "new")


def test_a_job_that_may_be_ours_keeps_a_run_from_being_called_not_started(
    make_run, cloud, settings
):
    settings.BACKUP_SETTLE_GRACE = 0
    run = make_run()
    cloud.fault("reset_after", run.cluster_cloud_id)
    run = sent(run)
    cloud.fault(
        "status", run.cluster_cloud_id, endpoint="records", status=200, body=undated("a", "b")
    )
    followed(run)
    cloud.set_clock(60)
    run = followed(run)
    assert run.state == S.UNKNOWN
    assert "may be this request's" in run.note
    assert run.records_readable_at is None, "so it can be settled by hand before long"
    cloud.clear_faults(run.cluster_cloud_id)
    assert followed(run).state == S.ACCEPTED


def test_two_entries_that_lead_to_one_cluster_take_turns_and_share_no_job(
    make_run, project, cloud, settings
):
    first = make_run()
    second_entry = Project.objects.create(
        cloud="second", region=project.region, project_id=project.project_id
    )
    twin = make_run(
        Cluster.objects.create(
            project=second_entry, cluster_id=first.cluster_cloud_id, name=first.cluster_name
        )
    )
    BackupRun.objects.filter(pk=twin.pk).update(cloud=project.cloud)
    cloud.fault("status", first.cluster_cloud_id, preset="error_500", times=1)
    twin = sent(twin)
    assert twin.state == S.UNKNOWN
    first = sent(first)
    assert (first.state, first.sent_at) == (S.QUEUED, None), "the other request may yet start a job"
    assert first.note == f"Waits until run {twin.pk} is settled: it is about the same cluster"
    assert first.events.count() == 1, "waiting makes no noise"
    followed(aged(twin, 100))
    cloud.set_clock(60)
    assert followed(twin).state == S.NOT_STARTED
    BackupRun.objects.filter(pk=first.pk).update(not_before=timezone.now())
    first = followed(sent(first))
    assert (first.state, first.evidence) == (S.ACCEPTED, "proven")
    cloud.end_jobs(first.cluster_cloud_id)
    assert followed(first).state == S.SUCCEEDED
    assert first.cluster.runs.count() == twin.cluster.runs.count() == 1


def test_where_no_records_could_be_read_no_posts_are_loaded(db, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert posts.without_job_each([]) == {}
