"""Follow accepted and unknown runs in the cloud's records until they end."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, ThreadPoolExecutor, wait
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from statistics import median
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Q
from django.utils import timezone

from backups import heartbeats, uptime
from backups.choices import Evidence, Outcome, RunState
from backups.css_api.errors import CssApiError
from backups.css_api.types import LogRecord, LogRecords, RecordStatus
from backups.models import BackupRun, Post
from backups.services.cloud import client_for
from dashboard.db import leases
from dashboard.db.concurrency import retry_while_unavailable, several_reads
from dashboard.db.prepared import Param, Prepared

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
    taken_keys_each,
    tolerance,
    window_of,
    without_job,
    without_job_each,
)
from .records import described, job_facts
from .transitions import amend, transition

logger = logging.getLogger(__name__)

FOLLOWED = (RunState.ACCEPTED, RunState.UNKNOWN)
# until this age in seconds, the pause between two readings while the job has not been found or its
# usual duration is not known: somebody waits for the result, and the cluster is taken meanwhile
PAUSES = ((20.0, 1.0), (120.0, 3.0), (900.0, 10.0))
LONGEST_PAUSE = 30.0  # seconds between two readings of a run
LAST_JOBS = 5  # of a cluster; their median duration predicts the next one
READERS = 50  # threads per process that read records
TOGETHER = 1.0  # seconds that readings wait for each other, to be stored in one transaction
ENDED = (RecordStatus.SUCCESS, RecordStatus.FAIL)


def follow_run(run_id: int) -> None:
    """Read the records of one run's cluster once and draw the conclusion; see `follow_runs`."""
    follow_runs([run_id])


def follow_runs(run_ids: Sequence[int]) -> None:
    """Read the records of several runs' clusters concurrently and draw the conclusions.

    Readings that are complete at the same time are stored in one transaction. A slow cloud delays
    only its own runs.

    Args:
        run_ids: primary keys; a run that is neither accepted nor unknown is ignored.
    """
    with several_reads():
        sent = BackupRun.objects.filter(pk__in=run_ids, state__in=FOLLOWED, sent_at__isnull=False)
        readings = readings_of(list(sent))
    read_and_conclude(readings)


def readings_of(runs: Sequence[BackupRun], ticked: float | None = None) -> list[Reading]:
    """Prepare a reading of each run's records, with what must be known before it begins.

    Call it in a transaction, if possible in one that the caller has anyway.

    Args:
        runs: accepted or unknown runs as they are in the database.
        ticked: `uptime.now()` of just now; None to read it.
    """
    # Before the reading, so that the reading comes after every POST that is not under way.
    # A run whose job is known needs none: the POSTs left are those of other runs.
    posts = without_job_each([run for run in runs if run.job_id is None])
    # Before the reading as well: storing it may have to wait for the database, and a job that
    # is listed in the meantime must not count as missing.
    if ticked is None:
        ticked = uptime.now() if runs else 0.0
    return [Reading(run, posts.get(run.pk, ()), ticked) for run in runs]


def read_and_conclude(readings: Sequence[Reading]) -> None:
    """Read the records concurrently and store the conclusions; see `follow_runs`."""
    if len(readings) == 1:
        readings[0].read()
        _keep(readings)
        return
    under_way = {_readers().submit(reading.read): reading for reading in readings}
    patience: float | None = TOGETHER
    while under_way:
        how = ALL_COMPLETED if patience else FIRST_COMPLETED
        done, _others = wait(under_way, timeout=patience, return_when=how)
        patience = None
        for future in done:
            future.result()
        if done:
            _keep([under_way.pop(future) for future in done])


@cache
def _readers() -> ThreadPoolExecutor:
    """Threads that read records; they do not touch the database."""
    return ThreadPoolExecutor(READERS, "records")


