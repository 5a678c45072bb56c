"""Following accepted and unknown runs through the cloud's own records to their end."""

from __future__ import annotations

import logging
from copy import copy
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from backups import presence
from backups.choices import RunState
from backups.css_api.errors import CssApiError
from backups.css_api.types import LogRecord, RecordStatus
from backups.matching import match_record, may_be_ours, record_key
from backups.models import BackupRun
from dashboard.database import hold_and_retry

from .calls import CallLog
from .cloud import client_for
from .records import claimed_keys, is_anothers, job_facts, skew, stored_key, window_of
from .transitions import amend, transition

logger = logging.getLogger(__name__)

FOLLOWED = (RunState.ACCEPTED, RunState.UNKNOWN)


def follow_run(run_id: int) -> None:
    """Read the records of a run's cluster once and draw the conclusion.

    Args:
        run_id: primary key; a run that is neither accepted nor unknown is left alone.
    """
    run = BackupRun.objects.filter(pk=run_id, state__in=FOLLOWED).first()
    if run is None or run.sent_at is None:
        return
    try:
        client = client_for(run, CallLog(run, "records"))
        # What the records do not show, they did not show then: storing may have to wait for the
        # database, and a job that is listed meanwhile must not count as missing.
        read_at = timezone.now()
        records = client.list_log_records(
            run.cluster_cloud_id, newest=100, since=run.sent_at - 2 * skew()
        )
    except CssApiError as error:
        note = f"The cloud's records cannot be read: {error}"
        why = str(error)
        hold_and_retry(lambda: _unreadable(copy(run), note, why))
        return
    # A copy for each try: one whose COMMIT failed has changed the object and not the row.
    hold_and_retry(lambda: _conclude(copy(run), records, read_at))


def _conclude(run: BackupRun, records: tuple[LogRecord, ...], read_at: datetime) -> bool:
    record = _find(run, records)
    if record is None:
        if run.run_state is RunState.UNKNOWN and may_be_ours(
            records, window_of(run), claimed_keys(run, records)
        ):
            return _unreadable(
                run,
                "The cloud's records show a job that may be this request's, and do not tell",
            )
        return _no_record(run, read_at)
    facts = job_facts(record)
    if record.status is RecordStatus.SUCCESS:
        note = "The cloud's record says SUCCESS"
        return _move(run, RunState.SUCCEEDED, note, facts)
    if record.status is RecordStatus.FAIL:
        note = f"The cloud's record says FAIL: {record.failed_message}"
        return _move(run, RunState.FAILED, note, facts)
    if run.run_state is RunState.UNKNOWN:
        note = "Found in the cloud's records: the request had been taken"
        return _move(run, RunState.ACCEPTED, note, facts | _check_again(run, readable=True))
    return _still_running(run, record, facts, read_at)


def _find(run: BackupRun, records: tuple[LogRecord, ...]) -> LogRecord | None:
    if run.job_id is not None:
        return next((r for r in records if stored_key(r) == run.job_id), None)
    claimed = claimed_keys(run, records)
    while (found := match_record(records, window_of(run), claimed)) and is_anothers(run, found):
        claimed.add(record_key(found))
    return found


def _move(run: BackupRun, to: RunState, note: str, facts: dict[str, Any]) -> bool:
    return transition(run, to, actor=presence.process_name(), note=note, **facts)


def _still_running(
    run: BackupRun, record: LogRecord, facts: dict[str, Any], read_at: datetime
) -> bool:
    if _age(run, read_at) > settings.BACKUP_FOLLOW_LIMIT:
        note = f"The cloud still called the job {record.raw_status} when we stopped following it"
        return _move(run, RunState.UNVERIFIED, note, facts)
    event = "" if run.job_id else "Found the cloud's job; it is running"
    note = f"The cloud's job is running ({record.raw_status})"
    return amend(
        run,
        actor=presence.process_name(),
        event=event,
        note=note[:500],
        **facts,
        **_check_again(run, readable=True),
    )


