"""External times, limited to the range that every time zone and both databases support.

Python's calendar covers the years 1 to 9999. A time close to either end cannot be converted to
every zone: 0001-01-01 in Auckland has no equivalent in UTC. Times are therefore limited once, when
they are read, so later code does not have to handle this.

A local time without an offset can denote two moments, or none: daylight saving time repeats an hour
in autumn and skips one in spring. Users cannot be expected to resolve this, so the reading that
widens the range is used: the earlier moment for a start, the later one for an end.
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

# Two days: an offset is less than one day, and a page can add the offset of another zone.
EARLIEST = datetime.min.replace(tzinfo=UTC) + timedelta(days=2)
LATEST = datetime.max.replace(tzinfo=UTC) - timedelta(days=2)


@cache
def zone_names() -> frozenset[str]:
    """Return the names of all time zones available on this machine."""
    return frozenset(available_timezones())


def within_calendar(moment: datetime) -> datetime:
    """Clamp `moment` to the range that every time zone and both databases support.

    PostgreSQL supports offsets below sixteen hours, in whole seconds; Python supports more. No
    record is dated near the years 1 or 9999, so moving a limit by two days there has no effect.

    Args:
        moment: an aware datetime.
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
    """Return the moment at which clocks in `zone` show the local time `clock`.

    Args:
        clock: a naive datetime.
        zone: time zone of the clock.
        latest: return the later of two possible moments, for the end of a range. A skipped time
            has two readings as well: with the offset before and with the offset after the change.

    Returns:
        A moment within the calendar, with a fixed offset. Python compares two datetimes of one zone
        by local time and would not see the difference between the two moments.
    """
    readings = [within_calendar(clock.replace(tzinfo=zone, fold=fold)) for fold in (0, 1)]
    moment = (max if latest else min)(reading.astimezone(UTC) for reading in readings)
    shown = within_calendar(moment.astimezone(zone))
    return shown.astimezone(fixed_offset(shown.utcoffset() or timedelta()))


# Placeholder for the viewer's zone during parsing: Django would reject ambiguous or skipped times.
_LOCAL = fixed_offset(timedelta(), "local")


class MomentField(forms.DateTimeField):
    """Form field for a date and time from a user or a client; replaces Django's DateTimeField.

    Args:
        latest: whether the value is the end of a range; see `local_moment`.
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
    """Filter on an ISO 8601 date and time, parsed as by `MomentField`."""

    field_class = _IsoMomentField
