"""The cloud's own jobs become rows of the history, which the cloud itself soon forgets.

A Manual record may belong to a run of ours that has not found it yet, and such a run must never
lose its record to this module. So the order matters: the time is noted, then the records are
read, then one transaction looks at our runs and stores. A run whose POST may have made one of
the records was requested before they were read: it is there, and while it is active, or
where it was requested after the noted time, Manual records that could be its own are left for
the next reading. A run that starts later cannot have made what was read before.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Min, Q
from django.utils import timezone

from backups import presence
from backups.choices import ACTIVE, RunState, Trigger
from backups.css_api.types import JobType, LogRecord, RecordStatus
from backups.matching import match_record
from backups.models import BackupRun, Cluster, Kind, RunEvent

from . import protection
from .records import job_facts, skew, stored_key, window_of
from .retention import deleted_before

logger = logging.getLogger(__name__)

MOST = 1_000  # records of one reading
OVERLAP = timedelta(hours=1)  # read once more, for records that the cloud lists late
# A record that is left for later keeps the readings long; not for longer than this.
LONGEST_HOLD = timedelta(days=7)

_ENDS = {RecordStatus.SUCCESS: RunState.SUCCEEDED, RecordStatus.FAIL: RunState.FAILED}


def read_since(cluster: Cluster) -> datetime | None:
    """From which creation time on (the cloud's clock) records are to be read; None: all."""
    return cluster.imported_until - OVERLAP if cluster.imported_until else None


def import_jobs(cluster: Cluster, records: Sequence[LogRecord], noted: datetime) -> int:
    """Store the ended jobs that this product did not cause, each once.

    Args:
        cluster: whose records they are.
        records: as read from the cloud.
        noted: a time of our clock before the reading began.

    Returns:
        How many were stored by this call.
    """
    with transaction.atomic():
        # Ours, if at all, are those created from here on.
        ours_from = _ours_from(cluster, noted)
        wanted, held = [], []
        for record in records:
            if record.status in _ENDS and not _may_be_ours(record, ours_from):
                wanted.append(record)
            else:
                held.append(record)
        stored = _store(cluster, wanted)
        _move_on(cluster, records, held)
    if stored:
        logger.info("cluster %s: %d jobs of the cloud imported", cluster.pk, stored)
    return stored


def _ours_from(cluster: Cluster, noted: datetime) -> datetime | None:
    """The earliest creation time of a record that an unsettled run of ours may claim.

    None where there is no such run. Following looks no further back than the clocks may differ.
    """
    unsettled = cluster.runs.exclude(trigger=Trigger.CLOUD).filter(
        Q(state__in=ACTIVE) | Q(requested_at__gte=noted)
    )
    earliest: datetime | None = unsettled.aggregate(at=Min("requested_at"))["at"]
    return earliest - skew() if earliest else None


def _may_be_ours(record: LogRecord, ours_from: datetime | None) -> bool:
    if ours_from is None or record.job_type is JobType.AUTO:
        return False
    return record.created_at is None or record.created_at >= ours_from


def _store(cluster: Cluster, records: Sequence[LogRecord]) -> int:
    by_key = {stored_key(record): record for record in records}
    known = cluster.runs.filter(job_id__in=by_key).values_list("job_id", flat=True)
    for key in list(known):
        by_key.pop(str(key), None)
    # after the keys: what retention deletes in between must not look as if it had never been here
    forgotten = _forgotten(cluster, by_key.values())
    for record in forgotten:
        del by_key[stored_key(record)]
    _protect(cluster, [r.finished_at for r in forgotten if r.status is RecordStatus.SUCCESS])
    if not by_key:
        return 0
    now = timezone.now()
    # Another import may be faster, or a run may claim one: one_run_per_cloud_job decides. Sorted,
    # so that two imports never wait for each other crosswise.
    BackupRun.objects.bulk_create(
        [_row(cluster, by_key[key], now) for key in sorted(by_key)], ignore_conflicts=True
    )
    mine = cluster.runs.filter(job_id__in=by_key, trigger=Trigger.CLOUD, events=None)
    rows = list(mine)
    suspects = _suspects(cluster)
    RunEvent.objects.bulk_create(
        [
            RunEvent(
                run=row,
                at=now,
                to_state=row.state,
                note=_note(by_key[str(row.job_id)], suspects)[:500],
                actor=presence.process_name(),
            )
            for row in rows
        ]
    )
    _protect(cluster, [row.finished_at for row in rows if row.ended_well])
    return len(rows)


def _protect(cluster: Cluster, ends: Sequence[datetime | None]) -> None:
    verified = [at for at in ends if at is not None]
    if verified:
        protection.verified(cluster.pk, max(verified))


def _forgotten(cluster: Cluster, records: Iterable[LogRecord]) -> list[LogRecord]:
    """Records of a time that retention has deleted: the cloud may know them longer than we."""
    successes = deleted_before(Kind.SUCCESSES)
    failures = deleted_before(Kind.FAILURES)
    # A run that ended as not verified went with the failures, whatever its record says.
    ours_too = failures if failures and cluster.registered_at < failures else None

    def is_forgotten(record: LogRecord) -> bool:
        at = record.finished_at or record.created_at
        cutoff = successes if record.status is RecordStatus.SUCCESS else failures
        if at and cutoff and at < cutoff:
            return True
        manual = record.job_type is not JobType.AUTO
        return bool(manual and ours_too and record.created_at and record.created_at < ours_too)

    return [record for record in records if is_forgotten(record)]


def _row(cluster: Cluster, record: LogRecord, now: datetime) -> BackupRun:
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
        requested_by_name=_requested_by(record),
        trigger=Trigger.CLOUD,
        requested_at=record.created_at or record.finished_at or now,
        state=_ENDS[record.status],
        finished_at=record.finished_at or now,
        **job_facts(record),
    )


def _requested_by(record: LogRecord) -> str:
    if record.job_type is JobType.AUTO:
        return "the cloud's schedule"
    return "someone in the console"


def _suspects(cluster: Cluster) -> list[BackupRun]:
    """Runs of ours that were sent and ended without finding a record."""
    return list(
        cluster.runs.exclude(trigger=Trigger.CLOUD)
        .filter(state__in=[RunState.UNVERIFIED, RunState.NOT_STARTED], job_id=None)
        .exclude(sent_at=None)
        .order_by("-requested_at")
    )


def _note(record: LogRecord, suspects: Sequence[BackupRun]) -> str:
    note = "Imported from the cloud's records"
    for run in suspects:
        if match_record([record], window_of(run), ()) is not None:
            note += (
                f". Run {run.pk} may have started it: it ended as “{run.state_label}” before the "
                "record was seen"
            )
    return note


def _move_on(cluster: Cluster, records: Sequence[LogRecord], held: Sequence[LogRecord]) -> None:
    """Note up to where the cloud's jobs are in the history."""
    times = [record.created_at for record in records if record.created_at]
    if not times:
        return
    oldest_hold = max(times) - LONGEST_HOLD
    waiting = [r.created_at for r in held if r.created_at and r.created_at > oldest_hold]
    until = min(waiting, default=max(times))
    # Only from where the reading began: an import that ran meanwhile may have seen more.
    unmoved = Cluster.objects.filter(pk=cluster.pk, imported_until=cluster.imported_until)
    unmoved.update(imported_until=until)
