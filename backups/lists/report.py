"""What a report is about: one project or all, and a range of days in a time zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.db.models import TextChoices
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from backups.models import Project
from dashboard.accounts.models import User
from dashboard.web.moments import local_moment, zone_names

MOST_DAYS = 366
# of a range; earlier days have no clusters
_FIRST_DAY = date(2000, 1, 1)
_DAY = timedelta(days=1)


class Span(TextChoices):
    """A range of whole days before today, or up to it."""

    LAST_MONTH = "last_month", gettext_lazy("Last month")
    LAST_WEEK = "last_week", gettext_lazy("Last week")
    THIS_MONTH = "this_month", gettext_lazy("This month")

    def days(self, today: date) -> tuple[date, date]:
        """The first and the last day; weeks begin on Monday."""
        this_month = today.replace(day=1)
        match self:
            case Span.LAST_MONTH:
                return (this_month - _DAY).replace(day=1), this_month - _DAY
            case Span.LAST_WEEK:
                monday = today - timedelta(days=today.weekday())
                return monday - 7 * _DAY, monday - _DAY
        return this_month, today


@dataclass(frozen=True, slots=True)
class Range:
    """Days in a time zone.

    Attributes:
        first, last: both included.
        zone: name of the time zone in which the days begin and end.
    """

    first: date
    last: date
    zone: str

    @property
    def begin(self) -> datetime:
        """The first moment, in UTC."""
        return self._midnight(self.first)

    @property
    def end(self) -> datetime:
        """The first moment after it, in UTC."""
        return self._midnight(self.last + _DAY)

    def _midnight(self, day: date) -> datetime:
        return local_moment(datetime.combine(day, time.min), ZoneInfo(self.zone)).astimezone(UTC)

    @classmethod
    def of(cls, span: Span, zone: str, now: datetime) -> Range:
        """A span as seen now in a time zone."""
        return cls(*span.days(now.astimezone(ZoneInfo(zone)).date()), zone)


class ReportForm(forms.Form):
    """The report's query in a URL, all optional.

    `project`, a range as `first` and `last` or as `span`, and the time zone of its days. Without a
    range it is the last month, without a zone the viewer's.
    """

    project = forms.ModelChoiceField(
        Project.objects.none(), required=False, label=gettext_lazy("Project")
    )
    first = forms.DateField(required=False, label=gettext_lazy("First day"))
    last = forms.DateField(required=False, label=gettext_lazy("Last day"))
    span = forms.ChoiceField(choices=Span.choices, required=False, label=gettext_lazy("Range"))
    zone = forms.CharField(required=False, max_length=64, label=gettext_lazy("Time zone"))

    def __init__(self, data: Any, *, user: User, now: datetime) -> None:
        super().__init__(data)
        self.now = now
        offered: Any = self.fields["project"]
        offered.queryset = Project.objects.visible_to(user)

    def clean_zone(self) -> str:
        zone: str = self.cleaned_data["zone"] or timezone.get_current_timezone_name()
        if zone not in zone_names():
            raise forms.ValidationError(_("“%(zone)s” is no known time zone.") % {"zone": zone})
        return zone

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if self.errors:
            return cleaned
        today = self.now.astimezone(ZoneInfo(cleaned["zone"])).date()
        first, last = cleaned["first"], cleaned["last"]
        if first is None and last is None:
            first, last = Span(cleaned["span"] or Span.LAST_MONTH).days(today)
        first = first or last.replace(day=1)
        last = last or max(first, today)
        if not _FIRST_DAY <= first <= today:
            self.add_error(
                "first",
                _("The first day is %(day)s or later, and not in the future.")
                % {"day": _FIRST_DAY.isoformat()},
            )
        elif last < first:
            self.add_error("last", _("The last day must not be before the first."))
        elif (last - first).days >= MOST_DAYS:
            self.add_error("last", _("A report has at most %(most)d days.") % {"most": MOST_DAYS})
        cleaned["range"] = Range(first, last, cleaned["zone"])
        return cleaned
