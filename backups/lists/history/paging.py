"""Keyset pages over runs: neither OFFSET nor COUNT, the same speed on any page."""

from __future__ import annotations

import base64
import binascii
import heapq
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection
from django.db.models import Q, QuerySet

from backups.models import BackupRun

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Runs = QuerySet[BackupRun]


class BadCursor(ValueError):
    """The text is no cursor of this page."""


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """A place in the list of runs: the run that stands there.

    Attributes:
        requested_at: when the run was requested, UTC.
        pk: the run.
    """

    requested_at: datetime
    pk: int

    @classmethod
    def of(cls, run: BackupRun) -> Cursor:
        return cls(run.requested_at, run.pk)

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """Read a cursor from a URL.

        Raises:
            BadCursor: it is not one that `encode` made.
        """
        try:
            plain = base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)).decode()
            match = re.fullmatch(r"([0-9]{1,17})-([0-9]{1,18})", plain, re.ASCII)
            if match is None:
                raise BadCursor(text)
            return cls(_EPOCH + timedelta(microseconds=int(match[1])), int(match[2]))
        except (binascii.Error, UnicodeError, OverflowError) as error:
            raise BadCursor(text) from error

    def encode(self) -> str:
        """The cursor for a URL: opaque, not secret."""
        microseconds = (self.requested_at - _EPOCH) // timedelta(microseconds=1)
        return base64.urlsafe_b64encode(f"{microseconds}-{self.pk}".encode()).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class Place:
    """Which page of a list: at one of its ends, or next to a cursor.

    Attributes:
        older: only runs older than this one, the newest of them.
        newer: only runs newer than this one, the oldest of them.
        oldest: the list's oldest runs; without any of the three, its newest.
    """

    older: Cursor | None = None
    newer: Cursor | None = None
    oldest: bool = False

    @property
    def backwards(self) -> bool:
        """Whether the runs nearest to the place are the oldest ones after it."""
        return self.newer is not None or self.oldest


@dataclass(frozen=True, slots=True)
class Page:
    """Runs, newest first, and whether there are more on either side."""

    runs: list[BackupRun]
    has_newer: bool
    has_older: bool


def older_than(runs: Runs, cursor: Cursor) -> Runs:
    """Runs that stand after the cursor in a list of the newest first."""
    # The first condition alone is the range that an index over the time is entered at.
    after = BackupRun.objects.filter(requested_at__lte=cursor.requested_at).filter(
        Q(requested_at__lt=cursor.requested_at) | Q(pk__lt=cursor.pk)
    )
    return _first(after, runs)


def newer_than(runs: Runs, cursor: Cursor) -> Runs:
    """Runs that stand before the cursor in a list of the newest first."""
    before = BackupRun.objects.filter(requested_at__gte=cursor.requested_at).filter(
        Q(requested_at__gt=cursor.requested_at) | Q(pk__gt=cursor.pk)
    )
    return _first(before, runs)


def _first(condition: Runs, runs: Runs) -> Runs:
    """Of two ranges of the time SQLite enters an index at the one that is written first.

    Entered at that of the filter, it would walk from there to the cursor: a page deep in a
    window would take the longer the deeper it is.
    """
    return condition & runs


def read_at(runs: Runs, place: Place) -> Runs:
    """Runs from a place on, in the order of reading: newest first, unless it reads backwards."""
    if place.older is not None:
        runs = older_than(runs, place.older)
    if place.newer is not None:
        runs = newer_than(runs, place.newer)
    if place.backwards:
        return runs.order_by("requested_at", "pk")
    return runs.order_by("-requested_at", "-pk")


def keys_at(branches: Sequence[Runs], place: Place, size: int) -> list[Cursor]:
    """The places of the runs next to a place, in the order of reading.

    Args:
        branches: querysets whose union is the list; a run may be in several. Each is read through
            its own index in the order of time, so that none has to sort what it finds.
        place: where to read.
        size: how many at most.

    Returns:
        Newest first; oldest first where the place reads backwards.
    """
    read = []
    for branch in branches:
        rows = read_at(branch, place).values_list("requested_at", "pk")[:size]
        read.append([Cursor(*row) for row in rows])
    merged = heapq.merge(*read, reverse=not place.backwards)
    return list(dict.fromkeys(merged))[:size]


def read_page(
    branches: Sequence[Runs], listed: Callable[[Runs], Runs], place: Place, size: int
) -> Page:
    """A page of runs.

    Args:
        branches: as in `keys_at`.
        listed: has a queryset read what the page shows of a run.
        place: which page.
        size: its length.
    """
    # SQLite may sort whole rows where it would read their keys in the order of an index.
    if len(branches) == 1 and connection.vendor != "sqlite":
        rows = read_at(branches[0], place)
        runs = list(listed(rows).order_by(*rows.query.order_by)[: size + 1])
    else:
        keys = keys_at(branches, place, size + 1)
        found = listed(BackupRun.objects.all()).in_bulk([key.pk for key in keys])
        runs = [found[key.pk] for key in keys if key.pk in found]
    more, runs = len(runs) > size, runs[:size]
    if place.backwards:
        runs.reverse()
        return Page(runs, has_newer=more, has_older=place.newer is not None)
    return Page(runs, has_newer=place.older is not None, has_older=more)


def count_up_to(branches: Sequence[Runs], cap: int) -> int:
    """How many runs there are in the union of the branches, counted up to `cap` + 1."""
    if len(branches) == 1:
        return branches[0].order_by()[: cap + 1].count()
    seen: set[int] = set()
    for branch in branches:
        seen.update(branch.order_by().values_list("pk", flat=True)[: cap + 1])
        if len(seen) > cap:
            return cap + 1
    return len(seen)
