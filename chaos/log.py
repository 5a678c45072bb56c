"""The trouble-maker's diary: what was done when, and how long it lasted."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

AWAY = "worker away"  # from a worker's SIGTERM to its return
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Entry:
    """One trouble; times are Unix seconds.

    Attributes:
        kind: what was done.
        began, ended: from the blow to the repair; equal where it needs none.
        pid: of the process that was struck, 0 where it was none.
        detail: for the reader.
    """

    kind: str
    began: float
    ended: float
    pid: int = 0
    detail: str = ""


class Diary:
    """Entries from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[Entry] = []

    def add(self, entry: Entry) -> None:
        with self._lock:
            self._entries.append(entry)

    def entries(self, *kinds: str) -> list[Entry]:
        """Entries of these kinds, all without any, in order of their beginning."""
        with self._lock:
            found = [each for each in self._entries if not kinds or each.kind in kinds]
        return sorted(found, key=lambda each: each.began)

    def counts(self) -> dict[str, int]:
        """How often each kind was done; absences are part of what made them."""
        kinds = (each.kind for each in self.entries() if each.kind != AWAY)
        return dict(sorted(Counter(kinds).items()))

    def intervals(self, *kinds: str) -> list[Interval]:
        """When these lasted."""
        return [(each.began, each.ended) for each in self.entries(*kinds)]


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """The same moments without overlaps, in order."""
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
    """The moments that are in every list."""
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