class Reading:
    """One reading of a run's records.

    Args:
        run: the run as it was before the reading.
        posts: `without_job` of its cluster, loaded before the reading, if its job is not known.
        ticked: `uptime.now()` from before the reading.

    Attributes:
        log: the calls.
        records: the result; None if the reading failed.
        error: why it failed.
        read_at: when it began, on our clock.
    """

    def __init__(self, run: BackupRun, posts: Sequence[Post], ticked: float) -> None:
        self.run, self.posts, self.ticked = run, posts, ticked
        self.log = CallLog(run, "records")
        self.records: LogRecords | None = None
        self.error = ""
        self.read_at = timezone.now()

    def read(self) -> None:
        """Read the records from the cloud."""
        try:
            client = client_for(self.run, self.log)
            self.read_at = timezone.now()
            self.records = client.list_log_records(
                self.run.cluster_cloud_id,
                newest=1_000,
                since=_look_back_to(self.run, self.posts),
            )
        except CssApiError as error:
            self.error = str(error)


def _keep(readings: Sequence[Reading]) -> None:
    """Store the readings in one transaction; if that fails, each in its own."""
    try:
        retry_while_unavailable(lambda: _conclude_all(readings))
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        if len(readings) == 1:
            raise
        for reading in readings:
            try:
                retry_while_unavailable(partial(_conclude_all, [reading]))
            except Exception:
                logger.exception("run %s: its reading could not be stored", reading.run.pk)


def _conclude_all(readings: Sequence[Reading]) -> None:
    read = [(each, each.records) for each in readings if each.records is not None]
    for each, records in read:
        learn_date(each.posts, records.date)
    # Load again, after the readings: POSTs sent in the meantime may have created these records.
    posts = without_job_each([each.run for each, _ in read if each.run.job_id is None])
    taken = taken_keys_each([(each.run, records.rows) for each, records in read])
    for each in readings:
        # A copy for each try: one whose COMMIT failed has changed the object but not the row.
        run = copy(each.run)
        if each.records is None:
            _unreadable(run, f"The cloud's records cannot be read: {each.error}", each.error)
        else:
            known = Known(posts.get(run.pk, ()), taken[run.pk])
            _conclude(run, each.records, each.read_at, each.ticked, known)
        # The calls of a reading that changed nothing are not stored.
        if each.records is None or _seen(run) != _seen(each.run):
            each.log.store()


def _seen(run: BackupRun) -> tuple[object, ...]:
    """The columns of a run that a reading can change, without its times and counters."""
    return run.state, run.note, run.job_id, run.record_id, run.evidence


def _look_back_to(run: BackupRun, posts: Sequence[Post]) -> datetime:
    """The earliest creation time of records that are relevant to a run, on the cloud's clock."""
    earliest = [window_of(post).earliest for post in posts if post.run_id == run.pk]
    if run.job_created_at is not None:
        earliest.append(run.job_created_at)
    assert run.sent_at is not None  # noqa: S101 - follow_runs selects such runs only
    return min(earliest, default=run.sent_at) - 2 * skew()


@dataclass(frozen=True, slots=True)
class Found:
    """Result of looking for a run's job in a reading.

    Attributes:
        record: the job's record, None if none can be credited.
        evidence: how certain it is.
        post: the POST that created the job; None if the job was known before.
        candidates: records that may be the job's.
        closed: whether the reading came after everything that the run's POSTs can have started.
    """

    record: LogRecord | None = None
    evidence: Evidence = Evidence.NONE
    post: Post | None = None
    candidates: tuple[LogRecord, ...] = ()
    closed: bool = True


@dataclass(frozen=True, slots=True)
class Known:
    """Data from the database for a reading.

    Attributes:
        posts: `without_job` of the cluster, loaded after the reading, if the run has no job yet.
        taken: `taken_keys` of the reading.
    """

    posts: Sequence[Post]
    taken: set[str]


def find_job(
    run: BackupRun,
    reading: LogRecords,
    read_at: datetime,
    ticked: float,
    known: Known | None = None,
) -> Found:
    """Look for a run's job among its cluster's records.

    Args:
        run: a run that was sent.
        reading: the records.
        read_at: when the reading began, on our clock.
        ticked: `uptime.now()` at the same time or earlier.
        known: data from the database for the reading; None to load it.
    """
    if run.job_id is not None:
        keys = {run.job_id, run.record_id}
        row = next((r for r in reading.rows if stored_keys([r]) & keys), None)
        return Found(row, Evidence(run.evidence))
    if known is None:
        known = Known(without_job(run), taken_keys(run, reading.rows, but=run))
    posts, taken = known.posts, known.taken
    mine = [post for post in posts if post.run_id == run.pk]
    if run.outcome == Outcome.ACCEPTED and not run.settled_by_hand:
        # Other attempts may have started a job as well, but that is not the accepted one.
        mine = [post for post in mine if post.result == Post.Result.ACCEPTED] or mine
    candidates: tuple[LogRecord, ...] = ()
    for post in mine:
        found = match_post(post, reading, posts, taken)
        if found.record is not None:
            return Found(found.record, found.evidence, post)
        candidates += found.candidates
    closed = all(is_closed(post, reading.date, read_at, ticked) for post in mine)
    return Found(candidates=candidates, closed=closed)


