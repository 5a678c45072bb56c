"""How long a cluster was protected: verified backups against the objectives of their time.

A cluster is protected at a moment if its last verified backup is younger than the objective that
holds at this moment. So a verified backup protects for as long as the objective says, a later one
extends that, and a changed objective counts from its change on.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import TypeVar

T = TypeVar("T")
ZERO = timedelta(0)


@dataclass(frozen=True, slots=True)
class Period:
    """A time in which a cluster counts and one objective holds.

    Attributes:
        begin, end: from the first moment until before the second.
        hours: the objective.
    """

    begin: datetime
    end: datetime
    hours: int


@dataclass(frozen=True, slots=True)
class ProtectedTime:
    """How long a cluster was protected.

    Attributes:
        protected: with a verified backup within the objective.
        unprotected: without one.
        unknown: a backup of this time may have been deleted, so neither can be said.
        longest_gap: the longest uninterrupted time without protection.
    """

    protected: timedelta = ZERO
    unprotected: timedelta = ZERO
    unknown: timedelta = ZERO
    longest_gap: timedelta = ZERO

    @property
    def in_scope(self) -> timedelta:
        """The time in which the cluster counts."""
        return self.protected + self.unprotected + self.unknown

    @property
    def share(self) -> str:
        """Protected time in percent of the time that can be judged; see `percent`."""
        return percent(self.protected, self.protected + self.unprotected)


def percent(part: timedelta, whole: timedelta) -> str:
    """A share with two decimals, rounded down: 100.00 is never less than all. "" of nothing."""
    if not whole:
        return ""
    unit = timedelta.resolution  # whole numbers: no rounding, no overflow
    hundredths = part // unit * 10_000 // (whole // unit)
    return f"{hundredths // 100}.{hundredths % 100:02d}"


def periods(
    scope: Sequence[tuple[datetime, bool, int | None]],
    objectives: Sequence[tuple[datetime, int]],
    begin: datetime,
    end: datetime,
) -> list[Period]:
    """When a cluster counts within a range, and with which objective.

    Args:
        scope: its changes in their order: since when, whether it counts, and its own objective.
        objectives: those of its project in their order, at least one: since when, hours. The
            first one also holds before.
        begin, end: the range.
    """
    found: list[Period] = []
    for start, stop, (watched, own) in _spans([(at, (on, own)) for at, on, own in scope], end):
        if not watched:
            continue
        inner = [(start, own)] if own else [(start, objectives[0][1])]
        if not own:
            inner += [(max(start, at), hours) for at, hours in objectives]
        for first, last, hours in _spans(inner, stop):
            first, last = max(first, begin), min(last, end)
            if first >= last:
                continue
            if found and found[-1].end == first and found[-1].hours == hours:
                first = found.pop().begin
            found.append(Period(first, last, hours))
    return found


def _spans(
    changes: Sequence[tuple[datetime, T]], end: datetime
) -> list[tuple[datetime, datetime, T]]:
    """Each value with the time in which it holds.

    The order decides, and a time that goes back (another machine's clock) counts as no time.
    """
    starts = list(accumulate((at for at, _ in changes), max))
    stops = [min(at, end) for at in (*starts[1:], end)][: len(starts)]
    return [(a, b, value) for a, b, (_, value) in zip(starts, stops, changes, strict=True) if a < b]


def protected_time(
    counted: Iterable[Period], verified: Sequence[datetime], known_since: datetime | None = None
) -> ProtectedTime:
    """How long a cluster was protected.

    Args:
        counted: the periods to judge, in order and without overlaps.
        verified: when its verified backups ended, ascending. Of those before the periods only the
            last one matters.
        known_since: earlier backups may have been deleted; None: none was.
    """
    protected = unknown = unprotected = longest = gap = ZERO
    gap_end: datetime | None = None

    def uncovered(begin: datetime, end: datetime, objective: timedelta) -> None:
        """A span without protection: not known, where a deleted backup may have protected it."""
        nonlocal unknown, unprotected, longest, gap, gap_end
        if known_since is not None and begin < (judged := known_since + objective):
            unknown += min(end, judged) - begin
            begin = judged
        if begin >= end:
            return
        unprotected += end - begin
        gap = (gap if gap_end == begin else ZERO) + (end - begin)
        gap_end, longest = end, max(longest, gap)

    for period in counted:
        objective = timedelta(hours=period.hours)
        reached = period.begin
        # the first one that still protects at the beginning
        for at in verified[bisect_right(verified, period.begin - objective) :]:
            if at >= period.end:
                break
            if at > reached:
                uncovered(reached, at, objective)
                reached = at
            until = min(at + objective, period.end)
            if until > reached:
                protected += until - reached
                reached = until
        if reached < period.end:
            uncovered(reached, period.end, objective)
    return ProtectedTime(protected, unprotected, unknown, longest)
