"""Injects troubles in three concurrent lanes, each from a seeded deck, and records a diary."""

from __future__ import annotations

import random
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import requests

from simulator.client import ControlError

from .stack import REGIONS, Process, Stack

AWAY = "worker away"  # from a worker's SIGTERM to its return
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class DiaryEntry:
    """One trouble; times are Unix seconds.

    Attributes:
        kind: what was done.
        began, ended: from the fault to its repair; nearly equal if it needs none.
        pid: id of the affected process, 0 for none.
        detail: further information for the reader.
    """

    kind: str
    began: float
    ended: float
    pid: int = 0
    detail: str = ""


class Diary:
    """Entries of several threads; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[DiaryEntry] = []

    def add(self, entry: DiaryEntry) -> None:
        with self._lock:
            self._entries.append(entry)

    def entries(self, *kinds: str) -> list[DiaryEntry]:
        """Entries of these kinds (without any: of all kinds), by start time."""
        with self._lock:
            found = [each for each in self._entries if not kinds or each.kind in kinds]
        return sorted(found, key=lambda each: each.began)

    def counts(self) -> dict[str, int]:
        """Number of entries of each kind, without AWAY, which accompanies another entry."""
        kinds = (each.kind for each in self.entries() if each.kind != AWAY)
        return dict(sorted(Counter(kinds).items()))

    def intervals(self, *kinds: str) -> list[Interval]:
        """The intervals of entries of these kinds."""
        return [(each.began, each.ended) for each in self.entries(*kinds)]


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Merge overlapping intervals; the result is sorted."""
    merged: list[Interval] = []
    for began, ended in sorted(intervals):
        if merged and began <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], ended))
        else:
            merged.append((began, ended))
    return merged


def overlap(intervals: Iterable[Interval], began: float, ended: float) -> float:
    """Seconds of [began, ended] that lie in the intervals."""
    return sum(max(0.0, min(ended, e) - max(began, b)) for b, e in union(intervals))


def intersection(lives: Iterable[list[Interval]]) -> list[Interval]:
    """The intervals that are covered by every list."""
    result: list[Interval] | None = None
    for intervals in lives:
        if result is None:
            result = union(intervals)
            continue
        result = [
            (max(a, c), min(b, d))
            for a, b in result
            for c, d in union(intervals)
            if max(a, c) < min(b, d)
        ]
    return result or []


Trouble = Callable[[random.Random], None]
MIDDLE_OF_A_CLAIM = 4.0  # seconds to wait for a run in SENDING before killing any worker
SECONDS_FOR_ALL = 90.0  # a shorter run has shorter pauses, so that it includes each kind
CONSOLE_FAILURES = 0.4
CLOCK_RANGE = (-150.0, 240.0)  # seconds by which the cloud's clock is off


