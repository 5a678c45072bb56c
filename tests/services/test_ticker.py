"""One worker ticks at a time, by monotonic clocks alone, and whatever fails it goes on."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError

from backups import heartbeats, ticker, uptime
from backups.models import Heartbeat, Ticker
from backups.services.runs import sweeping
from backups.ticker import ClockWatch, Lease, Schedule, TickerThread

pytestmark = pytest.mark.django_db


class Clock:
    """Stands for the module `time`; seconds pass when the test says so."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(ticker, "time", clock)
    return clock


def looks(clock: Clock, lease: Lease, seconds: float) -> bool:
    """A process tries to hold the lease once a second."""
    for _ in range(round(seconds)):
        clock.now += 1
        if lease.hold():
            return True
    return False


def test_the_first_ticks_at_once_and_the_second_waits(clock: Clock) -> None:
    first, second = Lease("a:1:0"), Lease("b:2:0")
    assert first.hold()
    for _ in range(60):
        clock.now += 1
        assert not second.hold()
        assert first.hold()
    assert Ticker.objects.get().holder == "a:1:0"


def test_the_lease_of_a_silent_holder_is_taken_over_within_seconds(clock: Clock) -> None:
    first, second = Lease("a:1:0"), Lease("b:2:0")
    assert first.hold()
    assert not second.hold()
    assert not looks(clock, second, ticker.TAKE_OVER_AFTER - 1)
    assert looks(clock, second, 2)
    assert not first.hold(), "it finds that it has been overtaken, and waits for its turn"
    assert not looks(clock, first, ticker.TAKE_OVER_AFTER - 1)


def test_of_two_that_wait_one_takes_over(clock: Clock) -> None:
    Lease("a:1:0").hold()
    waiting = [Lease("b:2:0"), Lease("c:3:0")]
    held: list[str] = []
    for _ in range(10):
        clock.now += 1
        held = [each.holder for each in waiting if each.hold()]
    assert len(held) == 1


