"""Import the cloud's own jobs into the history, because the cloud soon deletes their records.

A record may be the job of one of our POSTs and must not be imported as somebody else's. So the
POSTs are loaded after the records were read: they include every POST that can have created one of
the records, because its row is committed before its first byte is sent. Then one transaction
decides on each record:

* it has not ended, or it fits a POST of an active run: it is left for the next reading;
* it is known to be the job of a run that ended without one: that run is corrected (correcting.py);
* it fits such a run, but it is not certain to be its job: it is imported, with a note on whose it
  may be;
* otherwise it is the cloud's own job, and is imported.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from backups import heartbeats
from backups.choices import RunState, Trigger
from backups.css_api.types import JobType, LogRecord, LogRecords, RecordStatus
from backups.models import BackupRun, Cluster, Post, RetentionKind, RunEvent
from backups.rules.matching import fits, record_keys
from backups.services.clusters import protection
from backups.services.retention import deleted_before

from . import seals
from .correcting import correct, late_jobs
from .posts import learn_date, skew, stored_key, taken_keys, window_of, without_job
from .records import job_facts

logger = logging.getLogger(__name__)

MOST = 1_000  # records of one reading
OVERLAP = timedelta(hours=6)  # read again, for records that the cloud lists late
# A record that is left for later makes the readings longer, but for no longer than this.
LONGEST_HOLD = timedelta(days=7)

_ENDS = {RecordStatus.SUCCESS: RunState.SUCCEEDED, RecordStatus.FAIL: RunState.FAILED}


def read_since(cluster: Cluster, posts: Sequence[Post]) -> datetime | None:
    """The creation time, on the cloud's clock, from which to read records; None for all.

    Args:
        cluster: the cluster.
        posts: `without_job` of the cluster: their jobs may be listed late.
    """
    if cluster.imported_until is None:
        return None
    oldest = cluster.imported_until - LONGEST_HOLD
    ours = [window_of(post).earliest - skew() for post in posts]
    return min([cluster.imported_until - OVERLAP, *(at for at in ours if at > oldest)])


def import_jobs(cluster: Cluster, reading: LogRecords, posts: Sequence[Post]) -> int:
    """Store ended jobs that this product did not start, each once, and correct our own runs.

    Args:
        cluster: the cluster of the records.
        reading: as read from the cloud.
        posts: `without_job` of the cluster, loaded before the reading began: the reading closes
            the windows of unanswered POSTs.

    Returns:
        The number of jobs imported by this call.
    """
    learn_date(posts, reading.date)
    with transaction.atomic():
        # Load again: POSTs sent in the meantime may have created these records.
        posts = without_job(cluster)
        waiting = [post for post in posts if post.run.is_active]
        ended = [post for post in posts if not post.run.is_active]
        taken = taken_keys(cluster, reading.rows)
        gone = {key for r in _forgotten(cluster, reading.rows) for key in record_keys(r)}
        late = late_jobs(reading, posts, taken | gone)
        credited = {job.record.record_id for job in late}
        wanted, held = [], []
        for record in reading.rows:
            if record.status not in _ENDS or any(_may_be_of(record, post) for post in waiting):
                held.append(record)
            elif record.record_id not in credited:
                wanted.append(record)
        stored = _store(cluster, wanted, ended, taken)
        _move_on(cluster, reading.rows, held)
        corrected = sum(correct(job) for job in late)
    if stored or corrected:
        logger.info(
            "cluster %s: %d jobs of the cloud imported, %d runs corrected",
            cluster.pk,
            stored,
            corrected,
        )
    return stored


def _may_be_of(record: LogRecord, post: Post) -> bool:
    window = window_of(post)
    # `match` also looks for the job of an accepted POST around its window.
    return fits(record, window, window.skew if window.accepted else timedelta(0))


def _store(
    cluster: Cluster, records: Sequence[LogRecord], ended: Sequence[Post], taken: set[str]
) -> int:
    # A job has one row, even if two entries of clouds.yaml point to its cluster.
    if cluster.imported_until is None:  # the other entry may have stored it long ago
        known = [record for record in records if record_keys(record) & taken]
        _protect(cluster, [r.finished_at for r in known if r.status is RecordStatus.SUCCESS])
    by_key = {stored_key(record): record for record in records if not record_keys(record) & taken}
    if not by_key:
        return 0
    # After the keys were read: a row that retention deletes in between must not be imported again.
    forgotten = _forgotten(cluster, by_key.values())
    for record in forgotten:
        del by_key[stored_key(record)]
    _protect(cluster, [r.finished_at for r in forgotten if r.status is RecordStatus.SUCCESS])
    if not by_key:
        return 0
    now = timezone.now()
    makers = {key: _makers(record, ended) for key, record in by_key.items()}
    # If another import is faster, or a run claims a job, the constraint one_run_per_cloud_job
    # decides. Sorted, so that two imports cannot deadlock.
    BackupRun.objects.bulk_create(
        [_row(cluster, by_key[key], now, makers[key]) for key in sorted(by_key)],
        ignore_conflicts=True,
    )
    mine = cluster.runs.filter(job_id__in=by_key, trigger=Trigger.CLOUD, events=None)
    rows = list(mine)
    RunEvent.objects.bulk_create(
        [
            RunEvent(
                run=row,
                at=now,
                to_state=row.state,
                note=_note(makers[str(row.job_id)])[:500],
                actor=heartbeats.process_name(),
            )
            for row in rows
        ]
    )
    seals.pend_all(rows)
    _protect(cluster, [row.finished_at for row in rows if row.ended_well])
    return len(rows)


def _makers(record: LogRecord, ended: Sequence[Post]) -> list[Post]:
    """Our POSTs that may have created a record which is credited to none of them."""
    return [post for post in ended if fits(record, window_of(post))]


def _protect(cluster: Cluster, ends: Sequence[datetime | None]) -> None:
    verified = [at for at in ends if at is not None]
    newest = max(verified, default=None)
    if newest and (cluster.verified_at is None or newest > cluster.verified_at):
        protection.verified_for(cluster, newest)


def _forgotten(cluster: Cluster, records: Iterable[LogRecord]) -> list[LogRecord]:
    """Records from a time that retention has deleted here and that the cloud still lists."""
    if not (records := list(records)):
        return []
    successes = deleted_before(RetentionKind.SUCCESSES)
    failures = deleted_before(RetentionKind.FAILURES)
    # A run that ended without verification was deleted with the failures, whatever its record says.
    ours_too = failures if failures and cluster.registered_at < failures else None

    def is_forgotten(record: LogRecord) -> bool:
        at = record.finished_at or record.created_at
        cutoff = successes if record.status is RecordStatus.SUCCESS else failures
        if at and cutoff and at < cutoff:
            return True
        manual = record.job_type is not JobType.AUTO
        return bool(manual and ours_too and record.created_at and record.created_at < ours_too)

    return [record for record in records if is_forgotten(record)]


def _row(cluster: Cluster, record: LogRecord, now: datetime, makers: Sequence[Post]) -> BackupRun:
    project = cluster.project
    return BackupRun(
        cluster=cluster,
        project=project,
        cluster_cloud_id=cluster.cluster_id,
        cluster_name=cluster.name,
        cloud=project.cloud,
        region=project.region,
        project_id_in_cloud=project.project_id,
        project_name=project.name,
        requested_by_name=_requested_by(record, makers),
        trigger=Trigger.CLOUD,
        requested_at=record.created_at or record.finished_at or now,
        state=_ENDS[record.status],
        finished_at=record.finished_at or now,
        **job_facts(record),
    )


def _requested_by(record: LogRecord, makers: Sequence[Post]) -> str:
    if record.job_type is JobType.AUTO:
        return "the cloud's schedule"
    if makers:
        return f"not known: {_runs_of(makers)}, or someone in the console"[:255]
    return "someone in the console"


def _runs_of(makers: Sequence[Post]) -> str:
    names = [f"run {post.run_id} (attempt {post.attempt})" for post in makers[:3]]
    return " or ".join(names)


def _note(makers: Sequence[Post]) -> str:
    note = "Imported from the cloud's records"
    if makers:
        note += f". {_runs_of(makers).capitalize()} may have started it; the records do not tell"
    return note


def _move_on(cluster: Cluster, records: Sequence[LogRecord], held: Sequence[LogRecord]) -> None:
    """Store up to which creation time the cloud's jobs have been imported."""
    times = [record.created_at for record in records if record.created_at]
    if not times:
        return
    oldest_hold = max(times) - LONGEST_HOLD
    waiting = [r.created_at for r in held if r.created_at and r.created_at > oldest_hold]
    until = min(waiting, default=max(times))
    # Only if unchanged since the reading began: a concurrent import may have seen more.
    unmoved = Cluster.objects.filter(pk=cluster.pk, imported_until=cluster.imported_until)
    unmoved.update(imported_until=until)
