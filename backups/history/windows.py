"""The windows of time that the history can be limited to."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import TextChoices
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
