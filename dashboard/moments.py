"""Times that come from outside, kept within what every time zone and both databases can hold.

Python's calendar ends with the years 1 and 9999. A time close to either end cannot be converted
to every zone: 0001-01-01 in Auckland is in no year of UTC. So a time is brought into the calendar
where it is read, once, and no later code has to handle it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import django_filters
from django import forms
from django_filters.fields import IsoDateTimeField

# Two days: an offset is less than one day, and a page may add the offset of another zone.
EARLIEST = datetime.min.replace(tzinfo=UTC) + timedelta(days=2)
LATEST = datetime.max.replace(tzinfo=UTC) - timedelta(days=2)


def within_calendar(moment: datetime) -> datetime:
    """The moment itself, or the nearest one that every time zone and both databases can hold.

    PostgreSQL takes offsets below sixteen hours, in whole seconds; Python takes more. Nothing
    happened before the year 1 or will happen after 9999, so a limit at either end means the same
    as one two days beside it.

    Args:
        moment: aware.
    """
    clock = moment.replace(tzinfo=None)
    if clock < EARLIEST.replace(tzinfo=None):
        return EARLIEST
    if clock > LATEST.replace(tzinfo=None):
        return LATEST
    offset = moment.utcoffset() or timedelta()
    if abs(offset) > timedelta(hours=15) or offset % timedelta(minutes=1):
        return moment.astimezone(UTC)
    return moment


class MomentField(forms.DateTimeField):
    """A date and time that a person or a program sends: use it in place of Django's field."""

    def to_python(self, value: Any) -> datetime | None:
        moment = super().to_python(value)
        return within_calendar(moment) if moment is not None else None


class _IsoMomentField(IsoDateTimeField):
    def to_python(self, value: Any) -> datetime | None:
        moment: datetime | None = super().to_python(value)
        return within_calendar(moment) if moment is not None else None


class MomentFilter(django_filters.IsoDateTimeFilter):
    """The same for a filter that takes ISO 8601."""

    field_class = _IsoMomentField
