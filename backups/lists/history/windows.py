"""The windows of time that the history can be limited to."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import TextChoices
from django.http import QueryDict
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext_lazy as _


class Window(TextChoices):
    """A preset of the date range, counted back from now."""

    DAY = "24h", _("24 hours")
    WEEK = "7d", _("7 days")
    MONTH = "30d", _("30 days")
    QUARTER = "90d", _("90 days")
    YEAR = "365d", _("365 days")
    ALL = "all", _("All time")

    @property
    def length(self) -> timedelta | None:
        """How far it reaches back; None without a limit."""
        return _LENGTHS[self]


_LENGTHS: dict[Window, timedelta | None] = {
    Window.DAY: timedelta(hours=24),
    Window.WEEK: timedelta(days=7),
    Window.MONTH: timedelta(days=30),
    Window.QUARTER: timedelta(days=90),
    Window.YEAR: timedelta(days=365),
    Window.ALL: None,
}
DEFAULT_WINDOW = Window.MONTH


def pinned(query: QueryDict, cleaned: dict[str, Any]) -> QueryDict:
    """The query with an offset at every time, and without a window that a range goes before.

    A form sends what somebody typed, which means another moment in another zone. An address can be
    given to somebody, kept as a view and recorded with an export: there it must mean the same.

    Args:
        query: of a URL.
        cleaned: what its form made of it, in the viewer's zone.
    """
    same = query.copy()
    for name in ("since", "until"):
        moment, given = cleaned.get(name), query.get(name, "")
        if isinstance(moment, datetime) and _without_zone(given):
            same[name] = moment.isoformat()
    if cleaned.get("since") or cleaned.get("until"):
        same.pop("window", None)
    return same


def _without_zone(text: str) -> bool:
    read = parse_datetime(text)
    return read is None or read.tzinfo is None
