"""Which record a POST made: what is proven, what is inferred, and what cannot be told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backups.choices import Evidence
from backups.css_api.types import JobType, LogRecord, LogRecords, RecordStatus
from backups.rules.matching import Match, PostWindow, fits, match, record_keys

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SKEW = timedelta(minutes=5)
RUNNING, SUCCESS = RecordStatus.RUNNING, RecordStatus.SUCCESS


def after(seconds: float | None) -> datetime | None:
    return None if seconds is None else NOON + timedelta(seconds=seconds)


def record(
    key: str = "j1",
    *,
    at: float | None = 0,
    ended: float | None = None,
    job_type: JobType = JobType.MANUAL,
) -> LogRecord:
    status = RUNNING if ended is None else SUCCESS
    return LogRecord("r-" + key, key, status, status.value, job_type, after(at), after(ended))


def window(first: float = -2, last: float = 3, **changes: object) -> PostWindow:
    fields: dict[str, object] = {
        "earliest": after(first),
        "latest": after(last),
        "tolerance": timedelta(seconds=2),
        "skew": SKEW,
        "baseline": frozenset(),
    }
    return PostWindow(**(fields | changes))


def accepted(**changes: object) -> PostWindow:
    return window(accepted=True, answered=NOON, **changes)


def matched(
    rows: list[LogRecord], ours: PostWindow, *rivals: PostWindow, **options: object
) -> Match:
    reading = LogRecords(tuple(rows), options.pop("date", after(1)))
    return match(reading, ours, rivals, options.pop("taken", ()), **options)


def grade(found: Match) -> tuple[str, str] | None:
    return found.record and (found.record.job_id, str(found.evidence))


def test_a_job_that_runs_directly_after_its_acceptance_is_proven():
    assert grade(matched([record()], accepted())) == ("j1", "proven")


def test_a_job_that_is_listed_later_or_after_a_slow_answer_is_inferred():
    """Ours may have ended by then, and not be listed, and somebody else's have begun."""
    assert grade(matched([record()], accepted(), date=after(4))) == ("j1", "inferred")
    assert grade(matched([record(ended=60)], accepted(), date=after(61))) == ("j1", "inferred")
    slow = accepted(earliest=after(-15))
    assert grade(matched([record()], slow)) == ("j1", "inferred")


def test_a_short_job_before_ours_is_not_taken_for_ours():
    """The earliest of two in a window is somebody else's, where it ended before the answer."""
    console, ours = record("console", at=-1, ended=-0.5), record("ours", at=0)
    assert grade(matched([console, ours], accepted())) == ("ours", "proven")
    ended = record("ours", at=0, ended=60)
    found = matched([console, ended], accepted(), date=after(61))
    assert grade(found) == ("ours", "inferred")
    found = matched([console, record("ours", at=0, ended=1)], accepted())
    assert (found.record, len(found.candidates)) == (None, 2), "two that ended at once: not told"


def test_a_job_that_begins_and_ends_before_a_slow_answer_makes_the_next_one_doubtful():
    """Ours may be the one that ended, and the running one somebody else's; or the other way."""
    short, running = record("short", at=0.1, ended=1.8), record("next", at=2)
    slow = window(last=4, accepted=True, answered=after(2))
    assert grade(matched([running], slow, date=after(2))) == ("next", "proven")
    found = matched([short, running], slow, date=after(2))
    assert (found.record, len(found.candidates)) == (None, 2)
    later = matched([short, record("next", at=2, ended=60)], slow, date=after(61))
    assert (later.record, len(later.candidates)) == (None, 2)


def test_a_job_that_ended_before_the_answer_is_inferred_at_most():
    assert grade(matched([record(ended=1)], accepted())) == ("j1", "inferred")


def test_the_job_of_an_unanswered_request_is_inferred_where_it_alone_fits():
    assert grade(matched([record(ended=60)], window())) == ("j1", "inferred")
    assert matched([record("a"), record("b", at=1)], window()).record is None


def test_what_another_post_of_ours_may_have_made_is_credited_to_neither():
    ours, other = accepted(), window(last=60)
    assert matched([record(ended=60)], ours, other).record is None
    assert matched([record(ended=60)], other, ours).record is None
    disjoint = window(first=-60, last=-3)
    assert grade(matched([record()], ours, disjoint)) == ("j1", "proven")


