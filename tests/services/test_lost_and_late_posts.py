"""Lost answers, dead workers, late jobs and wrong clocks: what must hold all the same."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from backups import uptime
from backups.choices import RunState
from backups.css_api.types import Answer, BodyKind
from backups.models import ApiCall, BackupRun, RunEvent
from backups.services.runs import following, sending, sweeping
from tests.audit_guards import guards_lifted
from tests.services.cloud_jobs import check, followed, imported, keep, read, row, sent, wait_for

S = RunState


def aged(run, seconds):
    """As if all of the run, and its POSTs, were so much older, by our clock and the cloud's."""
    by = timedelta(seconds=seconds)
    with guards_lifted():
        run = BackupRun.objects.get(pk=run.pk)
        for name in ("requested_at", "sent_at", "answered_at", "finished_at"):
            if (at := getattr(run, name)) is not None:
                setattr(run, name, at - by)
        for name in ("step_uptime", "readable_uptime"):
            if (at := getattr(run, name)) is not None:
                setattr(run, name, at - seconds)
        run.save()
        for post in run.posts.all():
            post.step_uptime -= seconds
            for name in ("sent_at", "answered_at", "date_before", "date_after", "date_closed"):
                if (at := getattr(post, name)) is not None:
                    setattr(post, name, at - by)
            post.save()
    return run


def due(run):
    BackupRun.objects.filter(pk=run.pk).update(not_before=timezone.now())
    run.refresh_from_db()
    return run


def answer(status):
    return Answer(
        method="POST",
        path="/",
        status=status,
        request_id="",
        error_code="",
        message="",
        body_kind=BodyKind.EMPTY,
        excerpt="",
        size=0,
        duration_ms=0,
        retry_after=None,
        date=timezone.now().replace(microsecond=0),
    )


def test_a_late_503_does_not_call_a_request_refused(make_run, cloud):
    """Its worker was taken for dead; a 503 leaves it open, also where it comes late."""
    run = make_run()
    run = sending.claim(run.pk)
    sending.CollectLog(run).before_send(_shown())
    run.refresh_from_db()
    assert sweeping.take_over(run, why="gone")
    cloud.start_job(run.cluster_cloud_id, "Manual")  # what the 503 had started all the same
    late = BackupRun.objects.get(pk=run.pk)
    late.state = S.SENDING
    sending.apply_result(late, answer(503), actor="worker")
    run.refresh_from_db()
    assert run.state == S.UNKNOWN, run.state


def test_a_run_whose_503_is_open_is_not_rejected_by_a_later_refusal(make_run, cloud, settings):
    """The first attempt made a job that is listed late; the second meets it: 409, holder unseen."""
    settings.BACKUP_DATE_TOLERANCE = 0
    settings.BACKUP_SETTLE_GRACE = 0
    run = make_run()
    cloud.fault("error_after", run.cluster_cloud_id, preset="unavailable", times=1)
    cloud.fault("late_record", run.cluster_cloud_id, seconds=4, times=1)
    run = sent(run)
    cloud.set_clock(10)
    run = sent(due(run))
    assert run.http_status == 409
    from tests.services.cloud_jobs import wait_for

    cloud.end_jobs(run.cluster_cloud_id)
    wait_for(lambda: read(run.cluster))
    check(run.cluster)
    run = followed(run)
    assert imported(run.cluster) == [], imported(run.cluster)[0].requested_by_name
    assert run.state == S.SUCCEEDED, run.state


@pytest.mark.parametrize("ahead", [200, -200, 600, -600])
def test_a_wrong_date_leaves_no_false_not_started(make_run, cloud, ahead, settings):
    """504, its job is listed at once and still runs; the gateway's `Date` is off."""
    settings.BACKUP_SETTLE_GRACE = 3
    for endpoint in ("collect", "records", "detail", "settings"):
        cloud.fault("wrong_date", endpoint=endpoint, seconds=ahead)
    run = make_run()
    cloud.fault("error_after", run.cluster_cloud_id, preset="gateway_timeout", times=1)
    run = followed(sent(run))
    import time

    end = time.monotonic() + 8
    while run.is_active and time.monotonic() < end:
        time.sleep(0.5)
        run = followed(run)
    if run.state == S.ACCEPTED:
        return
    cloud.end_jobs(run.cluster_cloud_id)
    rows = check(run.cluster)
    run.refresh_from_db()
    assert run.state != S.NOT_STARTED, [r.requested_by_name for r in rows]


