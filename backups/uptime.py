"""The product's own clock: for how long it has been ticking (`models.Ticker`).

Limits are judged by it and not by the wall clock, which may be stepped by hours. It stands still
while nobody sweeps, so what could not be read meanwhile is not held against a run.
"""

from __future__ import annotations

from django.db.models import FloatField, Subquery, Value
from django.db.models.functions import Coalesce

from backups.models import Ticker


def now() -> float:
    """Seconds for which the product has been ticking; 0 before the first tick."""
    return Ticker.objects.values_list("uptime", flat=True).filter(pk=1).first() or 0.0


def stamp() -> Coalesce:
    """`now()` for an UPDATE: the database reads it in passing."""
    found = Ticker.objects.filter(pk=1).values("uptime")
    return Coalesce(Subquery(found), Value(0.0), output_field=FloatField())


def since(stamp: float | None, at: float | None = None) -> float:
    """Seconds of ticking since a moment.

    Args:
        stamp: an earlier `now()`; None: before stamps were kept, which is the beginning.
        at: a later `now()`; None: the present.
    """
    return max((now() if at is None else at) - (stamp or 0.0), 0.0)