def _no_record(run: BackupRun, read_at: datetime) -> bool:
    """The records were readable at a time of ours, and held none of ours (any more)."""
    if run.run_state is RunState.UNKNOWN:
        if _age(run, read_at) >= settings.BACKUP_SETTLE_GRACE:
            note = "The cloud's records are readable and show no job of this request"
            return _move(run, RunState.NOT_STARTED, note, {})
        note = "No record of this request yet; the cloud's records are read again"
    else:
        last_seen = run.records_readable_at if run.job_id else run.answered_at
        since = last_seen or run.requested_at
        if (read_at - since).total_seconds() >= settings.BACKUP_RECORD_GRACE:
            gone = "The job's record has vanished from the cloud before it ended"
            never = "Accepted, but no record of the job appeared in time"
            return _move(run, RunState.UNVERIFIED, gone if run.job_id else never, {})
        note = "Accepted; no record of the job yet"
    return amend(run, note=note, **_check_again(run, readable=not run.job_id))


def _unreadable(run: BackupRun, note: str, why: str = "") -> bool:
    """The records cannot be read, or do not tell: no reason to call a run failed or not started."""
    if run.run_state is RunState.ACCEPTED:
        readable = run.records_readable_at or run.answered_at or run.requested_at
        if (timezone.now() - readable).total_seconds() >= unreadable_limit():
            note = f"Accepted, but the cloud's records stayed unreadable: {why}"
            return _move(run, RunState.UNVERIFIED, note, {})
    note = note[:500]
    return amend(
        run,
        actor=presence.process_name(),
        event=note if run.note != note else "",
        note=note,
        **_check_again(run, readable=False),
    )


def unreadable_limit() -> float:
    """Seconds for which the records of an accepted run may be unreadable before it is given up.

    Never less than twice the difference of clocks. A run that is given up has a job which it never
    saw, and the cluster's next run, where it could not read a baseline either, claims what was
    created from BACKUP_CLOCK_SKEW before its own request on; the job's time may be off as much.
    """
    limit: float = max(settings.BACKUP_UNREADABLE_LIMIT, 2 * settings.BACKUP_CLOCK_SKEW)
    return limit


def _age(run: BackupRun, at: datetime) -> float:
    """Seconds since the request was answered, or since waiting for the answer ended."""
    since = run.answered_at or run.sent_at or run.requested_at
    return (at - since).total_seconds()


def _check_again(run: BackupRun, *, readable: bool) -> dict[str, Any]:
    now = timezone.now()
    changes: dict[str, Any] = {
        "checks": run.checks + 1,
        "next_check_at": next_check(now, _age(run, now)),
    }
    if readable:
        changes["records_readable_at"] = now
    return changes


def next_check(now: datetime, age: float) -> datetime:
    """When the records are read again: often at first, seldom in a long job.

    Args:
        now: the present.
        age: seconds since the request was answered.
    """
    for limit, pause in ((20.0, 1.0), (120.0, 3.0), (900.0, 10.0)):
        if age < limit:
            return now + timedelta(seconds=pause)
    return now + timedelta(seconds=30)


def due_for_check(limit: int) -> list[int]:
    """Lease the runs whose records are due: each is given to one sweep only.

    The lease is as long as the task is worth something (`dispatch_follow`): a broker that was
    restarted empty, or a worker that was killed while it read, costs no more than that.

    Args:
        limit: the most runs to take.

    Returns:
        Their primary keys; their next check is moved ahead in case the task is lost.
    """
    now = timezone.now()
    lease = now + timedelta(seconds=settings.BACKUP_REDISPATCH_AFTER)
    with transaction.atomic():
        due = BackupRun.objects.filter(state__in=FOLLOWED, next_check_at__lte=now)
        ids = list(due.order_by("next_check_at").values_list("pk", flat=True)[:limit])
        return [
            pk
            for pk in ids
            if BackupRun.objects.filter(pk=pk, next_check_at__lte=now).update(next_check_at=lease)
        ]
