"""Coordinates of charts, computed from numbers without I/O.

Charts are drawn in a box that the page stretches to its width, so they hold shapes alone; words
stand beside them. Positions are attributes: the Content-Security-Policy allows no style.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.utils.translation import ngettext

from backups.services.statistics import ClusterDay, Day, Mark, ResultGroup

HEIGHT = 200
SLOT = 20  # the width of a day
BAR = 14
# One failure among thousands must be seen.
LEAST = 3
HEADROOM = 4 * LEAST

STRIP_HEIGHT = 40
CELL = 8
CELL_SLOT = 10


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle of one kind.

    Attributes:
        kind: names its colour class.
        x, y, width, height: in the chart's own units.
    """

    kind: str
    x: int
    y: float
    width: int
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One day of the stacked chart: its x position and its rectangles."""

    day: Day
    x: int
    parts: list[Rect]


@dataclass(frozen=True, slots=True)
class StackedChart:
    """Bars of stacked results.

    Attributes:
        bars: a bar for each day, the oldest first.
        top: the number that the upper line stands for.
        width, height: the box.
    """

    bars: list[Bar]
    top: int
    width: int
    height: int = HEIGHT
    slot: int = SLOT

    @property
    def half(self) -> int:
        """The number that the middle line stands for."""
        return self.top // 2

    @property
    def top_line(self) -> float:
        return HEADROOM

    @property
    def middle_line(self) -> float:
        return HEADROOM + (HEIGHT - HEADROOM) / 2


def stacked(days: Sequence[Day]) -> StackedChart:
    """A bar for each day, verified at the bottom."""
    top = round_up(max((day.total for day in days), default=0))
    bars = []
    for place, day in enumerate(days):
        x, y, parts = place * SLOT, float(HEIGHT), []
        for result in ResultGroup:
            if count := day.counts[result]:
                height = max(count * (HEIGHT - HEADROOM) / top, LEAST)
                y -= height
                left = x + (SLOT - BAR) // 2
                parts.append(Rect(str(result), left, round(y, 1), BAR, round(height, 1)))
        bars.append(Bar(day, x, parts))
    return StackedChart(bars, top, width=len(days) * SLOT)


def round_up(number: int) -> int:
    """The next of 2, 4, 10, 20, 40, 100, …: even, so that its half is a whole number."""
    size = 1
    while True:
        for step in (2, 4, 10):
            if number <= step * size:
                return step * size
        size *= 10


@dataclass(frozen=True, slots=True)
class Cell:
    """One day of the strip: its x position and its rectangle."""

    day: ClusterDay
    x: int
    part: Rect


@dataclass(frozen=True, slots=True)
class Strip:
    """A row of cells, the oldest day first, in a box of width and height."""

    cells: list[Cell]
    width: int
    height: int = STRIP_HEIGHT
    slot: int = CELL_SLOT


# Shape tells them apart where colour does not: a full cell, one that hangs, one that lies flat.
_SHAPES: dict[Mark, tuple[float, float]] = {
    Mark.VERIFIED: (0, STRIP_HEIGHT),
    Mark.FAILED: (0, STRIP_HEIGHT * 0.55),
    Mark.NONE: (STRIP_HEIGHT * 0.85, STRIP_HEIGHT * 0.15),
}


def strip(days: Sequence[ClusterDay]) -> Strip:
    """A cell for each day."""
    cells = []
    for place, day in enumerate(days):
        y, height = _SHAPES[day.mark]
        x = place * CELL_SLOT
        part = Rect(str(day.mark), x + 1, round(y, 1), CELL, round(height, 1))
        cells.append(Cell(day, x, part))
    return Strip(cells, width=len(days) * CELL_SLOT)


def counted(counts: Mapping[ResultGroup, int]) -> str:
    """How many runs had each result.

    Args:
        counts: of each result.
    """
    return ", ".join(_phrase(result, count) for result, count in counts.items())


def day_summary(day: ClusterDay) -> str:
    """Number of a cluster's runs on one day that were verified, and that were unsuccessful."""
    verified = ngettext("%(count)d verified", "%(count)d verified", day.verified)
    bad = ngettext("%(count)d unsuccessful", "%(count)d unsuccessful", day.bad)
    return f"{verified % {'count': day.verified}}, {bad % {'count': day.bad}}"


def _phrase(result: ResultGroup, count: int) -> str:
    if result is ResultGroup.VERIFIED:
        text = ngettext("%(count)d verified", "%(count)d verified", count)
    elif result is ResultGroup.FAILED:
        text = ngettext("%(count)d backup failed", "%(count)d backup failed", count)
    elif result is ResultGroup.REJECTED:
        text = ngettext("%(count)d rejected", "%(count)d rejected", count)
    else:
        text = ngettext(
            "%(count)d unknown, not verified or not started",
            "%(count)d unknown, not verified or not started",
            count,
        )
    return text % {"count": count}
