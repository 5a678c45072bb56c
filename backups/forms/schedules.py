"""The form of a schedule: when, which clusters, how."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.conf import settings
from django.forms import BoundField
from django.http import QueryDict
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from backups.choices import CatchUp, ScheduledWork, WhenNotReady
from backups.lists.filtering import Chip, active_chips
from backups.lists.report import Span
from backups.models import Channel, Cluster, Project
from backups.services.batches import selecting
from backups.services.schedules.timing import LONGEST_TEXT, BadTiming, Timing, check, parse_cron
from dashboard.accounts.access import Permission, may
from dashboard.accounts.models import User
from dashboard.web.moments import zone_names

from . import MAX_WAIT_MINUTES, ClustersField, form_problems

LONGEST_JITTER = 3600  # seconds
CRON, INTERVAL = "cron", "interval"


def _zones() -> list[tuple[str, str]]:
    areas = ("Africa/", "America/", "Antarctica/", "Arctic/", "Asia/", "Atlantic/")
    more = ("Australia/", "Europe/", "Indian/", "Pacific/")
    names = sorted(name for name in zone_names() if name.startswith(areas + more))
    return [(name, name.replace("_", " ")) for name in ("UTC", *names)]


class ScheduleForm(forms.Form):
    """A schedule.

    Args:
        user: whose clusters a filter selects.
    """

    name = forms.CharField(label=gettext_lazy("Name"), max_length=100)
    every = forms.ChoiceField(
        label=gettext_lazy("Timing"),
        choices=[
            (CRON, gettext_lazy("By a cron text")),
            (INTERVAL, gettext_lazy("At an interval")),
        ],
    )
    cron = forms.CharField(
        label=gettext_lazy("Cron text"),
        max_length=LONGEST_TEXT,
        required=False,
        help_text=gettext_lazy("minute hour day month weekday, or @daily; 30 2 * * *: 02:30 daily"),
    )
    minutes = forms.IntegerField(
        label=gettext_lazy("Interval in minutes"), min_value=1, max_value=527_040, required=False
    )
    zone = forms.ChoiceField(
        label=gettext_lazy("Time zone"),
        choices=_zones,
        help_text=gettext_lazy("of the cron text, daylight saving time included"),
    )
    work = forms.ChoiceField(
        label=gettext_lazy("Work"), choices=ScheduledWork.choices, required=False
    )
    report_channel = forms.ModelChoiceField(
        Channel.objects.all(), label=gettext_lazy("Channel of the report"), required=False
    )
    report_span = forms.ChoiceField(
        label=gettext_lazy("Range of the report"),
        choices=[(span.value, span.label) for span in (Span.LAST_MONTH, Span.LAST_WEEK)],
        required=False,
        help_text=gettext_lazy("in the time zone above; its filter can only be project=…"),
    )
    query = forms.CharField(
        label=gettext_lazy("Filter of the clusters page"),
        max_length=2000,
        required=False,
        help_text=gettext_lazy(
            "As in its address after the “?”: project=1&label=env=prod. Empty: all clusters. "
            "Evaluated each time it fires."
        ),
    )
    cluster = ClustersField(label=gettext_lazy("Clusters"), required=False)
    when_not_ready = forms.ChoiceField(
        label=gettext_lazy("Clusters that are not ready"), choices=WhenNotReady.choices
    )
    wait_minutes = forms.IntegerField(
        label=gettext_lazy("Wait at most (minutes)"),
        min_value=1,
        max_value=MAX_WAIT_MINUTES,
        required=False,
    )
    catch_up = forms.ChoiceField(
        label=gettext_lazy("Slots that were missed"), choices=CatchUp.choices
    )
    jitter = forms.IntegerField(
        label=gettext_lazy("Jitter (seconds)"),
        min_value=0,
        max_value=LONGEST_JITTER,
        required=False,
        help_text=gettext_lazy("starts up to so much later, to spread the load"),
    )
    overlap = forms.BooleanField(
        label=gettext_lazy("Fire even while its last batch is open"), required=False
    )
    reason = forms.CharField(label=gettext_lazy("Reason"), max_length=500, required=False)
    ping_url = forms.RegexField(
        r"^https?://[^\s]+\Z",
        label=gettext_lazy("Dead man's ping URL"),
        max_length=500,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text=gettext_lazy(
            "Requested when a batch has ended with every cluster verified; with /fail if not. "
            "Stored encrypted and never shown."
        ),
        error_messages={"invalid": gettext_lazy("Enter an address with http:// or https://.")},
    )
    no_ping = forms.BooleanField(label=gettext_lazy("Remove the stored URL"), required=False)
    seen = forms.CharField(max_length=40, required=False)

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        self.named: Project | None = None
        self.chips: list[Chip] = []
        if not may(user, Permission.CONFIGURE):  # channels are for admins of all projects
            offered: Any = self.fields["report_channel"]
            offered.queryset = Channel.objects.none()

    def clean_query(self) -> str:
        text = str(self.cleaned_data["query"])
        if text.startswith(("?", "/", "http")):  # pasted with the address
            text = text.partition("?")[2]
        query = QueryDict(text, mutable=True)
        for name in ("page", "sort"):  # where somebody looked, not which clusters
            query.pop(name, None)
        if problem := selecting.filter_problem(query):
            raise forms.ValidationError(problem)
        selection, found = selecting.of_filter(query, self.user)
        if not found.is_valid():
            raise forms.ValidationError(form_problems(found.form))
        if len(selection.query) > 2000:
            raise forms.ValidationError(_("The filter is too long."))
        self.named = found.form.cleaned_data["project"]
        self.chips = active_chips(found, QueryDict(selection.query), drop=())
        return selection.query

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        waits = cleaned.get("when_not_ready") == WhenNotReady.WAIT
        if cleaned.get("work") == ScheduledWork.REPORT:
            self._clean_report(cleaned)
        if waits and not cleaned.get("wait_minutes") and "wait_minutes" not in self.errors:
            self.add_error("wait_minutes", _("Enter for how many minutes."))
        field = "minutes" if cleaned.get("every") == INTERVAL else "cron"
        if not {"every", "zone", "jitter", field} & set(self.errors):
            try:
                cleaned["timing"] = self._timing(cleaned)
            except BadTiming as problem:
                self.add_error(field, str(problem))
        return cleaned

    def _clean_report(self, cleaned: dict[str, Any]) -> None:
        if not may(self.user, Permission.CONFIGURE):
            self.add_error("work", _("Sending reports requires the role Admin for all projects."))
        if not cleaned.get("report_channel"):
            self.add_error("report_channel", _("Choose a channel."))
        if not cleaned.get("report_span"):
            self.add_error("report_span", _("Choose a range."))
        # `show` is in each selection; a report has its own rule of what counts
        named = set(QueryDict(cleaned.get("query") or "")) - {"show"}
        if cleaned.get("cluster") or named - {"project"}:
            self.add_error("query", _("A report is about one project, as in project=1, or all."))

    def _timing(self, cleaned: dict[str, Any]) -> Timing:
        zone = ZoneInfo(cleaned["zone"])
        if cleaned["every"] == INTERVAL:
            if not cleaned["minutes"]:
                raise BadTiming(_("Enter the interval."))
            timing = Timing(zone, interval=60 * cleaned["minutes"], anchor=timezone.now())
        else:
            timing = Timing(zone, parse_cron(cleaned["cron"]))
        shortest = settings.SCHEDULE_MIN_INTERVAL
        check(timing, timezone.now(), shortest=shortest, jitter=cleaned["jitter"] or 0)
        return timing

    def values(self) -> dict[str, Any]:
        """Columns of the schedule; the form must be valid."""
        cleaned, timing = self.cleaned_data, self.cleaned_data["timing"]
        waits = cleaned["when_not_ready"] == WhenNotReady.WAIT
        reports = cleaned["work"] == ScheduledWork.REPORT
        return {
            **{name: cleaned[name] for name in ("name", "zone", "when_not_ready", "catch_up")},
            **{name: cleaned[name] for name in ("overlap", "reason")},
            "work": cleaned["work"] or ScheduledWork.BACKUP,
            "report_channel": cleaned["report_channel"] if reports else None,
            "report_span": cleaned["report_span"] if reports else "",
            "cron": timing.cron,
            "interval": timing.interval,
            "query": "" if cleaned["cluster"] else cleaned["query"],
            "picked": cleaned["cluster"],
            "jitter": cleaned["jitter"] or 0,
            "wait_minutes": cleaned["wait_minutes"] if waits else 0,
        }

    @property
    def ping(self) -> str | None:
        """The new ping URL, "" to remove it, None to keep it."""
        if self.cleaned_data["no_ping"]:
            return ""
        return self.cleaned_data["ping_url"] or None

    def groups(self) -> list[tuple[str, list[BoundField]]]:
        """The fields by what they say, each with a heading."""
        groups = {
            _("When"): ("name", "every", "cron", "minutes", "zone", "jitter"),
            _("What"): ("work", "report_channel", "report_span"),
            _("How"): ("when_not_ready", "wait_minutes", "catch_up", "reason", "overlap"),
            _("Tell another service"): ("ping_url", "no_ping"),
        }
        return [(title, [self[name] for name in names]) for title, names in groups.items()]

    def picked(self) -> list[Cluster]:
        """The clusters that are selected by hand, as far as the user may see them."""
        given = self["cluster"].value() or []
        texts = [str(pk) for pk in given[:100]]
        pks = [int(text) for text in texts if text.isascii() and text.isdigit() and len(text) < 19]
        found = Cluster.objects.visible_to(self.user).filter(pk__in=pks)
        return list(found.select_related("project").order_by("name", "pk"))