def test_the_window_of_a_lost_post_does_not_grow_while_nobody_reads(make_run, cloud):
    """Unanswered four hours ago, the records unreadable since; a console job an hour ago."""
    run = make_run()
    cloud.fault("reset_before", run.cluster_cloud_id, times=1)
    cloud.set_clock(-4 * 3600)
    run = sent(run)
    assert run.state == S.UNKNOWN
    with guards_lifted():
        by = timedelta(hours=4)
        BackupRun.objects.filter(pk=run.pk).update(
            sent_at=run.sent_at - by,
            answered_at=run.answered_at - by,
            requested_at=run.requested_at - by,
            step_uptime=uptime.now() - by.total_seconds(),
        )
        post = run.posts.get()
        post.sent_at -= by
        post.answered_at -= by
        post.step_uptime = uptime.now() - by.total_seconds()
        post.save()
    cloud.set_clock(-3600)
    cloud.start_job(run.cluster_cloud_id, "Manual")
    cloud.end_jobs(run.cluster_cloud_id)
    cloud.set_clock(0)
    run = followed(run)
    assert run.job_id is None, (run.state, run.evidence)


def test_without_a_date_a_503_does_not_cost_the_next_attempt_its_job(make_run, cloud, settings):
    for endpoint in ("collect", "records", "detail", "settings"):
        cloud.fault("no_date", endpoint=endpoint)
    settings.BACKUP_RECORD_GRACE = -1
    run = make_run()
    cloud.fault("status", run.cluster_cloud_id, preset="unavailable", times=1)
    run = aged(sent(run), settings.BACKUP_SETTLE_GRACE + 5)
    run = sent(due(run))
    assert run.state == S.ACCEPTED
    run = followed(run)
    cloud.end_jobs(run.cluster_cloud_id)
    run = followed(run) if run.is_active else run
    assert (run.state, run.evidence) == (S.SUCCEEDED, "inferred")


def test_a_row_that_cannot_be_read_is_the_same_row_when_others_come_before_it(monkeypatch):
    from backups.css_api import parse

    bad = {"status": "SUCCESS"}
    good = {"id": "r1", "jobId": "j1", "status": "RUNNING", "jobTypes": "Manual"}
    before = parse.log_records({"clusterLogRecord": [bad]}).rows
    after = parse.log_records({"clusterLogRecord": [good, bad]}).rows
    assert before[0].record_id == after[1].record_id


def test_a_proof_that_is_contradicted_is_withdrawn_also_where_the_job_id_comes_late(
    make_cluster, make_run, monkeypatch
):
    from dataclasses import replace

    from backups.css_api.types import LogRecords, RecordStatus

    cluster = make_cluster()
    run = sent(make_run(cluster))
    post = run.posts.get()
    running = replace(row("x", at=post.date_before, status=RecordStatus.RUNNING), job_id="")
    now = timezone.now()
    following._conclude(run, LogRecords((running,), now), now, uptime.now())
    run.refresh_from_db()
    assert run.evidence == "proven"
    named = replace(running, job_id="j-x")
    following._conclude(run, LogRecords((named,), now), now, uptime.now())
    run.refresh_from_db()
    ended = replace(
        named,
        status=RecordStatus.SUCCESS,
        finished_at=post.date_after - timedelta(seconds=60),
    )
    following._conclude(run, LogRecords((ended,), now), now, uptime.now())
    run.refresh_from_db()
    assert (run.state, run.evidence) == (S.SUCCEEDED, "inferred")


