"""Truth without a hole: random timelines against what the cloud alone knows.

Thousands of small histories of one cluster, played through the real tasks, services and database:
lost answers, late listing, clocks that are wrong or jump, jobs of the console, two entries of
clouds.yaml, dying workers. tests/timelines/script.py says what can happen, oracles.py what must
hold. `make timelines EXAMPLES=20000` plays more, others each time.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from django.db import connection
from hypothesis import HealthCheck, Phase, given, note, seed, settings

from tests.timelines import mutants
from tests.timelines.driver import Driver
from tests.timelines.oracles import Broken, Judge
from tests.timelines.script import Timeline, timelines

PARTS = 8
EXAMPLES = int(os.environ.get("TIMELINES") or ("2000" if connection.vendor == "sqlite" else "200"))
FIRST_SEED = int(os.environ.get("TIMELINES_SEED", "1"))
# Of these, each mutant must have been found out.
ENOUGH = 300

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(0),
]


@pytest.fixture(autouse=True)
def quiet(settings: object) -> Iterator[None]:
    """No cloud but the one in memory, and no log lines of a hundred thousand tasks."""
    settings.AUTO_CONNECT = False  # type: ignore[attr-defined]
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def play(
    judge: Callable[[Timeline, Driver], None], *, examples: int, number: int, shrink: bool
) -> None:
    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=phases,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(timelines())
    def each(timeline: Timeline) -> None:
        driver = Driver(timeline)
        driver.play()
        judge(timeline, driver)

    each()


@pytest.mark.parametrize("part", range(PARTS))
def test_no_timeline_leaves_a_false_word(part: int) -> None:
    seen: Counter[str] = Counter()

    def judge(timeline: Timeline, driver: Driver) -> None:
        note(repr(timeline))
        Judge(driver).check()
        seen.update(driver.figures())

    play(judge, examples=EXAMPLES // PARTS, number=FIRST_SEED * 1000 + part, shrink=True)
    # A timeline in which nothing is known breaks no promise: there must be others.
    for what in ("proven", "inferred", "not_started", "corrected", "imported"):
        assert seen[what] >= EXAMPLES // PARTS // 50, seen


@pytest.mark.parametrize(
    "mutant", mutants.MUTANTS, ids=[mutant.__name__ for mutant in mutants.MUTANTS]
)
def test_timelines_find_out_who_decides_wrongly(
    mutant: Callable[[], AbstractContextManager[None]],
) -> None:
    broken: list[Timeline] = []

    def judge(timeline: Timeline, driver: Driver) -> None:
        try:
            Judge(driver).check()
        except Broken:
            broken.append(timeline)
            raise

    with mutant(), pytest.raises(Broken):
        play(judge, examples=ENOUGH, number=13, shrink=False)
    # the very same timeline, with the decision as it is
    driver = Driver(broken[0])
    driver.play()
    Judge(driver).check()
