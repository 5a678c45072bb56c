"""Which of the cloud's records belongs to a run: pure, no I/O.

``POST …/logs/collect`` answers without a job id, so the job has to be recognised among the
cluster's records. "The first RUNNING one" may be somebody else's; this is what counts instead:

* it is Manual: what the cloud's schedule starts is never ours;
* it is newer than the newest record that was there just before the POST (the baseline), where
  that could be read: this compares the cloud's clock with itself;
* it was created between the sending and the end of waiting for the answer, give or take the
  configured difference of clocks;
* no other run has claimed it.

Of several the earliest counts: the cloud runs one log backup a cluster at a time, so ours was
first after our POST.

A record without a time cannot be placed. Where the baseline had none of that kind, and there is one
now, it is new, and so ours. Else it proves nothing, and `may_be_ours` keeps it from counting as
"no record".
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from .css_api.types import JobType, LogRecord


@dataclass(frozen=True, slots=True)
class Window:
    """When, and after what, a run's job was created.

    Attributes:
        sent_at: directly before the request left (our clock).
        answered_at: when the answer, or the end of waiting for one, came (our clock).
        skew: how far the cloud's clock may be off.
        baseline_known: whether the records were readable just before the POST, and each of them
            can be told from a later one (`is_placed`).
        baseline_created_at: creation time of the newest record then (the cloud's clock), None
            when there was none.
        baseline_job: its key.
    """

    sent_at: datetime
    answered_at: datetime
    skew: timedelta
    baseline_known: bool = False
    baseline_created_at: datetime | None = None
    baseline_job: str = ""


def record_key(record: LogRecord) -> str:
    """What identifies a record: its job id, else its record id."""
    return record.job_id or record.record_id


def match_record(
    records: Sequence[LogRecord], window: Window, claimed: Collection[str]
) -> LogRecord | None:
    """The record of the job that a run's POST started.

    Args:
        records: the cluster's records, in any order.
        window: the run's own times and baseline.
        claimed: keys of records that belong to other runs.

    Returns:
        The record, or None when none can be this run's.
    """
    candidates = [record for record in _unclaimed(records, claimed) if _in_window(record, window)]
    if candidates:
        return min(candidates, key=_created)
    undated = [
        record
        for record in _unclaimed(records, claimed)
        if record.created_at is None and not _ended_before(record, window)
    ]
    return undated[0] if window.baseline_known and len(undated) == 1 else None


def may_be_ours(
    records: Sequence[LogRecord], window: Window, claimed: Collection[str]
) -> LogRecord | None:
    """A record that a run's POST may have started, which cannot be told; None where there is none.

    Args:
        records: the cluster's records, in any order; `match_record` found none among them.
        window: the run's own times and baseline.
        claimed: keys of records that belong to other runs.
    """
    for record in records:
        if record.created_at is not None:
            # neither the schedule's nor a person's, as far as the cloud says
            unclear = record.job_type is JobType.UNRECOGNISED and _in_window(record, window)
        else:
            unclear = record.job_type is not JobType.AUTO and not _ended_before(record, window)
        if unclear and record_key(record) not in claimed:
            return record
    return None


def is_placed(record: LogRecord, claimed: Collection[str]) -> bool:
    """Whether a record can be told from one that a later POST starts.

    Args:
        record: as it was read.
        claimed: keys of records that belong to runs.
    """
    return (
        record.created_at is not None
        or record.job_type is JobType.AUTO
        or record_key(record) in claimed
    )


def _unclaimed(records: Sequence[LogRecord], claimed: Collection[str]) -> list[LogRecord]:
    return [
        record
        for record in records
        if record.job_type is JobType.MANUAL
        and record_key(record)
        and record_key(record) not in claimed
    ]


def _ended_before(record: LogRecord, window: Window) -> bool:
    return record.finished_at is not None and record.finished_at < window.sent_at - window.skew


def _in_window(record: LogRecord, window: Window) -> bool:
    created = record.created_at
    if created is None:
        return False
    if window.baseline_known and not _newer_than_baseline(record, created, window):
        return False
    return window.sent_at - window.skew <= created <= window.answered_at + window.skew


def _newer_than_baseline(record: LogRecord, created: datetime, window: Window) -> bool:
    if window.baseline_created_at is None:
        return True
    if record_key(record) == window.baseline_job:
        return False
    return created >= window.baseline_created_at


def _created(record: LogRecord) -> datetime:
    assert record.created_at is not None  # noqa: S101 - _in_window let no other pass
    return record.created_at
