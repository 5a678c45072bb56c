"""Jobs of the cloud's own, and what the import makes of them, for the tests of this folder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from django.db import connection
from django.utils import timezone

from backups import uptime
from backups.choices import Trigger
from backups.css_api.types import JobType, LogRecord, LogRecords, RecordStatus
from backups.models import BackupRun, Cluster, Post
from backups.services.cloud import client_for
from backups.services.clusters import readiness
from backups.services.runs import following, importing, sending
from backups.services.runs.posts import without_job
from simulator.client import SimulatorControl
from tests.audit_guards import guards_lifted


def job(cloud: SimulatorControl, cluster: Cluster, job_type: str = "Auto", failed: str = "") -> str:
    """A job of the cloud's own that has ended."""
    job_id = cloud.start_job(cluster.cluster_id, job_type)
    cloud.end_jobs(cluster.cluster_id, failed_message=failed)
    return job_id


def read(cluster: Cluster) -> tuple[LogRecord, ...]:
    """The cloud's records of a cluster."""
    return client_for(cluster).list_log_records(cluster.cluster_id).rows


def imported(cluster: Cluster) -> list[BackupRun]:
    """The imported rows, the oldest job first."""
    return list(cluster.runs.filter(trigger=Trigger.CLOUD).order_by("requested_at", "pk"))


def check(cluster: Cluster) -> list[BackupRun]:
    """Check a cluster; returns its imported rows."""
    readiness.check_cluster(cluster.pk)
    return imported(cluster)


def sent(run: BackupRun) -> BackupRun:
    """The run after its request."""
    sending.send_run(run.pk)
    run.refresh_from_db()
    return run


def followed(run: BackupRun) -> BackupRun:
    """The run after one reading of the records."""
    following.follow_run(run.pk)
    run.refresh_from_db()
    return run


def aged(run: BackupRun, seconds: float) -> BackupRun:
    """The run as if its answer had come so many seconds earlier, by our clocks."""
    by, then = timedelta(seconds=seconds), uptime.now() - seconds
    with guards_lifted():
        BackupRun.objects.filter(pk=run.pk).update(
            answered_at=timezone.now() - by, step_uptime=then
        )
        for post in run.posts.all():
            Post.objects.filter(pk=post.pk).update(
                sent_at=post.sent_at - by,
                answered_at=post.answered_at and post.answered_at - by,
                step_uptime=then,
            )
    run.refresh_from_db()
    return run


def row(
    key: str,
    at: datetime | None = None,
    *,
    job_type: JobType = JobType.MANUAL,
    status: RecordStatus = RecordStatus.SUCCESS,
) -> LogRecord:
    """A record, of a job that took two seconds."""
    at = at or timezone.now()
    done = at + timedelta(seconds=2) if status is not RecordStatus.RUNNING else None
    return LogRecord(f"r-{key}", key, status, status.value, job_type, at, done)


def keep(
    cluster: Cluster, records: Sequence[LogRecord], posts: Sequence[Post] | None = None
) -> int:
    """Import records as one check does; returns how many were new."""
    fresh = Cluster.objects.select_related("project").get(pk=cluster.pk)
    posts = without_job(fresh) if posts is None else posts
    return importing.import_jobs(fresh, LogRecords(tuple(records)), posts)


def wait_for(condition: Callable[[], object]) -> None:
    """Try until it holds."""
    deadline = timezone.now() + timedelta(seconds=20)
    while not condition():
        assert timezone.now() < deadline


def at_once(steps: Sequence[Callable[[], object]]) -> list[object]:
    """Run steps in threads of their own, begun together; returns what they returned."""
    start, results, errors = threading.Barrier(len(steps)), [], []

    def run(step: Callable[[], object]) -> None:
        try:
            start.wait()
            results.append(step())
        except BaseException as error:
            errors.append(error)
            raise
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    return results