def _conclude(
    run: BackupRun,
    reading: LogRecords,
    read_at: datetime,
    ticked: float,
    known: Known | None = None,
) -> bool:
    found = find_job(run, reading, read_at, ticked, known)
    if found.record is None:
        return _no_record(run, ticked, found)
    record, evidence = found.record, found.evidence
    if _was_seen_after_its_end(run, record):
        evidence = Evidence.INFERRED
    facts = job_facts(record) | {"evidence": evidence}
    with transaction.atomic(savepoint=False):
        moved = _advance(run, record, facts, ticked, new=found.post is not None)
        if moved and found.post is not None:
            credit(found.post, stored_key(record), evidence)
        return moved


_ANSWERED = Prepared(
    lambda: (
        Post.objects.filter(run=Param("run"), job_id__in=[Param("job"), Param("record")])
        .order_by("pk")
        .values_list("date_after")[:1]
    )
)


def _was_seen_after_its_end(run: BackupRun, record: LogRecord) -> bool:
    """Whether a proven job, by its record, had ended before its POST was answered.

    Proof requires that it was running after the answer, so a `Date` of the cloud was wrong.
    """
    if run.evidence != Evidence.PROVEN or record.finished_at is None:
        return False
    dates = _ANSWERED.fetch(run=run.pk, job=run.job_id, record=run.record_id)
    date = dates[0][0] if dates else None
    return date is not None and record.finished_at < date - tolerance()


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
    facts.setdefault("checks", run.checks + 1)
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
        **_check_again(run, readable=True, typical=typical_seconds(run)),
    )


def _no_record(run: BackupRun, ticked: float, found: Found) -> bool:
    """Handle readable records that do not show the run's job, or no longer."""
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
    """Handle a run in UNKNOWN that has no job in this reading."""
    waited = _waited(run, ticked)
    # A wrong `Date` must not block the cluster forever.
    closed = found.closed or waited >= settings.BACKUP_SETTLE_GRACE + 2 * settings.BACKUP_CLOCK_SKEW
    if waited < settings.BACKUP_SETTLE_GRACE or not closed:
        note = "No record of this request yet; the cloud's records are read again"
        # With candidates the records count as unreadable: no reading may be able to settle the
        # run, and this allows settling it by hand.
        return amend(run, note=note, **_check_again(run, readable=not found.candidates))
    if not found.candidates:
        note = "The cloud's records are readable and show no job of this request"
        return _move(run, RunState.NOT_STARTED, note, {})
    dated = all(record.created_at is not None for record in found.candidates)
    if dated and all(record.status in ENDED for record in found.candidates):
        # A later reading cannot say more, and none of these jobs is running.
        note = "The cloud's records show jobs that may be this request's, and do not tell which"
        return _move(run, RunState.UNVERIFIED, note, {})
    note = "The cloud's records show a job that may be this request's, and do not tell"
    return _unreadable(run, note)


def _is_overdue(run: BackupRun, ticked: float) -> bool:
    """Whether an accepted run has been without its record for BACKUP_RECORD_GRACE seconds."""
    waited = unread(run, ticked) if run.job_id else _waited(run, ticked)
    return waited >= settings.BACKUP_RECORD_GRACE


