"""Matching of the cloud's records to POSTs. No I/O.

``POST …/logs/collect`` returns no job id, so its job has to be identified among the cluster's
records. The unit is a POST: a run may send several, and two entries of clouds.yaml may point to one
cluster. A record *fits* a POST if

* it is not Auto, that is not started by the cloud's schedule;
* the baseline, read just before the POST, does not list it under either of its two ids;
* it was created within the POST's window.

The window is in the cloud's time, from the ``Date`` of its responses (`PostWindow`). A record is
credited only if it fits no other POST without a job, with one of two grades:

proven
    The POST was accepted quickly, and a reading directly after the response shows this job running.
    It is new since the baseline, and the cloud runs one log backup of a cluster at a time. So it is
    the accepted one, regardless of clocks and other records in the window.
inferred
    It is the only record that fits, or the only one whose job was running when the cloud accepted
    the POST. Somebody else may have started it.

If several fit and this does not single out one, none is credited. docs/run-states.md lists
the assumptions.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backups.choices import Evidence
from backups.css_api.types import JobType, LogRecord, LogRecords, RecordStatus

# Resolution of `Date`, which is rounded down.
SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class PostWindow:
    """The time in which a POST's job can have been created, on the cloud's clock.

    Attributes:
        earliest: `Date` of the baseline's response minus the tolerance. Without a `Date`, our
            clock minus the skew.
        latest: `Date` of the POST's response, or of the first reading after an unanswered POST,
            plus one second for rounding, the tolerance, and the time in which an unanswered POST
            may still be processed. datetime.max while unknown.
        certain: until when a record may be credited. Between this and `latest`, our clock and the
            cloud's disagree about the elapsed time, because one was set. None means `latest`.
        accepted: whether the cloud accepted the request, and so made exactly one job.
        answered: `Date` of the accepting response, None without one.
        tolerance: how far the clocks behind `Date` and `createAt` may differ.
        skew: how far our clock and the cloud's may differ.
        dated: whether a `Date` of the cloud bounds it. Otherwise the window is widened by `skew` on
            both sides when it competes for a record.
        baseline: both ids of every record listed before the POST; None if they could not be read.
    """

    earliest: datetime
    latest: datetime
    certain: datetime | None = None
    accepted: bool = False
    answered: datetime | None = None
    tolerance: timedelta = timedelta(seconds=2)
    skew: timedelta = timedelta(seconds=300)
    dated: bool = True
    baseline: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """Result of matching a reading to a POST.

    Attributes:
        record: the job's record, None if none can be credited.
        evidence: how certain it is.
        candidates: every record that fits; several without a `record` mean an ambiguous result.
    """

    record: LogRecord | None = None
    evidence: Evidence = Evidence.NONE
    candidates: tuple[LogRecord, ...] = ()


def record_key(record: LogRecord) -> str:
    """The id of a record: its job id, or else its record id."""
    return record.job_id or record.record_id


def record_keys(record: LogRecord) -> frozenset[str]:
    """Both ids of a record; the job id may appear later than the record."""
    return frozenset(filter(None, (record.job_id, record.record_id)))


def fits(record: LogRecord, window: PostWindow, slack: timedelta = timedelta(0)) -> bool:
    """Whether a POST may have created a record.

    Args:
        record: as listed.
        window: of the POST.
        slack: widens the window on both sides.
    """
    if record.job_type is JobType.AUTO:
        return False
    if window.baseline is not None and record_keys(record) & window.baseline:
        return False
    earliest = _shifted(window.earliest, -slack)
    if record.created_at is None:
        return record.finished_at is None or record.finished_at >= earliest
    return earliest <= record.created_at <= _shifted(window.latest, slack)


def match(
    reading: LogRecords,
    window: PostWindow,
    rivals: Sequence[PostWindow],
    taken: Collection[str],
) -> Match:
    """Find the record of a POST's job.

    Args:
        reading: the cluster's records.
        window: of the POST.
        rivals: windows of all other POSTs to the cluster without a job.
        taken: ids of records that belong to other runs.
    """
    free = [r for r in reading.rows if not record_keys(r) & frozenset(taken)]
    ours = [record for record in free if fits(record, window)]
    alive = [record for record in ours if _alive_at_the_answer(record, window)]
    around = [record for record in free if fits(record, window, window.skew)]
    others = [record for record in ours if record not in alive]
    if len(alive) == 1 and not any(_came_and_went(each, window) for each in others):
        # A record just outside the window, or one from the future: `Date` may be wrong.
        unexplained = [r for r in around if r not in ours and not _is_contested(r, rivals)]
        doubtful = bool(unexplained) or _clocks_differ(reading, window)
        also = any(_alive_at_the_answer(alive[0], rival) for rival in rivals)
        if _seen_at_once(alive[0], reading, window) and not doubtful and not also:
            return Match(alive[0], Evidence.PROVEN, tuple(ours))
        if not _is_contested(alive[0], rivals) and (not doubtful or len(ours) == 1):
            return Match(alive[0], Evidence.INFERRED, tuple(ours))
    if not ours and len(around) == 1 and _contradicts(around[0], reading, window):
        far = around[0]
        if _is_identifiable(far, window) and not _is_contested(far, rivals, window.skew):
            return Match(far, Evidence.INFERRED, (far,))
    if len(ours) == 1 and _is_identifiable(ours[0], window) and not _is_contested(ours[0], rivals):
        created = ours[0].created_at
        if created is None or window.certain is None or created <= window.certain:
            return Match(ours[0], Evidence.INFERRED, tuple(ours))
    # A running record that was not in the baseline: `Date` may be wrong, so "no job" is uncertain.
    new = [r for r in free if _runs_unlisted(r, window) and not _is_contested(r, rivals)]
    return Match(candidates=(*ours, *(r for r in new if r not in ours)))


def _runs_unlisted(record: LogRecord, window: PostWindow) -> bool:
    if window.baseline is None or window.accepted or record.created_at is None:
        return False
    if record.status is not RecordStatus.RUNNING:
        return False
    return record.job_type is JobType.MANUAL and not record_keys(record) & window.baseline


def _is_identifiable(record: LogRecord, window: PostWindow) -> bool:
    """Whether a single fitting record is sufficient: Manual, and with a time or new."""
    if record.job_type is not JobType.MANUAL or not record_keys(record):
        return False
    return record.created_at is not None or window.baseline is not None


def _alive_at_the_answer(record: LogRecord, window: PostWindow) -> bool:
    if not window.accepted or window.answered is None or window.baseline is None:
        return False
    if record.created_at is None or not _is_identifiable(record, window):
        return False
    if record.created_at > window.answered + SECOND:
        return False
    if record.finished_at is not None:
        return record.finished_at > window.answered + SECOND + window.tolerance
    # Matched readings began after the response.
    return record.status is RecordStatus.RUNNING


def _came_and_went(record: LogRecord, window: PostWindow) -> bool:
    """Whether a job that was not alive at the answer may have begun between baseline and answer.

    It may be the POST's, and the one that was alive somebody else's.
    """
    if record.created_at is None or window.answered is None:
        return True
    began = _shifted(window.earliest, window.tolerance)
    return began <= record.created_at <= window.answered + SECOND


def _seen_at_once(record: LogRecord, reading: LogRecords, window: PostWindow) -> bool:
    """Whether the job was running in a reading directly after the accepting response.

    Baseline, POST and reading are so close together, by the cloud's `Date` alone, that our job
    cannot have started and ended, and another started, in between.
    """
    if record.status is not RecordStatus.RUNNING or window.answered is None:
        return False
    close = SECOND + window.tolerance
    before = window.earliest + window.tolerance
    if reading.date is None or window.answered - before > close:
        return False
    return reading.date - window.answered <= close


def _contradicts(record: LogRecord, reading: LogRecords, window: PostWindow) -> bool:
    """Whether a record shows that `Date` and its own time come from different clocks.

    It is from the future; or it is new and running although the POST was accepted, which would have
    been a conflict if it had really been created before.
    """
    if window.baseline is None or record.created_at is None:
        return False
    if reading.date is not None and record.created_at > reading.date + SECOND + window.tolerance:
        return True
    if not window.accepted:
        return False
    return record.status is RecordStatus.RUNNING and record.created_at < window.earliest


def _clocks_differ(reading: LogRecords, window: PostWindow) -> bool:
    """Whether a record is later than the reading's own `Date`."""
    if reading.date is None:
        return True
    now = reading.date + SECOND + window.tolerance
    return any(
        moment > now
        for record in reading.rows
        for moment in (record.created_at, record.finished_at)
        if moment is not None
    )


def _is_contested(
    record: LogRecord, rivals: Sequence[PostWindow], slack: timedelta = timedelta(0)
) -> bool:
    return any(
        fits(record, rival, slack if rival.dated else slack + rival.skew + rival.tolerance)
        for rival in rivals
    )


def _shifted(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:  # datetime.max: unknown
        return moment