def test_waiting_for_another_entrys_post_leaves_no_trail_without_end(make_cluster, make_run, cloud):
    """The first entry's request is unknown and the records unreadable, perhaps for days."""
    cluster = make_cluster()
    cloud.fault("reset_before", cluster.cluster_id, times=1)
    assert sent(make_run(cluster)).state == S.UNKNOWN
    cloud.fault("status", cluster.cluster_id, endpoint="records", status=403)
    second = make_run(_second_entry(cluster))
    for _ in range(6):
        second = sent(due(second))
        assert second.state == S.QUEUED
    pause = (second.not_before - timezone.now()).total_seconds()
    rows = RunEvent.objects.filter(run=second).count() + ApiCall.objects.filter(run=second).count()
    assert rows < 10, f"{rows} rows after 6 rounds, the next in {pause:.0f} s"


def test_what_retention_forgot_corrects_nothing(make_cluster, make_run, cloud, settings):
    """Two jobs in a lost POST's window, neither credited; retention then deletes the success."""
    from backups.models import RetentionKind, RetentionPolicy
    from backups.services import retention
    from dashboard.audit.trail import Actor

    settings.BACKUP_SETTLE_GRACE = 0
    cluster = make_cluster()
    cloud.fault("reset_before", cluster.cluster_id, times=1)
    run = followed(sent(make_run(cluster)))
    run = aged(followed(run) if run.is_active else run, 100 * 86400)
    assert run.state == S.NOT_STARTED
    from backups.css_api.types import RecordStatus

    at = run.sent_at
    rows = [row("good", at=at), row("bad", at=at, status=RecordStatus.FAIL)]
    assert keep(cluster, rows) == 2
    days = dict(RetentionPolicy.current().as_dict())
    days[next(key for key in days if "succ" in key)] = 50
    retention.change(days, actor=Actor("root"))
    done = retention.start(RetentionKind.SUCCESSES, RetentionPolicy.current(), actor=Actor("root"))
    assert done
    assert retention.work(done)
    assert [r.job_id for r in imported(cluster)] == ["bad"]
    keep(cluster, rows)
    run.refresh_from_db()
    assert run.state == S.NOT_STARTED, (run.state, run.job_id, run.evidence)


