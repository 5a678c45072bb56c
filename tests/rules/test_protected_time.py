"""Protected time: compared with looking at every minute, for random backups and objectives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from backups.rules.protected_time import ZERO, Period, periods, protected_time

T0 = datetime(2026, 3, 1, tzinfo=UTC)
HALF = timedelta(minutes=30)
END = 200  # half hours


def at(step: int) -> datetime:
    return T0 + step * HALF


steps = st.integers(-120, END + 20)
verified_steps = st.lists(steps, max_size=12).map(sorted)


@st.composite
def some_periods(draw: st.DrawFn) -> list[Period]:
    edges = sorted(draw(st.sets(st.integers(0, END), min_size=2, max_size=8)))
    spans = list(pairwise(edges))
    kept = [span for span in spans if draw(st.booleans())]
    return [Period(at(a), at(b), draw(st.integers(1, 40))) for a, b in kept]


def by_looking(counted: list[Period], verified: list[int], known: int | None) -> tuple[int, ...]:
    """Protected, unprotected and unknown half hours, and the longest gap."""
    protected = unprotected = unknown = longest = gap = 0
    for step in range(END):
        period = next((p for p in counted if p.begin <= at(step) < p.end), None)
        if period is None:
            gap = 0
            continue
        reach = 2 * period.hours
        if any(step - reach < v <= step for v in verified):
            protected, gap = protected + 1, 0
        elif known is not None and step - reach < known:
            unknown, gap = unknown + 1, 0
        else:
            unprotected, gap = unprotected + 1, gap + 1
            longest = max(longest, gap)
    return protected, unprotected, unknown, longest


@settings(deadline=None)
@given(some_periods(), verified_steps, st.none() | steps)
def test_it_is_what_looking_at_every_moment_gives(counted, verified, known):
    found = protected_time(
        counted, [at(v) for v in verified], at(known) if known is not None else None
    )
    parts = (found.protected, found.unprotected, found.unknown, found.longest_gap)
    assert tuple(part // HALF for part in parts) == by_looking(counted, verified, known)
    assert found.in_scope == sum((p.end - p.begin for p in counted), ZERO)


@settings(deadline=None)
@given(some_periods(), verified_steps, steps)
def test_another_backup_never_protects_less(counted, verified, more):
    before = protected_time(counted, [at(v) for v in verified])
    after = protected_time(counted, [at(v) for v in sorted([*verified, more])])
    assert after.protected >= before.protected
    assert after.longest_gap <= before.longest_gap


@settings(deadline=None)
@given(some_periods(), verified_steps, st.integers(0, END))
def test_a_period_cut_in_two_is_the_same_time(counted, verified, cut):
    halves = [
        Period(max(p.begin, a), min(p.end, b), p.hours)
        for p in counted
        for a, b in ((at(0), at(cut)), (at(cut), at(END)))
        if max(p.begin, a) < min(p.end, b)
    ]
    moments = [at(v) for v in verified]
    assert protected_time(halves, moments) == protected_time(counted, moments)


@settings(deadline=None)
@given(
    st.lists(st.tuples(steps, st.booleans(), st.none() | st.integers(1, 9)), max_size=6),
    st.lists(st.tuples(steps, st.integers(10, 19)), min_size=1, max_size=4),
)
def test_at_each_moment_the_last_change_before_it_holds(scope, objectives):
    """Also where clocks went back: the order of the changes decides."""
    found = periods(
        [(at(s), on, own) for s, on, own in scope], [(at(s), h) for s, h in objectives], T0, at(END)
    )
    assert all(
        a.end <= b.begin and (a.end < b.begin or a.hours != b.hours) for a, b in pairwise(found)
    )

    def last(changes, step):
        high, holding = None, None
        for change in changes:
            high = change[0] if high is None else max(high, change[0])
            if high <= step:
                holding = change
        return holding

    for step in range(END):
        holds = last(scope, step)
        expected = None
        if holds and holds[1]:
            expected = holds[2] or (last(objectives, step) or objectives[0])[1]
        period = next((p for p in found if p.begin <= at(step) < p.end), None)
        assert (period.hours if period else None) == expected
