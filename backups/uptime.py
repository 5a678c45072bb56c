"""The product's own clock: the seconds for which it has been ticking (`models.Ticker`).

Limits use it rather than the wall clock, which may be stepped by hours. It stops while no worker
sweeps, so a run is not charged for time in which nothing could be read.
"""

from __future__ import annotations

from django.db.models import FloatField, Subquery, Value
from django.db.models.functions import Coalesce

from backups.models import Ticker


def now() -> float:
    """Return the seconds for which the product has been ticking; 0 before the first tick."""
    return Ticker.objects.values_list("uptime", flat=True).filter(pk=1).first() or 0.0


def stamp() -> Coalesce:
    """Return `now()` as an expression for an UPDATE, without a query of its own."""
    found = Ticker.objects.filter(pk=1).values("uptime")
    return Coalesce(Subquery(found), Value(0.0), output_field=FloatField())


def since(stamp: float | None, at: float | None = None) -> float:
    """Return the seconds of ticking between two stamps, never negative.

    Args:
        stamp: an earlier `now()`; None: 0, for rows from before stamps were stored.
        at: a later `now()`; None: the current one.
    """
    return max((now() if at is None else at) - (stamp or 0.0), 0.0)
