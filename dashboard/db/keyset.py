"""Keyset pagination over rows ordered by a time and their primary key.

A page is read from a cursor on, without OFFSET and COUNT, so every page takes the same time
however deep it is, and rows that arrive meanwhile do not shift it.
"""

from __future__ import annotations

import base64
import binascii
import heapq
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from django.db import connection
from django.db.models import Model, Q, QuerySet

M = TypeVar("M", bound=Model)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BadCursor(ValueError):
    """The text is not a cursor."""


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """The position of a row in the list.

    Attributes:
        at: the row's time, UTC.
        pk: its primary key.
    """

    at: datetime
    pk: int

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """Read a cursor from a URL.

        Raises:
            BadCursor: `encode` did not make it.
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
        """The cursor as text for a URL; opaque, but not secret."""
        microseconds = (self.at - _EPOCH) // timedelta(microseconds=1)
        return base64.urlsafe_b64encode(f"{microseconds}-{self.pk}".encode()).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Which page of a list to read; without arguments, the newest rows.

    Attributes:
        older: the newest rows that are older than this cursor.
        newer: the oldest rows that are newer than this cursor.
        oldest: the oldest rows of the list.
    """

    older: Cursor | None = None
    newer: Cursor | None = None
    oldest: bool = False

    @property
    def ascending(self) -> bool:
        """Whether rows are read oldest first."""
        return self.newer is not None or self.oldest


@dataclass(frozen=True, slots=True)
class Page(Generic[M]):
    """Rows, newest first, and whether there are more on either side."""

    rows: list[M]
    has_newer: bool
    has_older: bool


class Keyset(Generic[M]):
    """The order of a table's lists: newest first by one time column, then by primary key.

    Args:
        model: the table.
        time: name of the time column; an index over it and the primary key should exist.
    """

    def __init__(self, model: type[M], time: str) -> None:
        self.model = model
        self.time = time
        self.newest_first = (f"-{time}", "-pk")
        self.oldest_first = (time, "pk")

    def cursor(self, row: M) -> Cursor:
        """The position of a row."""
        return Cursor(getattr(row, self.time), row.pk)

    def older_than(self, rows: QuerySet[M], cursor: Cursor) -> QuerySet[M]:
        """Rows that come after the cursor in a list of the newest first."""
        return self._beyond(rows, "lt", cursor)

    def newer_than(self, rows: QuerySet[M], cursor: Cursor) -> QuerySet[M]:
        """Rows that come before the cursor in a list of the newest first."""
        return self._beyond(rows, "gt", cursor)

    def _beyond(self, rows: QuerySet[M], operator: str, cursor: Cursor) -> QuerySet[M]:
        # The first condition alone is a range of the index over the time. It is written before the
        # caller's conditions: of two ranges SQLite enters the index at the first, and entered at
        # the start of a filter's window it would walk from there to the cursor.
        range_of_index = Q(**{f"{self.time}__{operator}e": cursor.at})
        beyond = Q(**{f"{self.time}__{operator}": cursor.at}) | Q(**{f"pk__{operator}": cursor.pk})
        return self.model._default_manager.filter(range_of_index).filter(beyond) & rows

    def select(self, rows: QuerySet[M], page: PageQuery) -> QuerySet[M]:
        """Rows from the start of a page on, in the order of reading, without a limit."""
        if page.older is not None:
            rows = self.older_than(rows, page.older)
        if page.newer is not None:
            rows = self.newer_than(rows, page.newer)
        return rows.order_by(*(self.oldest_first if page.ascending else self.newest_first))

    def cursors(self, branches: Sequence[QuerySet[M]], page: PageQuery, size: int) -> list[Cursor]:
        """The positions of a page's rows, in the order of reading.

        Args:
            branches: querysets whose union is the list; a row may be in several. Each is read
                through its own index in the list's order, so none has to be sorted.
            page: which page.
            size: maximum number of rows.
        """
        read = []
        for branch in branches:
            keys = self.select(branch, page).values_list(self.time, "pk")[:size]
            read.append([Cursor(*key) for key in keys])
        merged = heapq.merge(*read, reverse=not page.ascending)
        return list(dict.fromkeys(merged))[:size]

    def read(
        self,
        branches: Sequence[QuerySet[M]],
        page: PageQuery,
        size: int,
        prepare: Callable[[QuerySet[M]], QuerySet[M]] = lambda rows: rows,
    ) -> Page[M]:
        """Read a page.

        Args:
            branches: as for `cursors`.
            page: which page.
            size: maximum number of rows.
            prepare: adds to a queryset what the page shows of a row.
        """
        # SQLite may sort whole rows where it would read their keys in the order of an index.
        if len(branches) == 1 and connection.vendor != "sqlite":
            selected = self.select(branches[0], page)
            rows = list(prepare(selected).order_by(*selected.query.order_by)[: size + 1])
        else:
            cursors = self.cursors(branches, page, size + 1)
            found = prepare(self.model._default_manager.all()).in_bulk([c.pk for c in cursors])
            rows = [found[cursor.pk] for cursor in cursors if cursor.pk in found]
        more, rows = len(rows) > size, rows[:size]
        if page.ascending:
            rows.reverse()
            return Page(rows, has_newer=more, has_older=page.newer is not None)
        return Page(rows, has_newer=page.older is not None, has_older=more)


def count_up_to(branches: Sequence[QuerySet[M]], limit: int) -> int:
    """Count the rows in the union of the branches, at most `limit` + 1."""
    if len(branches) == 1:
        return branches[0].order_by()[: limit + 1].count()
    seen: set[int] = set()
    for branch in branches:
        seen.update(branch.order_by().values_list("pk", flat=True)[: limit + 1])
        if len(seen) > limit:
            return limit + 1
    return len(seen)