@pytest.mark.parametrize("known", ["j1", "r-j1"])
def test_what_was_listed_before_is_never_ours_under_either_of_its_ids(known):
    assert matched([record()], accepted(baseline=frozenset({known}))) == Match()
    assert matched([record()], accepted(), taken={known}) == Match()


@pytest.mark.parametrize(
    ("at", "fitting"), [(-2.1, False), (-2, True), (0, True), (3, True), (3.1, False)]
)
def test_a_record_outside_the_window_does_not_fit(at, fitting):
    assert fits(record(at=at), window()) is fitting


def test_without_a_baseline_nothing_is_proven():
    assert grade(matched([record()], accepted(baseline=None))) == ("j1", "inferred")


def test_a_date_that_the_records_contradict_proves_nothing():
    future = record("auto", at=7, job_type=JobType.AUTO)
    assert grade(matched([record(), future], accepted())) == ("j1", "inferred")
    assert grade(matched([record()], accepted(), date=None)) == ("j1", "inferred")
    nearby = record("console", at=-120, ended=-110)
    assert grade(matched([record(), nearby], accepted())) == ("j1", "inferred")
    theirs = window(first=-140, last=-100)
    assert grade(matched([record(), nearby], accepted(), theirs)) == ("j1", "proven")


def test_a_job_outside_the_window_is_ours_where_it_contradicts_the_date():
    """`Date` may come from a gateway whose clock differs from that of the jobs."""
    behind = record(at=-200)
    assert grade(matched([behind], accepted())) == ("j1", "inferred"), "it would be a conflict"
    assert grade(matched([record(at=200)], accepted(), date=after(1))) == ("j1", "inferred")
    assert matched([record(at=-200, ended=-100)], accepted()).record is None
    later = {"date": after(600)}
    assert matched([record(at=200)], accepted(), **later).record is None, "somebody else's, later"
    assert matched([behind, record("b", at=200)], accepted(), **later).record is None
    assert matched([behind], window()).record is None, "it was not accepted"
    assert matched([behind], accepted(), window(first=-500, last=-400)).record is None
    assert matched([record(at=-400)], accepted()).record is None


def test_a_record_without_a_time_is_inferred_where_it_is_new():
    assert grade(matched([record(at=None)], accepted())) == ("j1", "inferred")
    assert matched([record(at=None)], accepted(baseline=None)).record is None
    both = matched([record("a", at=None), record("b", at=None)], window())
    assert (both.record, len(both.candidates)) == (None, 2)
    assert matched([replace(record(at=None), finished_at=after(-3))], window()) == Match()


def test_a_record_of_an_unknown_kind_is_never_credited_and_never_overlooked():
    unclear = record(job_type=JobType.UNRECOGNISED)
    assert matched([unclear], accepted()) == Match(candidates=(unclear,))
    assert matched([record(job_type=JobType.AUTO)], accepted()) == Match()


_times = st.floats(-1000, 1000)
_rows = st.lists(
    st.builds(
        record,
        st.text("abc", min_size=1, max_size=2),
        at=st.none() | _times,
        ended=st.none() | _times,
        job_type=st.sampled_from(JobType),
    ),
    max_size=8,
    unique_by=lambda row: row.record_id,
)
_windows = st.builds(
    lambda first, length, is_accepted, keys: window(
        first,
        first + length,
        accepted=is_accepted,
        answered=after(first + length - 3) if is_accepted else None,
        baseline=keys,
    ),
    _times,
    st.floats(0, 100),
    st.booleans(),
    st.none() | st.frozensets(st.text("abc", min_size=1, max_size=2)),
)


@given(_rows, _windows, st.lists(_windows, max_size=3))
def test_what_is_credited_is_new_manual_and_fits_nobody_else(rows, ours, rivals):
    found = matched(rows, ours, *rivals)
    if found.record is None:
        assert found.evidence is Evidence.NONE
        return
    assert found.record.job_type is JobType.MANUAL
    assert not record_keys(found.record) & (ours.baseline or frozenset())
    if found.evidence is Evidence.INFERRED:
        assert not any(fits(found.record, rival) for rival in rivals)
    assert fits(found.record, ours, SKEW)
    if found.evidence is Evidence.PROVEN:
        assert ours.accepted
        assert ours.baseline is not None
        assert fits(found.record, ours)
        assert found.record.created_at <= ours.answered + timedelta(seconds=1)
        assert found.record.status is RUNNING