@pytest.mark.parametrize("date", ["Sat, 01 Jan 0001 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_senseless_date_kills_no_task(make_run, cloud, monkeypatch, date):
    from backups.css_api import answer as answers

    value = answers._date(date)
    monkeypatch.setattr(answers, "answered_on", lambda headers: value)
    run = make_run()
    cloud.fault("error_after", run.cluster_cloud_id, preset="gateway_timeout", times=1)
    run = sent(run)
    run = followed(run)
    check(run.cluster)
    again = followed(run)
    assert again.pk


def test_a_settled_runs_lost_post_does_not_cost_the_next_run_its_job(make_cluster, make_run, cloud):
    """The records were unreadable from the first POST until just after the second one's 200."""
    cluster = make_cluster()
    cloud.fault("reset_before", cluster.cluster_id, times=1)
    first = sent(make_run(cluster))
    assert first.state == S.UNKNOWN
    first = aged(first, 4 * 3600)
    with guards_lifted():  # as by hand
        BackupRun.objects.filter(pk=first.pk).update(state=S.NOT_STARTED, settled_by_hand=True)
        first.posts.update(active=False)
    cloud.fault("status", cluster.cluster_id, endpoint="records", status=403, times=1)
    second = sent(make_run(cluster))
    assert second.state == S.ACCEPTED
    assert second.posts.get().baseline is None
    second = followed(second)
    assert second.job_id is not None, second.note


def test_late_jobs_are_found_in_whatever_order_their_posts_come(make_cluster, make_run, cloud):
    """The older run's job is proven; what is left can only be the newer one's: not imported."""
    from dataclasses import replace

    from backups.css_api.types import LogRecords

    cluster = make_cluster()
    first = sent(make_run(cluster))
    with guards_lifted():
        BackupRun.objects.filter(pk=first.pk).update(state=S.UNVERIFIED, finished_at=timezone.now())
        first.posts.update(active=False)
    cloud.end_jobs(cluster.cluster_id)
    a = first.posts.get()
    second = make_run(cluster)
    second = sending.claim(second.pk)
    sending.CollectLog(
        second, sending.Baseline([], a.date_after + timedelta(seconds=4))
    ).before_send(_shown())
    with guards_lifted():
        BackupRun.objects.filter(pk=second.pk).update(
            state=S.NOT_STARTED, finished_at=timezone.now()
        )
        second.posts.update(
            active=False, answered_at=timezone.now(), date_after=a.date_after + timedelta(seconds=5)
        )
    x = replace(row("x", at=a.date_before), finished_at=a.date_after + timedelta(seconds=8))
    y = row("y", at=a.date_after + timedelta(seconds=2.5))  # fits both
    from backups.models import Cluster
    from backups.services.runs import importing
    from backups.services.runs.posts import without_job

    fresh = Cluster.objects.select_related("project").get(pk=cluster.pk)
    date = a.date_after + timedelta(seconds=60)
    importing.import_jobs(fresh, LogRecords((x, y), date), without_job(fresh))
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.state, first.job_id) == (S.SUCCEEDED, "x")
    assert (second.state, second.job_id) == (S.SUCCEEDED, "y"), [
        r.requested_by_name for r in imported(cluster)
    ]


def test_a_lasting_unreadable_row_does_not_keep_a_run_unknown(
    make_run, cloud, settings, monkeypatch
):
    """One old row of the list cannot be read: it stands below our job's, one place further down."""
    from backups.css_api import parse

    settings.BACKUP_SETTLE_GRACE = 0
    whole = parse.log_records

    def with_a_bad_row(document):
        name = next(k for k in document if k.startswith("clusterLogRecord"))
        more = {**document, name: [*document[name], {"status": "SUCCESS"}]}
        if "totalSize" in more:
            more["totalSize"] += 1
        return whole(more)

    monkeypatch.setattr(parse, "log_records", with_a_bad_row)
    run = make_run()
    cloud.fault("error_after", run.cluster_cloud_id, preset="gateway_timeout", times=1)
    run = sent(run)
    assert len(run.posts.get().baseline) == 1
    cloud.end_jobs(run.cluster_cloud_id)
    run = followed(run)
    assert (run.state, run.evidence) == (S.SUCCEEDED, "inferred"), run.note


def test_a_killed_workers_post_that_the_cloud_takes_up_late_is_still_its_runs(
    make_cluster, make_run, cloud
):
    """Worker killed just after sending; the cloud needs 40 s, which a living worker waits out."""
    cluster = make_cluster()
    run = sending.claim(make_run(cluster).pk)
    reading = sending.read_baseline(run)
    sending.CollectLog(run, sending.baseline_of(reading)).before_send(_shown())
    run.refresh_from_db()
    run = aged(run, 12)
    assert sweeping.take_over(run, why="gone")
    run = followed(run)
    run = followed(aged(run, 14))
    run = aged(run, 14)
    cloud.start_job(cluster.cluster_id, "Manual")  # what the request of 40 s ago makes
    cloud.end_jobs(cluster.cluster_id)
    if run.is_active:
        run = followed(run)
    rows = check(cluster)
    run.refresh_from_db()
    assert run.state == S.SUCCEEDED, (run.state, [r.requested_by_name for r in rows])


@pytest.mark.parametrize("lost", [False, True])
def test_a_clock_that_is_set_back_in_mid_run_hides_no_job(
    make_cluster, make_run, cloud, settings, lost
):
    """By ten minutes: between baseline and POST, or between a lost POST and the reading."""
    settings.BACKUP_SETTLE_GRACE = 0
    settings.BACKUP_RECORD_GRACE = 0
    cluster = make_cluster()
    run = sending.claim(make_run(cluster).pk)
    reading = sending.read_baseline(run)
    if lost:
        cloud.fault("reset_after", cluster.cluster_id, times=1)
    else:
        cloud.set_clock(-600)
    result = sending.ask_cloud(run, sending.baseline_of(reading))
    sending.apply_result(run, result, actor="worker")
    cloud.set_clock(-600)
    run = followed(run)
    cloud.end_jobs(cluster.cluster_id)
    run = followed(run) if run.is_active else run
    rows = check(cluster)
    run.refresh_from_db()
    assert (run.state, bool(run.evidence)) == (S.SUCCEEDED, True), [
        r.requested_by_name for r in rows
    ]


def _second_entry(cluster):
    from backups.models import Cluster, Project
    from tests.services.clouds_entries import add_entry

    name, region = add_entry("other")
    project = Project.objects.create(
        cloud=name, region=region, project_id=cluster.project.project_id, name="other"
    )
    return Cluster.objects.create(project=project, cluster_id=cluster.cluster_id, name=cluster.name)


def _shown():
    from backups.css_api.client import ShownRequest

    return ShownRequest(method="POST", path="/x", url="http://127.0.0.1/x", headers={}, body="")


@pytest.mark.django_db(transaction=True)
def test_a_correction_and_a_change_of_objective_do_not_wait_for_each_other(
    make_cluster, make_run, cloud, settings, monkeypatch
):
    """Two entries: the correction holds the trail and wants the other entry's cluster row."""
    import threading

    from django.db import connection

    from backups.services.clusters import protection
    from dashboard.audit.trail import Actor
    from tests.services.cloud_jobs import at_once

    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer: nobody waits for each other")
    settings.BACKUP_SETTLE_GRACE = 0
    cluster = make_cluster()
    other = _second_entry(cluster)
    cloud.fault("reset_after", cluster.cluster_id, times=1)
    cloud.fault("late_record", cluster.cluster_id, seconds=1.0, times=1)
    run = followed(sent(make_run(cluster)))
    assert run.state == S.NOT_STARTED
    cloud.end_jobs(cluster.cluster_id)
    from tests.services.cloud_jobs import wait_for

    wait_for(lambda: read(cluster))
    told, changed = threading.Event(), threading.Event()
    verified_for, record = protection.verified_for, protection.record

    def slow_verified_for(*args):
        told.set()  # the trail is locked by now
        changed.wait(10)
        verified_for(*args)

    def seen_record(*args, **kwargs):
        changed.set()  # the cluster's row is locked by now
        return record(*args, **kwargs)

    monkeypatch.setattr(protection, "verified_for", slow_verified_for)
    monkeypatch.setattr(protection, "record", seen_record)

    def objective():
        told.wait(10)
        protection.set_objective(other, 12, Actor("root"))

    at_once([lambda: check(cluster), objective])
    run.refresh_from_db()
    assert run.state == S.SUCCEEDED


def test_a_job_that_was_created_after_the_clouds_clock_was_set_is_not_the_consoles(make_run, cloud):
    """Read once, then the clock jumps ahead by two minutes, and the lost request is processed."""
    run = make_run()
    cloud.fault("reset_after", run.cluster_cloud_id, times=1)
    cloud.fault("process_later", run.cluster_cloud_id, seconds=1.0, times=1)
    run = followed(sent(run))
    assert run.state == S.UNKNOWN
    cloud.set_clock(120)
    wait_for(lambda: read(run.cluster))
    cloud.end_jobs(run.cluster_cloud_id)
    assert check(run.cluster) == []
    run = followed(run)
    assert (run.state, run.evidence) == (S.UNKNOWN, ""), "which clock is right cannot be told"
    cloud.set_clock(220)
    run = followed(aged(run, 100))
    assert run.state == S.UNVERIFIED
    check(run.cluster)
    (row_of_job,) = imported(run.cluster)
    assert f"run {run.pk} (attempt 1)" in row_of_job.requested_by_name
