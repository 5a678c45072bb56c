"""Leases: one process does a piece of work, and another takes over when it dies.

A lease is a few columns of the row that the work is about. The mark says who holds it, a time says
until when. Each change is one conditional UPDATE whose row count is checked, so of two processes
one gets the lease, and a holder that was wrongly taken for dead notices at its next step.

The times are wall-clock times, so that people and the database can read them. A clock that is set
back puts them too far ahead: `expired` counts such a time as over, and due times are pulled in by
the sweep (`backups.services.runs.due_times`).

Two leases are not of this kind. The ticker's (`backups.ticker`) goes by a counter and each
process's monotonic clock, because the sweep that repairs wall-clock times depends on it. The claim
of a run (`backups.services.runs.sending`) never passes to another process: it is the fence before
the request to the cloud.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from .concurrency import retry_while_unavailable

HOLD = 60.0  # seconds to wait for a database that is away or locked


class LeaseLost(Exception):
    """The lease is held by another process, or was withdrawn."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a row.

    Attributes:
        rows: the row, by its primary key and any further condition for holding it.
        mark: the columns that identify the holder, with their values.
        hold: seconds to wait for the database.
    """

    rows: QuerySet[Any]
    mark: Mapping[str, Any]
    hold: float = HOLD

    def renew(self, **columns: Any) -> None:
        """Keep the lease.

        Args:
            columns: what to write, such as the new end.

        Raises:
            LeaseLost: it is no longer held; nothing was written.
        """
        self._write(columns)

    def release(self, **columns: Any) -> None:
        """Give the lease back.

        Args:
            columns: what to write: the result, and values that leave the row free.

        Raises:
            LeaseLost: it is no longer held; nothing was written.
        """
        self._write(columns)

    def _write(self, columns: Mapping[str, Any]) -> None:
        held = self.rows.filter(**self.mark)
        if not retry_while_unavailable(lambda: held.update(**columns), seconds=self.hold):
            raise LeaseLost


def claim(
    rows: QuerySet[Any], free: Q, mark: Mapping[str, Any], *, hold: float = HOLD, **columns: Any
) -> Lease | None:
    """Take the lease of a row.

    Args:
        rows: the row, as for `Lease`.
        free: the condition for taking it: nobody holds it, or the holder is taken for dead. It is
            evaluated again when the database was away; a mark that is never used twice belongs in
            it, in case the first try was committed.
        mark: columns and values that identify this holder.
        hold: seconds to wait for the database.
        columns: what else to write.

    Returns:
        The lease; None where the row is not free, or not there.
    """
    taken = retry_while_unavailable(
        lambda: rows.filter(free).update(**mark, **columns), seconds=hold
    )
    return Lease(rows, mark, hold) if taken else None


def claim_due(
    rows: QuerySet[Any], due: Q, limit: int, mark: Mapping[str, Any], **columns: Any
) -> list[int]:
    """Take the leases of rows that are due: each is given to one caller only. Three queries.

    Args:
        rows: the rows, in the order in which they are taken.
        due: the condition for taking one; false as soon as `mark` is written.
        limit: the most rows to take.
        mark: columns and values that identify this caller.
        columns: what else to write.

    Returns:
        Primary keys.
    """
    found = list(rows.filter(due).values_list("pk", flat=True)[:limit])
    if not found:  # an UPDATE of nothing would still wait for SQLite's lock
        return []
    chosen = rows.order_by().filter(pk__in=found)
    chosen.filter(due).update(**mark, **columns)
    taken = set(chosen.filter(**mark).values_list("pk", flat=True))
    return [pk for pk in found if pk in taken]


def expired(column: str, limit: timedelta) -> Q:
    """The condition for rows whose time is over.

    A time that is further ahead than the limit was written by a clock that has been set back since,
    and counts as over.

    Args:
        column: when the row was last written or claimed.
        limit: for how long that counts.
    """
    now = timezone.now()
    return Q(**{f"{column}__lte": now - limit}) | Q(**{f"{column}__gte": now + limit})
