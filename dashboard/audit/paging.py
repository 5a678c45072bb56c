"""Keyset pagination of events by (time, number), without OFFSET and COUNT."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q

from .models import AuditEvent, AuditEventQuerySet


@dataclass(frozen=True, slots=True)
class Page:
    """Events, newest first, and whether there are more on either side."""

    events: list[AuditEvent]
    has_newer: bool
    has_older: bool


def read_page(
    events: AuditEventQuerySet,
    size: int,
    *,
    older: AuditEvent | None = None,
    newer: AuditEvent | None = None,
) -> Page:
    """A page of events.

    Args:
        events: which ones, in any order.
        size: how many at most.
        older: only events older than this one, the newest of them.
        newer: only events newer than this one, the oldest of them; without either, the newest.
    """
    if newer is not None:
        # The first condition alone is the range that an index over the time is entered at.
        events = events.filter(at__gte=newer.at).filter(
            Q(at__gt=newer.at) | Q(sequence__gt=newer.sequence)
        )
        found = list(events.order_by("at", "sequence")[: size + 1])
        return Page(found[:size][::-1], has_newer=len(found) > size, has_older=True)
    if older is not None:
        events = events.filter(at__lte=older.at).filter(
            Q(at__lt=older.at) | Q(sequence__lt=older.sequence)
        )
    found = list(events.order_by("-at", "-sequence")[: size + 1])
    return Page(found[:size], has_newer=older is not None, has_older=len(found) > size)
