"""Leases: one process does a piece of work, and another takes over if it dies.

A lease consists of a few columns of the row that the work concerns. The mark identifies the holder,
and a time limits the lease. Each change is one conditional UPDATE whose row count is checked. Only
one of two competing processes gets the lease, and a holder that was wrongly considered dead detects
this at its next step.

The times are wall-clock times, so people and the database can read them. If a clock is set back,
stored times lie too far in the future. `expired` treats such a time as expired, and the sweep
corrects due times (`backups.services.runs.due_times`).

Two leases work differently. The ticker's lease (`backups.ticker`) uses a counter and each process's
monotonic clock, because the sweep that corrects wall-clock times depends on it. The claim of a run
(`backups.services.runs.sending`) never passes to another process: it is the fence before the
request to the cloud.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from .concurrency import retry_while_unavailable

HOLD = 60.0  # seconds to wait for a database that is unreachable or locked


class LeaseLost(Exception):
    """The lease is held by another process, or was withdrawn."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Exclusive right to work on a row.

    Attributes:
        rows: queryset that selects the row, with any further condition for holding the lease.
        mark: columns that identify the holder, with their values.
        hold: seconds to wait for the database.
    """

    rows: QuerySet[Any]
    mark: Mapping[str, Any]
    hold: float = HOLD

    def renew(self, **columns: Any) -> None:
        """Extend the lease.

        Args:
            columns: values to write, such as the new end.

        Raises:
            LeaseLost: the lease is no longer held; nothing was written.
        """
        self._write(columns)

    def release(self, **columns: Any) -> None:
        """Release the lease.

        Args:
            columns: values to write: the result, and values that make the row free.

        Raises:
            LeaseLost: the lease is no longer held; nothing was written.
        """
        self._write(columns)

    def _write(self, columns: Mapping[str, Any]) -> None:
        held = self.rows.filter(**self.mark)
        if not retry_while_unavailable(lambda: held.update(**columns), seconds=self.hold):
            raise LeaseLost


def claim(
    rows: QuerySet[Any], free: Q, mark: Mapping[str, Any], *, hold: float = HOLD, **columns: Any
) -> Lease | None:
    """Acquire the lease of a row.

    Args:
        rows: queryset that selects the row, as for `Lease`.
        free: condition for acquiring it: the row is not leased, or its holder is considered dead.
            It is evaluated again after a retry, and the first attempt might have been committed.
            If the mark is never used twice, include it in the condition.
        mark: columns and values that identify this holder.
        hold: seconds to wait for the database.
        columns: further values to write.

    Returns:
        The lease, or None if the row is not free or does not exist.
    """
    taken = retry_while_unavailable(
        lambda: rows.filter(free).update(**mark, **columns), seconds=hold
    )
    return Lease(rows, mark, hold) if taken else None


def claim_due(
    rows: QuerySet[Any], due: Q, limit: int, mark: Mapping[str, Any], **columns: Any
) -> list[int]:
    """Acquire the leases of due rows, each by one caller only. Takes three queries.

    Args:
        rows: the rows, in the order in which to acquire them.
        due: condition for acquiring a row; false once `mark` is written.
        limit: maximum number of rows.
        mark: columns and values that identify this caller.
        columns: further values to write.

    Returns:
        Primary keys of the acquired rows.
    """
    found = list(rows.filter(due).values_list("pk", flat=True)[:limit])
    if not found:  # even an UPDATE without rows waits for SQLite's write lock
        return []
    chosen = rows.order_by().filter(pk__in=found)
    chosen.filter(due).update(**mark, **columns)
    taken = set(chosen.filter(**mark).values_list("pk", flat=True))
    return [pk for pk in found if pk in taken]


def expired(column: str, limit: timedelta) -> Q:
    """Return the condition for rows whose time has expired.

    A time further in the future than the limit was written before a clock was set back, and is
    treated as expired.

    Args:
        column: column with the time of the last write or claim.
        limit: how long that time is valid.
    """
    now = timezone.now()
    return Q(**{f"{column}__lte": now - limit}) | Q(**{f"{column}__gte": now + limit})