def _unreadable(run: BackupRun, note: str, why: str = "") -> bool:
    """Handle records that are unreadable or ambiguous: the run is neither failed nor not started.

    Args:
        run: the run.
        note: for the timeline.
        why: the error of the reading.
    """
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
    """Seconds that an accepted run's records may be unreadable before it ends as UNVERIFIED.

    At least twice BACKUP_CLOCK_SKEW. The ended run has a job that it never saw. If the cluster's
    next run cannot read a baseline either, it claims jobs that were created up to
    BACKUP_CLOCK_SKEW before its own request, and the job's time may be off by as much.
    """
    limit: float = max(settings.BACKUP_UNREADABLE_LIMIT, 2 * settings.BACKUP_CLOCK_SKEW)
    return limit


def _waited(run: BackupRun, ticked: float) -> float:
    """Seconds since the request was answered, or since waiting for the answer ended.

    Measured by the product's own clock (`backups.uptime`), so neither a step of the wall clock nor
    time in which nothing could be read counts.
    """
    return uptime.since(run.step_uptime, ticked)


def unread(run: BackupRun, ticked: float) -> float:
    """Seconds, by the product's own clock, since the records were last readable.

    If they never were: since the request was answered.
    """
    stamps = [at for at in (run.readable_uptime, run.step_uptime) if at is not None]
    return uptime.since(max(stamps, default=None), ticked)


def _check_again(run: BackupRun, *, readable: bool, typical: float | None = None) -> dict[str, Any]:
    now, ticked = timezone.now(), uptime.now()
    age = _waited(run, ticked)
    at = next_check(now, age, typical)
    grace = settings.BACKUP_SETTLE_GRACE
    if run.run_state is RunState.ACCEPTED:
        grace = settings.BACKUP_RECORD_GRACE
    if typical is None and grace > age:  # when the grace ends, a missing record is conclusive
        at = min(at, now + timedelta(seconds=grace - age))
    changes: dict[str, Any] = {"checks": run.checks + 1, "next_check_at": at}
    if readable:
        changes |= {"records_readable_at": now, "readable_uptime": ticked}
    return changes


def next_check(now: datetime, age: float, typical: float | None = None) -> datetime:
    """When to read the records again: when the job should have ended, then less and less often.

    Args:
        now: the current time.
        age: seconds since the request was answered.
        typical: seconds that a job of this cluster usually takes, None if that is not known or the
            job has not been found.
    """
    if typical is None:
        pause = next((pause for limit, pause in PAUSES if age < limit), LONGEST_PAUSE)
    elif age < typical:
        pause = typical - age
    else:
        pause = age - typical
    return now + timedelta(seconds=min(max(pause, 1.0), LONGEST_PAUSE))


_LAST_JOBS = Prepared(
    lambda: (
        BackupRun.objects.filter(cluster=Param("cluster"), state=RunState.SUCCEEDED)
        .order_by("-requested_at", "-id")
        .values_list("job_created_at", "job_finished_at")[:LAST_JOBS]
    )
)


def typical_seconds(run: BackupRun) -> float | None:
    """How long a job of a run's cluster usually takes: the median of its latest jobs.

    Returns:
        Seconds, plus 10 % because records are listed a little late; None without earlier jobs.
    """
    times = _LAST_JOBS.fetch(cluster=run.cluster_id)
    lasted = [(end - begin).total_seconds() for begin, end in times if begin and end]
    return 1.1 * median(lasted) if lasted else None


_DUE = Prepared(
    lambda: (
        BackupRun.objects.filter(state__in=FOLLOWED, next_check_at__lte=Param("now"))
        .order_by()
        .values_list("pk")[:1]
    )
)


def due_for_check(limit: int) -> list[int]:
    """Lease the runs whose records are due, so that each goes to one sweep only.

    The lease is as long as the task is valid (`dispatch_follow`). If the broker restarts empty, or
    a worker is killed while reading, a run is delayed by no more than that.

    Args:
        limit: maximum number of runs.

    Returns:
        Their primary keys. Their next check is moved ahead, in case the task is lost.
    """
    now = timezone.now()
    if not _DUE.fetch(now=now):
        return []
    lease = now + timedelta(seconds=settings.BACKUP_REDISPATCH_AFTER)
    return leases.claim_due(
        BackupRun.objects.filter(state__in=FOLLOWED).order_by("next_check_at"),
        Q(next_check_at__lte=now),
        limit,
        mark={"next_check_at": lease},
    )
