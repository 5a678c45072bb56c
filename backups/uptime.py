"""The product's own clock: the seconds for which it has been ticking (`models.Ticker`).

Limits use it rather than the wall clock, which may be stepped by hours. It stops while no worker
sweeps, so a run is not charged for time in which nothing could be read.
"""

from __future__ import annotations

from django.db import connection
from django.db.models import FloatField
from django.db.models.expressions import RawSQL

from backups.models import Ticker

# Written out because each run needs it some ten times, and Django would take five times as long to
# put the text together as the database takes to answer.
_UPTIME = f"SELECT uptime FROM {Ticker._meta.db_table} WHERE id = 1"  # noqa: S608 - no input
_STAMP = RawSQL(f"COALESCE(({_UPTIME}), 0.0)", (), output_field=FloatField())  # noqa: S611


def now() -> float:
    """Return the seconds for which the product has been ticking; 0 before the first tick."""
    with connection.cursor() as cursor:
        cursor.execute(_UPTIME)
        row = cursor.fetchone()
    return row[0] if row else 0.0


def stamp() -> RawSQL:
    """Return `now()` as an expression for an UPDATE, without a query of its own.

    It is always the same object, as `dashboard.db.prepared` requires.
    """
    return _STAMP


def since(stamp: float | None, at: float | None = None) -> float:
    """Return the seconds of ticking between two stamps, never negative.

    Args:
        stamp: an earlier `now()`; None: 0, for rows from before stamps were stored.
        at: a later `now()`; None: the current one.
    """
    return max((now() if at is None else at) - (stamp or 0.0), 0.0)