@pytest.mark.parametrize("hours", [7, -7])
def test_no_wall_clock_says_who_ticks(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    first, second = Lease("a:1:0"), Lease("b:2:0")
    assert first.hold()
    stepped = timezone.now() + timedelta(hours=hours)
    monkeypatch.setattr(timezone, "now", lambda: stepped)
    for _ in range(10):
        clock.now += 1
        assert not second.hold()
        assert first.hold()


def test_time_in_which_nobody_could_look_counts_for_little(clock: Clock) -> None:
    """The database was away for a minute, or this process was stopped: so perhaps was the holder's
    renewal."""
    first, second = Lease("a:1:0"), Lease("b:2:0")
    assert first.hold()
    assert not second.hold()
    clock.now += 60
    assert not second.hold()
    assert first.hold()


def test_a_holder_that_ends_lets_another_tick_at_once(clock: Clock) -> None:
    first, second = Lease("a:1:0"), Lease("b:2:0")
    assert first.hold()
    assert not second.hold()
    first.release()
    assert second.hold()


def test_the_product_s_clock_counts_what_was_ticked_and_never_goes_back(clock: Clock) -> None:
    first, second = Lease("a:1:0"), Lease("b:2:0")
    assert uptime.now() == 0
    first.hold()
    for _ in range(10):
        clock.now += 1
        first.hold()
    assert uptime.now() == pytest.approx(10)
    clock.now += 3600  # the database was away
    first.hold()
    assert uptime.now() == pytest.approx(12)
    assert uptime.since(10) == pytest.approx(2)
    assert uptime.since(None) == pytest.approx(12)
    first.release()
    clock.now += 3600
    second.hold()
    assert uptime.now() == pytest.approx(12), "nobody ticked meanwhile"


def test_periodic_tasks_are_due_on_a_take_over_and_then_at_their_intervals(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    published: list[str] = []
    monkeypatch.setattr(
        ticker.current_app, "send_task", lambda name, **_options: published.append(name)
    )
    settings.PERIODIC_TASKS = {"a": ("task.a", 60.0), "b": ("task.b", 3600.0)}
    schedule = Schedule()
    schedule.publish_due()
    assert published == ["task.a", "task.b"]
    for _ in range(120):
        clock.now += 1
        schedule.publish_due()
    assert published == ["task.a", "task.b", "task.a", "task.a"]


def test_a_periodic_task_that_could_not_be_published_is_tried_again_soon(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    away, published = [True], []

    def send(name: str, **_options: Any) -> None:
        if away[0]:
            raise BrokerError("away")
        published.append(name)

    monkeypatch.setattr(ticker.current_app, "send_task", send)
    settings.PERIODIC_TASKS = {"daily": ("task.daily", 86_400.0)}
    schedule = Schedule()
    with pytest.raises(BrokerError):
        schedule.publish_due()
    away[0] = False
    clock.now += ticker.PUBLISH_AGAIN
    schedule.publish_due()
    assert published == ["task.daily"]


def test_whatever_fails_the_ticker_goes_on_and_says_so_once(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    settings.PERIODIC_TASKS = {}
    broken = [True]
    swept: list[int] = []

    def sweep(*, clocks: bool) -> None:
        if broken[0]:
            raise OperationalError("server closed the connection\nmore of it")
        swept.append(1)

    monkeypatch.setattr(sweeping, "sweep", sweep)
    monkeypatch.setattr(ticker, "close_old_connections", lambda: None)
    monkeypatch.setattr(ticker.connection, "close", lambda: None)
    thread = TickerThread()
    caplog.set_level(logging.INFO, logger="backups.ticker")
    for _ in range(5):
        clock.now += 1
        thread.tick()
    broken[0] = False
    for _ in range(5):
        clock.now += 1
        thread.tick()
    assert len(swept) == 5
    assert [record.getMessage() for record in caplog.records] == [
        "this worker ticks now",
        "the sweep fails (OperationalError): server closed the connection",
        "the sweep works again",
    ]


def test_a_worker_whose_turn_it_is_not_looks_after_its_own_claims_only(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    Lease("another:1:0").hold()
    done: list[str] = []
    monkeypatch.setattr(sweeping, "sweep", lambda clocks: done.append("sweep"))
    monkeypatch.setattr(sweeping, "take_over_lost_claims", lambda: done.append("own"))
    monkeypatch.setattr(ticker, "close_old_connections", lambda: None)
    TickerThread().tick()
    assert done == ["own"]


def test_due_times_are_looked_at_when_a_clock_may_have_been_set_back(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = [timezone.now()]
    monkeypatch.setattr(ticker.timezone, "now", lambda: wall[0])
    watch = ClockWatch()

    def pass_(seconds: float, by_the_wall: float) -> None:
        clock.now += seconds
        wall[0] += timedelta(seconds=by_the_wall)

    assert watch.may_be_set_back(1), "it has just taken the lease"
    pass_(1, 1.1)
    assert not watch.may_be_set_back(1)
    pass_(1, -3600)
    assert watch.may_be_set_back(1), "an hour back"
    pass_(1, 7200)
    assert not watch.may_be_set_back(1), "times in the past are due anyway"
    pass_(ticker.CLOCKS_EVERY, ticker.CLOCKS_EVERY)
    assert watch.may_be_set_back(1), "another machine's clock"
    assert not watch.may_be_set_back(1)
    assert watch.may_be_set_back(2), "another had the lease in between"


# --- what the pages know ------------------------------------------------------------------------


@pytest.fixture
def watching(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A web process that has just started."""
    clock = Clock()
    monkeypatch.setattr(heartbeats, "time", clock)
    for name in ("_heartbeats", "_ticks"):
        monkeypatch.setattr(heartbeats, name, heartbeats.Watch())
    return clock


def wrote(at: Any, ticks: int = 1) -> None:
    Heartbeat.objects.update_or_create(
        name="w:1:00000000", defaults={"kind": "worker", "seen_at": at, "started_at": at}
    )
    Ticker.objects.update_or_create(pk=1, defaults={"ticks": ticks, "ticked_at": at})


@pytest.mark.parametrize("hours", [7, -7])
def test_a_step_of_a_wall_clock_makes_nobody_absent(watching: Clock, hours: int) -> None:
    """The worker's clock, as against that of the web process, which judges."""
    now = timezone.now()
    wrote(now)
    assert heartbeats.absences() == []
    for second in range(1, 100):
        watching.now += 1
        wrote(now + timedelta(hours=hours, seconds=second), ticks=1 + second)
        assert heartbeats.absences() == []


@pytest.mark.parametrize("hours", [7, -7])
def test_a_step_hides_nobody_s_absence(
    watching: Clock, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    now = timezone.now()
    wrote(now)
    assert heartbeats.absences() == []
    monkeypatch.setattr(timezone, "now", lambda: now + timedelta(hours=hours))
    watching.now += 31
    (absence,) = heartbeats.absences()
    assert (absence.kind, absence.seconds) == ("worker", pytest.approx(31, abs=1))


def test_a_worker_that_reports_and_does_not_sweep_is_told(watching: Clock) -> None:
    now = timezone.now()
    wrote(now)
    for second in range(1, 32):
        watching.now += 1
        wrote(now + timedelta(seconds=second))
        found = heartbeats.absences()
    assert [absence.kind for absence in found] == ["scheduler"]
    wrote(now, ticks=2)
    assert heartbeats.absences() == []


def test_a_web_process_that_starts_late_knows_a_long_absence(watching: Clock) -> None:
    wrote(timezone.now() - timedelta(hours=3))
    (absence,) = heartbeats.absences()
    assert (absence.kind, round(absence.seconds or 0)) == ("worker", 3 * 3600)
