"""Keyset pagination over rows ordered by a time and their primary key.

A page is read starting from a cursor, without OFFSET and COUNT. Every page takes the same time
regardless of its depth, and new rows do not shift it.
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
    """The text is not a valid cursor."""


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """Position of a row in a list.

    Attributes:
        at: time of the row, in UTC.
        pk: primary key of the row.
    """

    at: datetime
    pk: int

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """Parse a cursor from a URL.

        Raises:
            BadCursor: the text was not created by `encode`.
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
        """Return the cursor as text for a URL; opaque, but not secret."""
        microseconds = (self.at - _EPOCH) // timedelta(microseconds=1)
        return base64.urlsafe_b64encode(f"{microseconds}-{self.pk}".encode()).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Selection of a page in a list; without arguments, the newest rows.

    Attributes:
        older: select the newest rows that are older than this cursor.
        newer: select the oldest rows that are newer than this cursor.
        oldest: select the oldest rows of the list.
    """

    older: Cursor | None = None
    newer: Cursor | None = None
    oldest: bool = False

    @property
    def ascending(self) -> bool:
        """True if rows are read oldest first."""
        return self.newer is not None or self.oldest


@dataclass(frozen=True, slots=True)
class Page(Generic[M]):
    """Rows of a page, newest first, and whether there are newer and older rows."""

    rows: list[M]
    has_newer: bool
    has_older: bool


class Keyset(Generic[M]):
    """Keyset pagination for a table, newest first by a time column, then by primary key.

    Args:
        model: model of the table.
        time: name of the time column. There should be an index on it and the primary key.
    """

    def __init__(self, model: type[M], time: str) -> None:
        self.model = model
        self.time = time
        self.newest_first = (f"-{time}", "-pk")
        self.oldest_first = (time, "pk")

    def cursor(self, row: M) -> Cursor:
        """Return the position of a row."""
        return Cursor(getattr(row, self.time), row.pk)

    def older_than(self, rows: QuerySet[M], cursor: Cursor) -> QuerySet[M]:
        """Return the rows that are older than the cursor."""
        return self._beyond(rows, "lt", cursor)

    def newer_than(self, rows: QuerySet[M], cursor: Cursor) -> QuerySet[M]:
        """Return the rows that are newer than the cursor."""
        return self._beyond(rows, "gt", cursor)

    def _beyond(self, rows: QuerySet[M], operator: str, cursor: Cursor) -> QuerySet[M]:
        # The first condition is a range of the time index. It precedes the caller's conditions
        # because SQLite uses the first of two ranges to enter the index. Entering at the start of
        # a filter's time window, it would scan from there to the cursor.
        range_of_index = Q(**{f"{self.time}__{operator}e": cursor.at})
        beyond = Q(**{f"{self.time}__{operator}": cursor.at}) | Q(**{f"pk__{operator}": cursor.pk})
        return self.model._default_manager.filter(range_of_index).filter(beyond) & rows

    def select(self, rows: QuerySet[M], page: PageQuery) -> QuerySet[M]:
        """Return the rows from the start of a page, in reading order, without a limit."""
        if page.older is not None:
            rows = self.older_than(rows, page.older)
        if page.newer is not None:
            rows = self.newer_than(rows, page.newer)
        return rows.order_by(*(self.oldest_first if page.ascending else self.newest_first))

    def cursors(self, branches: Sequence[QuerySet[M]], page: PageQuery, size: int) -> list[Cursor]:
        """Return the positions of a page's rows, in reading order.

        Args:
            branches: querysets whose union is the list; a row can be in several. Each is read in
                list order through its own index, so none needs sorting.
            page: the page to read.
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
            branches: see `cursors`.
            page: the page to read.
            size: maximum number of rows.
            prepare: adds to a queryset the data that the page shows for a row.
        """
        # For whole rows, SQLite sometimes sorts instead of using the index; for keys it uses it.
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
    """Count the rows in the union of the branches, up to `limit` + 1."""
    if len(branches) == 1:
        return branches[0].order_by()[: limit + 1].count()
    seen: set[int] = set()
    for branch in branches:
        seen.update(branch.order_by().values_list("pk", flat=True)[: limit + 1])
        if len(seen) > limit:
            return limit + 1
    return len(seen)
