"""Which record is ours: properties that hold whatever the clocks say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backups.css_api.types import JobType, LogRecord, RecordStatus
from backups.matching import Window, is_placed, match_record, may_be_ours

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SKEW = timedelta(minutes=5)


def record(
    key: str = "j1",
    *,
    at: float | None = 0,
    job_type: JobType = JobType.MANUAL,
    status: RecordStatus = RecordStatus.RUNNING,
) -> LogRecord:
    created = None if at is None else NOON + timedelta(seconds=at)
    return LogRecord("r-" + key, key, status, status.value, job_type, created)


def window(**changes: object) -> Window:
    fields: dict[str, object] = {
        "sent_at": NOON,
        "answered_at": NOON + timedelta(seconds=1),
        "skew": SKEW,
    }
    return Window(**(fields | changes))


@pytest.mark.parametrize(
    ("rows", "claimed", "expected"),
    [
        ([], set(), None),
        ([record()], set(), "j1"),
        ([record()], {"j1"}, None),
        ([record(job_type=JobType.AUTO)], set(), None),
        ([record(job_type=JobType.UNRECOGNISED)], set(), None),
        ([record(at=None)], set(), None),
        ([record(at=-301)], set(), None),
        ([record(at=302)], set(), None),
        ([record("b", at=20), record("a", at=2)], set(), "a"),
        ([record("b", at=20), record("a", at=2)], {"a"}, "b"),
        ([record(status=RecordStatus.FAIL)], set(), "j1"),
    ],
)
def test_without_a_baseline_the_clocks_decide(rows, claimed, expected):
    found = match_record(rows, window(), claimed)
    assert (found and found.job_id) == expected


def test_a_record_that_was_there_before_is_never_ours():
    before = window(
        baseline_known=True, baseline_created_at=NOON - timedelta(seconds=10), baseline_job="old"
    )
    rows = [record("old", at=-10), record("older", at=-60)]
    assert match_record(rows, before, set()) is None
    assert match_record([*rows, record("new", at=1)], before, set()).job_id == "new"


def test_records_in_whole_seconds_still_tell_the_new_from_the_old():
    before = window(baseline_known=True, baseline_created_at=NOON, baseline_job="old")
    found = match_record([record("old", at=0), record("new", at=0)], before, set())
    assert found.job_id == "new"


@given(
    st.lists(
        st.builds(
            record,
            st.text("abc", min_size=1, max_size=2),
            at=st.one_of(st.none(), st.floats(-1000, 1000)),
            job_type=st.sampled_from(JobType),
        ),
        max_size=8,
    ),
    st.sets(st.text("abc", min_size=1, max_size=2)),
    st.one_of(st.none(), st.floats(-1000, 1000)),
)
def test_what_is_matched_is_manual_unclaimed_new_and_within_the_window(rows, claimed, baseline):
    since = None if baseline is None else NOON + timedelta(seconds=baseline)
    seen = window(baseline_known=baseline is not None, baseline_created_at=since)
    found = match_record(rows, seen, claimed)
    if found is None:
        return
    assert found in rows
    assert found.job_type is JobType.MANUAL
    assert found.job_id not in claimed
    if found.created_at is None:
        assert seen.baseline_known
        return
    assert seen.sent_at - SKEW <= found.created_at <= seen.answered_at + SKEW
    assert since is None or found.created_at >= since


def test_a_record_without_a_time_is_ours_where_none_of_its_kind_was_there_before():
    known = window(baseline_known=True)
    assert match_record([record(at=None)], known, ()) == record(at=None)
    assert match_record([record(at=None)], window(), ()) is None, "there was no baseline"
    assert match_record([record("a", at=None), record("b", at=None)], known, ()) is None
    assert match_record([record("a", at=None), record("b", at=2)], known, ()) == record("b", at=2)


@pytest.mark.parametrize(
    ("rows", "claimed", "expected"),
    [
        ([record(at=None)], set(), "j1"),
        ([record(at=None)], {"j1"}, None),
        ([record(at=None, job_type=JobType.AUTO)], set(), None),
        ([record(at=None, job_type=JobType.UNRECOGNISED)], set(), "j1"),
        ([record(at=1, job_type=JobType.UNRECOGNISED)], set(), "j1"),
        ([record(at=-301, job_type=JobType.UNRECOGNISED)], set(), None),
        ([record(at=1, job_type=JobType.UNRECOGNISED)], {"j1"}, None),
        ([replace(record(at=None), finished_at=NOON - SKEW * 2)], set(), None),
        ([replace(record(at=None), finished_at=NOON)], set(), "j1"),
        ([record(at=-301)], set(), None),
    ],
)
def test_what_may_be_ours_is_not_taken_for_no_record(rows, claimed, expected):
    found = may_be_ours(rows, window(), claimed)
    assert (found and found.job_id) == expected


def test_only_a_record_without_a_time_that_nobody_owns_cannot_be_placed():
    assert not is_placed(record(at=None), set())
    assert is_placed(record(at=None), {"j1"})
    assert is_placed(record(at=None, job_type=JobType.AUTO), set())
    assert is_placed(record(), set())
