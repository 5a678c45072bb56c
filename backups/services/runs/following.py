"""Following accepted and unknown runs through the cloud's own records to their end."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from backups import heartbeats, uptime
from backups.choices import Evidence, Outcome, RunState
from backups.css_api.errors import CssApiError
from backups.css_api.types import LogRecord, LogRecords, RecordStatus
from backups.models import BackupRun, Post
from backups.services.cloud import client_for
from dashboard.db.concurrency import retry_while_unavailable

from .call_log import CallLog
from .posts import (
    credit,
    is_closed,
    learn_date,
    match_post,
    skew,
    stored_key,
    stored_keys,
    taken_keys,
    tolerance,
    window_of,
    without_job,
)
from .records import described, job_facts
from .transitions import amend, transition

logger = logging.getLogger(__name__)

FOLLOWED = (RunState.ACCEPTED, RunState.UNKNOWN)
LONGEST_PAUSE = 30.0  # seconds between two readings of a run
ENDED = (RecordStatus.SUCCESS, RecordStatus.FAIL)


def follow_run(run_id: int) -> None:
    """Read the records of a run's cluster once and draw the conclusion.

    Args:
        run_id: primary key; a run that is neither accepted nor unknown is left alone.
    """
    run = BackupRun.objects.filter(pk=run_id, state__in=FOLLOWED).first()
    if run is None or run.sent_at is None:
        return
    # before the reading: it then came after each of them that is not under way
    posts = without_job(run)
    try:
        client = client_for(run, CallLog(run, "records"))
        # What the records do not show, they did not show then: storing may have to wait for the
        # database, and a job that is listed meanwhile must not count as missing.
        read_at, ticked = timezone.now(), uptime.now()
        reading = client.list_log_records(
            run.cluster_cloud_id, newest=1_000, since=_look_back_to(run, posts)
        )
    except CssApiError as error:
        note = f"The cloud's records cannot be read: {error}"
        why = str(error)
        retry_while_unavailable(lambda: _unreadable(copy(run), note, why))
        return
    retry_while_unavailable(lambda: learn_date(posts, reading.date))
    # A copy for each try: one whose COMMIT failed has changed the object and not the row.
    retry_while_unavailable(lambda: _conclude(copy(run), reading, read_at, ticked))


def _look_back_to(run: BackupRun, posts: Sequence[Post]) -> datetime:
    """The earliest creation time that may matter to a run, on the cloud's clock."""
    earliest = [window_of(post).earliest for post in posts if post.run_id == run.pk]
    if run.job_created_at is not None:
        earliest.append(run.job_created_at)
    assert run.sent_at is not None  # noqa: S101 - looked at by follow_run
    return min(earliest, default=run.sent_at) - 2 * skew()


@dataclass(frozen=True, slots=True)
class Found:
    """A run's job in a reading, and what else the reading says.

    Attributes:
        record: the job's record, None where none is known to be it.
        evidence: how well it is known.
        post: the POST that made it; None where that was known before.
        candidates: records that may be it.
        closed: whether the reading came after all that the run's POSTs can have started.
    """

    record: LogRecord | None = None
    evidence: Evidence = Evidence.NONE
    post: Post | None = None
    candidates: tuple[LogRecord, ...] = ()
    closed: bool = True


def find_job(run: BackupRun, reading: LogRecords, read_at: datetime, ticked: float) -> Found:
    """Look for a run's job among its cluster's records.

    Args:
        run: a run that was sent.
        reading: the records.
        read_at: when the reading began, our clock.
        ticked: `uptime.now()` of the same moment.
    """
    if run.job_id is not None:
        known = {run.job_id, run.record_id}
        row = next((r for r in reading.rows if stored_keys([r]) & known), None)
        return Found(row, Evidence(run.evidence))
    posts = without_job(run)
    mine = [post for post in posts if post.run_id == run.pk]
    if run.outcome == Outcome.ACCEPTED and not run.settled_by_hand:
        # what an earlier attempt has started besides is not what was accepted
        mine = [post for post in mine if post.result == Post.Result.ACCEPTED] or mine
    taken = taken_keys(run, reading.rows, but=run)
    candidates: tuple[LogRecord, ...] = ()
    for post in mine:
        found = match_post(post, reading, posts, taken)
        if found.record is not None:
            return Found(found.record, found.evidence, post)
        candidates += found.candidates
    closed = all(is_closed(post, reading.date, read_at, ticked) for post in mine)
    return Found(candidates=candidates, closed=closed)


def _conclude(run: BackupRun, reading: LogRecords, read_at: datetime, ticked: float) -> bool:
    found = find_job(run, reading, read_at, ticked)
    if found.record is None:
        return _no_record(run, ticked, found)
    record, evidence = found.record, found.evidence
    if _was_seen_after_its_end(run, record):
        evidence = Evidence.INFERRED
    facts = job_facts(record) | {"evidence": evidence}
    with transaction.atomic():
        moved = _advance(run, record, facts, ticked, new=found.post is not None)
        if moved and found.post is not None:
            credit(found.post, stored_key(record), evidence)
        return moved


def _was_seen_after_its_end(run: BackupRun, record: LogRecord) -> bool:
    """Whether a job that was proven by running had ended before, by its record: `Date` is wrong."""
    if run.evidence != Evidence.PROVEN or record.finished_at is None:
        return False
    post = run.posts.filter(job_id__in=[run.job_id, run.record_id]).first()
    if post is None or post.date_after is None:
        return False
    return record.finished_at < post.date_after - tolerance()


