"""Which times of the cloud can be worked with."""

from __future__ import annotations

from datetime import datetime


def plausible(moment: datetime | None) -> datetime | None:
    """The moment, or None for one at either end of the calendar.

    Such a time is a mistake of the cloud, and nothing can be added to it or subtracted from it, nor
    can it be shown in every time zone.
    """
    return moment if moment is not None and 1970 <= moment.year < 9999 else None
