"""The rate of a project: a bucket in Redis, on Redis' clock, shared by all processes."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from celery import current_app

from backups.services import rate
from backups.services.runs import lanes as lanes_module
from backups.services.runs.lanes import Lanes

_numbers = itertools.count(1)


@pytest.fixture
def bucket(redis_url: str, settings: Any) -> Iterator[str]:
    """The cloud's id of a project that nobody has sent to."""
    settings.BACKUP_BATCH_RATE = 10.0
    rate.close()
    yield f"rate-{next(_numbers)}"
    rate.close()


def test_a_bucket_gives_a_burst_and_then_its_rate(bucket: str) -> None:
    began = time.monotonic()
    assert rate.take(bucket, 100) == 20
    taken = 0
    while taken < 3:
        taken += rate.take(bucket, 3 - taken)
    assert 0.2 <= time.monotonic() - began < 5


def test_a_rate_below_one_in_two_seconds_still_gives_tokens(bucket: str, settings: Any) -> None:
    settings.BACKUP_BATCH_RATE = 0.2
    assert rate.take(bucket, 100) == 1
    assert rate.take(bucket, 1) == 0


def test_a_click_does_not_wait_and_a_batch_waits_for_it(bucket: str) -> None:
    rate.take(bucket, 20)
    for _ in range(5):
        rate.note_request(bucket)
    began = time.monotonic()
    while not rate.take(bucket, 1):
        pass
    assert time.monotonic() - began >= 0.4, "five tokens were owed"


def test_a_429_lowers_the_rate_once_and_it_rises_by_itself(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rate.current(bucket) == 10.0
    for _ in range(20):
        rate.lower(bucket)  # as many as were under way
    lowered = rate.current(bucket)
    assert lowered is not None
    assert 5.0 <= lowered < 6.0
    assert rate.take(bucket, 5) == 0
    monkeypatch.setattr(rate, "CALM", 0.0)
    for _ in range(20):
        rate.lower(bucket)
    lowest = rate.current(bucket)
    assert lowest is not None
    assert 0.5 <= lowest < 0.7
    monkeypatch.setattr(rate, "RECOVERY", 0.1)
    until = time.monotonic() + 5
    while rate.current(bucket) != 10.0:
        assert time.monotonic() < until


def test_an_emptied_redis_starts_with_full_buckets(bucket: str) -> None:
    rate.lower(bucket)
    with current_app.connection_for_write() as broker:
        assert broker.default_channel.client.delete(f"rate:{bucket}") == 1
    assert rate.current(bucket) == 10.0
    assert rate.take(bucket, 100) == 20


def test_each_project_has_its_own(bucket: str) -> None:
    assert rate.take(bucket, 20) == 20
    assert rate.take(f"{bucket}-other", 20) == 20


def test_half_of_the_threads_are_for_one_project_and_one_of_them_for_clicks() -> None:
    lanes = Lanes(threads=6)
    with lanes.enter(1, batch=True) as one, lanes.enter(1, batch=True) as two:
        assert (one, two) == (True, True)
        with lanes.enter(1, batch=True) as refused, lanes.enter(1, batch=False) as click:
            assert (refused, click) == (False, True)
            with lanes.enter(1, batch=False) as full, lanes.enter(2, batch=True) as elsewhere:
                assert (full, elsewhere) == (False, True)
    with lanes.enter(1, batch=True) as again:
        assert again


def test_a_project_that_answers_quickly_earns_lanes_and_loses_them_when_it_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(lanes_module.time, "monotonic", lambda: now[0])
    lanes = Lanes(threads=20)
    with ExitStack() as held:
        taken = 0
        while held.enter_context(lanes.enter(1, batch=True)):
            taken += 1
        assert taken == 9, "at first less than half"
    with ExitStack() as held:
        held.enter_context(lanes.enter(1, batch=True))
        for _ in range(20):
            with lanes.enter(1, batch=True) as free:
                assert free
        taken = 1
        while held.enter_context(lanes.enter(1, batch=True)):
            taken += 1
        assert taken == 15, "four fifths, and one of them for clicks"
        with lanes.enter(1, batch=False) as click, lanes.enter(2, batch=True) as elsewhere:
            assert (click, elsewhere) == (True, True)
        now[0] += lanes_module.SLOW + 1
        with lanes.enter(1, batch=False) as late:
            assert not late, "what is under way takes too long"
    with ExitStack() as held:
        taken = 0
        while held.enter_context(lanes.enter(1, batch=True)):
            taken += 1
        assert taken == 9, "nothing was under way: it starts anew"


def test_a_thread_waits_for_a_lane_if_not_too_many_do() -> None:
    lanes = Lanes(threads=4)
    waits = threading.Event()
    found: list[bool] = []

    def wait() -> None:
        with lanes.enter(1, batch=True, patience=30) as free:
            found.append(free)

    with lanes.enter(1, batch=True):
        thread = threading.Thread(target=wait)
        thread.start()
        deadline = time.monotonic() + 30
        while not lanes._waiting and time.monotonic() < deadline:
            waits.wait(0.01)
        began = time.monotonic()
        with lanes.enter(1, batch=True, patience=30) as second:
            assert not second, "one of four threads waits already"
        assert time.monotonic() - began < 15, "it did not wait"
    thread.join(30)
    assert found == [True]


def test_without_a_worker_lanes_are_not_limited() -> None:
    lanes = Lanes()
    with lanes.enter(1, batch=True) as one, lanes.enter(1, batch=True) as two:
        assert one
        assert two