class TroubleMaker:
    """Injects troubles into a stack for some seconds, and records them.

    A lane starts with the first trouble of its list; then it deals the list repeatedly.

    Args:
        stack: the stack; no other processes are affected.
        seed: determines the order of the troubles.
        clusters: cloud ids, for jobs of the cloud's schedule and console.
        claims: returns the process ids that have a claim now.
        ticking: returns the process id of the worker that ticks, 0 if not known.
    """

    def __init__(
        self,
        stack: Stack,
        seed: int,
        clusters: Sequence[str],
        claims: Callable[[], list[int]],
        ticking: Callable[[], int],
    ) -> None:
        self.diary = Diary()
        self.problems: list[str] = []
        self._stack = stack
        self._seed = seed
        self._clusters = list(clusters)
        self._claims = claims
        self._ticking = ticking
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._clock = CLOCK_RANGE[0]
        self._haste = 1.0

    def start(self, seconds: float) -> None:
        """Start the lanes; after `seconds` they start no further trouble."""
        self._haste = min(1.0, seconds / SECONDS_FOR_ALL)
        self._stack.control.set_clock(self._clock)
        lanes: dict[str, tuple[tuple[float, float], list[Trouble]]] = {
            "workers": (
                (3, 8),
                [
                    *[self.kill_worker] * 4,
                    *[self.terminate_worker] * 2,
                    self.kill_all_workers,
                    *[self.kill_ticker] * 3,
                ],
            ),
            "infrastructure": ((6, 14), [self.restart_redis, self.database_outage]),
            "cloud": (
                (2, 6),
                [
                    self.unreadable_records,
                    self.close_listener,
                    self.expire_tokens,
                    self.identity_trouble,
                    self.move_clock,
                    *[self.automatic_job] * 2,
                    self.console_job,
                ],
            ),
        }
        for name, (pauses, deck) in lanes.items():
            rng = random.Random(f"{self._seed} {name}")  # noqa: S311 - a plan, no secret
            arguments = (rng, pauses, deck, time.monotonic() + seconds)
            thread = threading.Thread(target=self._lane, args=arguments, name=name)
            thread.start()
            self._threads.append(thread)

    def finish(self) -> None:
        """Wait until the lanes have ended."""
        for thread in self._threads:
            thread.join()

    def stop(self) -> None:
        """End the lanes now, without waiting; `Stack.stop` ends what is still running."""
        self._stop.set()
        self.finish()

    def _lane(
        self,
        rng: random.Random,
        pauses: tuple[float, float],
        deck: list[Trouble],
        until: float,
    ) -> None:
        for trouble in _deal(rng, deck):
            pause = rng.uniform(*pauses) * self._haste
            if self._stop.wait(pause) or time.monotonic() >= until:
                return
            try:
                trouble(rng)
            except (ControlError, OSError, requests.RequestException) as error:
                self.problems.append(f"{trouble.__name__}: {error!r}")
            except Exception:
                self.problems.append(traceback.format_exc())
                return

    def _pause(self, seconds: float) -> None:
        self._stop.wait(seconds)

    def _note(self, kind: str, began: float, *, pid: int = 0, detail: str = "") -> None:
        self.diary.add(DiaryEntry(kind, began, time.time(), pid, detail))

    # --- workers ---------------------------------------------------------------------------------

    def kill_worker(self, rng: random.Random) -> None:
        """SIGKILL a worker that has a claim, or any worker if none has one within some seconds."""
        deadline = time.monotonic() + MIDDLE_OF_A_CLAIM
        victim = rng.choice(self._stack.workers)
        while time.monotonic() < deadline and not self._stop.is_set():
            holders = self._claims()
            held = [each for each in self._stack.workers if each.pids[-1] in holders]
            if held:
                victim = rng.choice(held)
                break
            time.sleep(0.02)
        self._pause(rng.choice([0.0, 0.0, rng.uniform(0, 1)]))
        self._kill([victim], rng.uniform(1, 6))

    def kill_all_workers(self, rng: random.Random) -> None:
        """SIGKILL every worker: nothing is sent until one is running again."""
        self._kill(self._stack.workers, rng.uniform(2, 6))

    def _kill(self, victims: Sequence[Process], seconds: float) -> None:
        struck = []
        for victim in victims:
            struck.append((victim, victim.pids[-1], time.time()))
            victim.kill()
        self._pause(seconds)
        for victim, pid, began in struck:
            victim.start()
            self._note("worker SIGKILL", began, pid=pid, detail=victim.program.name)

    def terminate_worker(self, rng: random.Random) -> None:
        """SIGTERM a worker: a deployment or a scale-in."""
        victim = rng.choice(self._stack.workers)
        pid, began = victim.pids[-1], time.time()
        clean = victim.stop()
        self._note(
            "worker SIGTERM" if clean else "worker SIGTERM, killed after its grace",
            began,
            pid=pid,
            detail=victim.program.name,
        )
        self._pause(rng.uniform(0, 2))
        victim.start()
        self.diary.add(DiaryEntry(AWAY, began, time.time(), pid, victim.program.name))

    def kill_ticker(self, rng: random.Random) -> None:
        """SIGKILL the worker that ticks: another takes over."""
        ticking = self._ticking()
        victims = [each for each in self._stack.workers if each.pids[-1] == ticking]
        self._kill(victims, rng.uniform(1, 8))

    # --- broker and database ---------------------------------------------------------------------

    def restart_redis(self, rng: random.Random) -> None:
        """SIGKILL Redis and start it again, empty."""
        began = time.time()
        self._stack.redis.kill()
        self._pause(rng.uniform(0, 5))
        self._stack.start_redis()
        self._note("redis restarted empty", began)

    def database_outage(self, rng: random.Random) -> None:
        """Make the database unavailable for some time."""
        began = time.time()
        detail = self._stack.database.outage(rng, self._pause)
        self._note("database away", began, detail=detail)

    # --- the cloud -------------------------------------------------------------------------------

    def unreadable_records(self, rng: random.Random) -> None:
        """Make the records of all clusters unreadable for some time."""
        ways: list[tuple[str, dict[str, Any]]] = [
            ("status", {"preset": "error_500"}),
            ("status", {"preset": "unavailable"}),
            ("status", {"status": 200, "body_kind": "wrong_shape"}),
            ("reset_before", {}),
        ]
        kind, parameters = rng.choice(ways)
        began = time.time()
        self._stack.control.fault(kind, endpoint="records", **parameters)
        self._pause(rng.uniform(3, 9))
        self._stack.control.clear_faults()
        self._note("records unreadable", began)

    def close_listener(self, rng: random.Random) -> None:
        """Make the second region refuse connections for some time."""
        began = time.time()
        self._stack.control.set_listening(REGIONS[1], listening=False)
        self._pause(rng.uniform(2, 6))
        self._stack.control.set_listening(REGIONS[1], listening=True)
        self._note("listener closed", began)

    def expire_tokens(self, rng: random.Random) -> None:
        """Expire every token: the next request is answered 401."""
        began = time.time()
        self._stack.control.expire_tokens()
        self._note("tokens expired", began)

    def identity_trouble(self, rng: random.Random) -> None:
        """Make the identity service fail for some time, after expiring all tokens."""
        ways: list[tuple[str, dict[str, Any]]] = [
            ("status", {"preset": "error_500"}),
            ("status", {"preset": "throttled"}),
            ("reset_before", {}),
            ("slow", {"seconds": 2}),
        ]
        kind, parameters = rng.choice(ways)
        began = time.time()
        self._stack.control.fault(kind, endpoint="token", **parameters)
        self._stack.control.expire_tokens()
        self._pause(rng.uniform(1, 3))
        self._stack.control.clear_faults()
        self._note("identity trouble", began)

    def move_clock(self, rng: random.Random) -> None:
        """Move the cloud's clock ahead, over time from minutes slow to minutes fast."""
        self._clock = min(CLOCK_RANGE[1], self._clock + rng.uniform(30, 120))
        began = time.time()
        self._stack.control.set_clock(self._clock)
        self._note("cloud clock moved", began, detail=f"{self._clock:+.0f} s")

    def automatic_job(self, rng: random.Random) -> None:
        """Start log backups as the cloud's own schedule does."""
        began = time.time()
        for cluster in rng.sample(self._clusters, min(5, len(self._clusters))):
            self._stack.control.start_job(cluster, duration=rng.uniform(2, 8))
        self._note("automatic jobs", began)

    def console_job(self, rng: random.Random) -> None:
        """Start log backups as a user of the console does; some of them fail."""
        began = time.time()
        for cluster in rng.sample(self._clusters, min(5, len(self._clusters))):
            failed = "started in the console" if rng.random() < CONSOLE_FAILURES else ""
            self._stack.control.start_job(
                cluster, "Manual", duration=rng.uniform(0.5, 6), failed_message=failed
            )
        self._note("console jobs", began)


def _deal(rng: random.Random, deck: list[Trouble]) -> Iterator[Trouble]:
    yield deck[0]
    yield from rng.sample(deck[1:], len(deck) - 1)
    while True:
        yield from rng.sample(deck, len(deck))
