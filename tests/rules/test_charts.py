"""Where the parts of a chart stand."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from itertools import pairwise

import pytest

from backups.services.statistics import ClusterDay, Day, Mark, ResultGroup, percentile
from backups.views import charts

FIRST = date(2026, 10, 25)


def day(place: int, **counts: int) -> Day:
    return Day(FIRST + timedelta(days=place), {r: counts.get(r.value, 0) for r in ResultGroup})


@pytest.mark.parametrize(
    ("number", "top"),
    [(0, 2), (1, 2), (2, 2), (3, 4), (5, 10), (10, 10), (11, 20), (41, 100), (10_001, 20_000)],
)
def test_the_axis_ends_at_a_round_number_whose_half_is_whole(number: int, top: int) -> None:
    assert charts.round_up(number) == top
    assert top % 2 == 0


def test_bars_stand_on_the_ground_and_never_leave_the_box() -> None:
    chart = charts.stacked([day(0, verified=9_996, failed=1, rejected=1, unproven=1), day(1)])
    parts = chart.bars[0].parts
    assert [part.kind for part in parts] == ["verified", "failed", "rejected", "unproven"]
    assert parts[0].y + parts[0].height == pytest.approx(chart.height, abs=0.2)
    for below, above in pairwise(parts):
        assert above.y + above.height == pytest.approx(below.y, abs=0.2)
    assert parts[-1].y >= 0
    assert chart.bars[1].parts == []
    assert chart.width == 2 * chart.slot


def test_one_failure_among_thousands_can_be_seen() -> None:
    (bar,) = charts.stacked([day(0, verified=100_000, failed=1)]).bars
    assert bar.parts[1].height == charts.LEAST


def test_heights_follow_the_numbers() -> None:
    first, second = charts.stacked([day(0, verified=100), day(1, verified=50)]).bars
    assert first.parts[0].height == pytest.approx(2 * second.parts[0].height, abs=0.2)


def test_the_marks_of_the_strip_differ_in_shape_and_not_in_colour_alone() -> None:
    days = [ClusterDay(FIRST, 1, 1), ClusterDay(FIRST, 0, 2), ClusterDay(FIRST)]
    strip = charts.strip(days)
    assert [cell.part.kind for cell in strip.cells] == [Mark.VERIFIED, Mark.FAILED, Mark.NONE]
    assert len({(cell.part.y, cell.part.height) for cell in strip.cells}) == 3
    assert [cell.x for cell in strip.cells] == [0, 10, 20]
    assert strip.width == 30


@pytest.mark.parametrize(
    ("times", "median", "p95"),
    [
        ({}, None, None),
        ({7: 1}, 7, 7),
        ({1: 1, 2: 1}, 1, 2),
        ({1: 10, 2: 9, 900: 1}, 1, 2),
        (dict.fromkeys(range(1, 101), 1), 50, 95),
        ({5: 0, 9: 3}, 9, 9),
    ],
)
def test_percentiles_are_values_that_occurred(
    times: dict[int, int], median: int | None, p95: int | None
) -> None:
    assert percentile(Counter(times), 50) == median
    assert percentile(Counter(times), 95) == p95
