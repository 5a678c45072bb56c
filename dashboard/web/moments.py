"""Times that come from outside, kept within what every time zone and both databases can hold.

Python's calendar ends with the years 1 and 9999. A time close to either end cannot be converted
to every zone: 0001-01-01 in Auckland is in no year of UTC. So a time is brought into the calendar
where it is read, once, and no later code has to handle it.

A local time without an offset can mean two moments, or none: daylight saving time repeats an hour
in autumn and skips one in spring. Nobody who types such a time can be expected to know, so it is
read as the one that takes in more: the earlier for a beginning, the later for an end.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from datetime import timezone as fixed_offset
from functools import cache
from typing import Any
from zoneinfo import available_timezones

import django_filters
from django import forms
from django.utils import timezone
from django_filters.fields import IsoDateTimeField

# Two days: an offset is less than one day, and a page may add the offset of another zone.
EARLIEST = datetime.min.replace(tzinfo=UTC) + timedelta(days=2)
LATEST = datetime.max.replace(tzinfo=UTC) - timedelta(days=2)


@cache
def zone_names() -> frozenset[str]:
    """The names of all time zones that this machine knows."""
    return frozenset(available_timezones())


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


def local_moment(clock: datetime, zone: tzinfo, *, latest: bool = False) -> datetime:
    """The moment at which clocks in a zone show a time.

    Args:
        clock: naive.
        zone: where the clock hangs.
        latest: of two possible moments the later one, for the end of a range. A skipped time, which
            no clock shows, is read by the offset before the change and by the one after it.

    Returns:
        A moment within the calendar. Its offset is fixed: Python compares two times of one zone
        by their clocks, and would take the later of the two for no later.
    """
    readings = [within_calendar(clock.replace(tzinfo=zone, fold=fold)) for fold in (0, 1)]
    moment = (max if latest else min)(reading.astimezone(UTC) for reading in readings)
    shown = within_calendar(moment.astimezone(zone))
    return shown.astimezone(fixed_offset(shown.utcoffset() or timedelta()))


# Stands in for the viewer's zone while Django parses: with that one it would refuse some times.
_LOCAL = fixed_offset(timedelta(), "local")


class MomentField(forms.DateTimeField):
    """A date and time that a person or a program sends: use it in place of Django's field.

    Args:
        latest: it ends a range; see `local_moment`.
    """

    def __init__(self, *, latest: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.latest = latest

    def to_python(self, value: Any) -> datetime | None:
        with timezone.override(_LOCAL):
            moment: datetime | None = super().to_python(value)
        if moment is None:
            return None
        if moment.tzinfo is _LOCAL:
            clock, zone = moment.replace(tzinfo=None), timezone.get_current_timezone()
            return local_moment(clock, zone, latest=self.latest)
        return within_calendar(moment)


class _IsoMomentField(MomentField, IsoDateTimeField):
    pass


class MomentFilter(django_filters.IsoDateTimeFilter):
    """The same for a filter that takes ISO 8601."""

    field_class = _IsoMomentField