def _advance(
    run: BackupRun, record: LogRecord, facts: dict[str, Any], ticked: float, *, new: bool
) -> bool:
    what = f" ({described(record, facts['evidence'])})" if new and facts["evidence"] else ""
    if record.status is RecordStatus.SUCCESS:
        return _move(run, RunState.SUCCEEDED, f"The cloud's record says SUCCESS{what}", facts)
    if record.status is RecordStatus.FAIL:
        note = f"The cloud's record says FAIL: {record.failed_message}{what}"
        return _move(run, RunState.FAILED, note, facts)
    if run.run_state is RunState.UNKNOWN:
        note = f"Found in the cloud's records: the request had been taken{what}"
        return _move(run, RunState.ACCEPTED, note, facts | _check_again(run, readable=True))
    return _still_running(run, record, facts, ticked)


def _move(run: BackupRun, to: RunState, note: str, facts: dict[str, Any]) -> bool:
    return transition(run, to, actor=heartbeats.process_name(), note=note, **facts)


def _still_running(run: BackupRun, record: LogRecord, facts: dict[str, Any], ticked: float) -> bool:
    if _waited(run, ticked) > settings.BACKUP_FOLLOW_LIMIT:
        note = f"The cloud still called the job {record.raw_status} when we stopped following it"
        return _move(run, RunState.UNVERIFIED, note, facts)
    event = "" if run.job_id else "Found the cloud's job; it is running"
    note = f"The cloud's job is running ({record.raw_status})"
    return amend(
        run,
        actor=heartbeats.process_name(),
        event=event,
        note=note[:500],
        **facts,
        **_check_again(run, readable=True),
    )


def _no_record(run: BackupRun, ticked: float, found: Found) -> bool:
    """The records were readable, and show no job that is known to be the run's (any more)."""
    if run.run_state is RunState.UNKNOWN:
        return _unknown_stays(run, ticked, found)
    if _is_overdue(run, ticked):
        if run.job_id:
            note = "The job's record has vanished from the cloud before it ended"
        elif found.candidates:
            note = "Accepted, and the cloud's records do not tell which job is this request's"
        else:
            note = "Accepted, but no record of the job appeared in time"
        return _move(run, RunState.UNVERIFIED, note, {})
    note = "Accepted; no record of the job yet"
    return amend(run, note=note, **_check_again(run, readable=not run.job_id))


def _unknown_stays(run: BackupRun, ticked: float, found: Found) -> bool:
    """Whether the cloud took the request is not known, and this reading shows no job of it."""
    waited = _waited(run, ticked)
    # a `Date` that makes no sense must not hold the cluster for ever
    closed = found.closed or waited >= settings.BACKUP_SETTLE_GRACE + 2 * settings.BACKUP_CLOCK_SKEW
    if waited < settings.BACKUP_SETTLE_GRACE or not closed:
        note = "No record of this request yet; the cloud's records are read again"
        # by what cannot be told, no reading settles the run: somebody may have to
        return amend(run, note=note, **_check_again(run, readable=not found.candidates))
    if not found.candidates:
        note = "The cloud's records are readable and show no job of this request"
        return _move(run, RunState.NOT_STARTED, note, {})
    dated = all(record.created_at is not None for record in found.candidates)
    if dated and all(record.status in ENDED for record in found.candidates):
        # no reading to come can say more, and nothing of it runs any more
        note = "The cloud's records show jobs that may be this request's, and do not tell which"
        return _move(run, RunState.UNVERIFIED, note, {})
    note = "The cloud's records show a job that may be this request's, and do not tell"
    return _unreadable(run, note)


def _is_overdue(run: BackupRun, ticked: float) -> bool:
    """Whether the record of an accepted run should have been there for a while."""
    waited = unread(run, ticked) if run.job_id else _waited(run, ticked)
    return waited >= settings.BACKUP_RECORD_GRACE


def _unreadable(run: BackupRun, note: str, why: str = "") -> bool:
    """The records cannot be read, or do not tell: no reason to call a run failed or not started."""
    if run.run_state is RunState.ACCEPTED and unread(run, uptime.now()) >= unreadable_limit():
        note = f"Accepted, but the cloud's records stayed unreadable: {why}"
        return _move(run, RunState.UNVERIFIED, note, {})
    note = note[:500]
    return amend(
        run,
        actor=heartbeats.process_name(),
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


def _waited(run: BackupRun, ticked: float) -> float:
    """Seconds since the request was answered, or since waiting for the answer ended.

    As the product has ticked (`backups.uptime`): neither a step of the wall clock nor time in
    which nobody could read counts.
    """
    return uptime.since(run.step_uptime, ticked)


def unread(run: BackupRun, ticked: float) -> float:
    """Seconds, as the product has ticked, since the records were last readable.

    Where they never were: since the request was answered.
    """
    stamps = [at for at in (run.readable_uptime, run.step_uptime) if at is not None]
    return uptime.since(max(stamps, default=None), ticked)


def _check_again(run: BackupRun, *, readable: bool) -> dict[str, Any]:
    now, ticked = timezone.now(), uptime.now()
    age = _waited(run, ticked)
    at = next_check(now, age)
    ends_in = settings.BACKUP_SETTLE_GRACE - age
    if run.run_state is RunState.UNKNOWN and ends_in > 0:
        at = min(at, now + timedelta(seconds=ends_in))
    changes: dict[str, Any] = {"checks": run.checks + 1, "next_check_at": at}
    if readable:
        changes |= {"records_readable_at": now, "readable_uptime": ticked}
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
    return now + timedelta(seconds=LONGEST_PAUSE)


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
