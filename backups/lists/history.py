"""The history's list of runs: what it can be filtered by, all of it in the URL, and its order."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import django_filters
from django import forms
from django.db.models import Exists, F, OuterRef, Q, QuerySet, TextChoices
from django.http import QueryDict
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from backups.choices import ENDED_BADLY, Outcome, RunState, Trigger
from backups.models import BackupRun, BatchItem, Cluster, ClusterTag, IsGiven, Project
from dashboard.accounts.access import Permission, permitted_q
from dashboard.accounts.models import User
from dashboard.db.keyset import Keyset
from dashboard.web.moments import MomentFilter

from .filtering import WordsField, without_empty
from .text_search import with_message, with_request_id

Runs = QuerySet[BackupRun]
RUN_KEYSET = Keyset(BackupRun, "requested_at")


class Group(TextChoices):
    """A tab of the history."""

    ATTENTION = "attention", gettext_lazy("Failed and needs attention")
    ACTIVE = "active", gettext_lazy("In progress")
    DONE = "done", gettext_lazy("Done")

    @property
    def states(self) -> frozenset[RunState]:
        """The states of the tab; UNKNOWN is in two, because it is active and needs attention."""
        return _STATES[self]


_STATES: dict[Group, frozenset[RunState]] = {
    Group.ATTENTION: frozenset(
        {
            RunState.REJECTED,
            RunState.FAILED,
            RunState.UNKNOWN,
            RunState.UNVERIFIED,
            RunState.NOT_STARTED,
        }
    ),
    Group.ACTIVE: frozenset(
        {RunState.QUEUED, RunState.SENDING, RunState.ACCEPTED, RunState.UNKNOWN}
    ),
    Group.DONE: frozenset({RunState.SUCCEEDED, RunState.CANCELLED}),
}


class HistoryWindow(TextChoices):
    """A preset of the date range, counted back from now."""

    DAY = "24h", gettext_lazy("24 hours")
    WEEK = "7d", gettext_lazy("7 days")
    MONTH = "30d", gettext_lazy("30 days")
    QUARTER = "90d", gettext_lazy("90 days")
    YEAR = "365d", gettext_lazy("365 days")
    ALL = "all", gettext_lazy("All time")

    @property
    def length(self) -> timedelta | None:
        """How far the window reaches back; None without a limit."""
        return _LENGTHS[self]


_LENGTHS: dict[HistoryWindow, timedelta | None] = {
    HistoryWindow.DAY: timedelta(hours=24),
    HistoryWindow.WEEK: timedelta(days=7),
    HistoryWindow.MONTH: timedelta(days=30),
    HistoryWindow.QUARTER: timedelta(days=90),
    HistoryWindow.YEAR: timedelta(days=365),
    HistoryWindow.ALL: None,
}
DEFAULT_WINDOW = HistoryWindow.MONTH


_OUTCOMES = [choice for choice in Outcome.choices if choice[0]]
_MOST_BRANCHES = 20
_FEW_CLUSTERS = 200
_LONGEST = 200


class WordsFilter(django_filters.Filter):
    """A column equal to one of several words."""

    field_class = WordsField

    def filter(self, qs: Runs, value: Any) -> Runs:
        return qs.filter(**{f"{self.field_name}__in": value}) if value else qs


class CodesFilter(WordsFilter):
    """The same for a column that is empty in most runs: uses its partial index."""

    def filter(self, qs: Runs, value: Any) -> Runs:
        runs = super().filter(qs, value)
        return runs.filter(IsGiven(self.field_name)) if value else runs


class NumberFilter(django_filters.Filter):
    """A key of a row."""

    field_class = forms.IntegerField


class HistoryForm(forms.Form):
    """Validates filters against each other."""

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        since, until = cleaned.get("since"), cleaned.get("until")
        if since and until and since >= until:
            self.add_error("until", _("The end must be after the start."))
        return cleaned


class HistoryFilter(django_filters.FilterSet):
    """Filters of the history: values of one filter are joined by OR, filters by AND.

    Args:
        data: the URL's query; empty fields are ignored.
        user: whose permissions apply.
        permission: what the user must be allowed to do with a run.
        now: the end of the windows.
    """

    q = django_filters.CharFilter(
        method="skip", label=gettext_lazy("Text"), max_length=_LONGEST, min_length=1
    )
    group = django_filters.ChoiceFilter(
        choices=Group.choices, method="skip", label=gettext_lazy("Group")
    )
    state = django_filters.MultipleChoiceFilter(
        choices=RunState.choices, label=gettext_lazy("State"), method="skip"
    )
    outcome = django_filters.MultipleChoiceFilter(
        choices=_OUTCOMES, label=gettext_lazy("Outcome"), method="by_values"
    )
    trigger = django_filters.MultipleChoiceFilter(
        choices=Trigger.choices, label=gettext_lazy("Trigger"), method="by_values"
    )
    http_status = WordsFilter(
        pattern=r"[1-5][0-9]{2}", example="409", label=gettext_lazy("HTTP status")
    )
    error_code = CodesFilter(
        pattern=r"[A-Za-z0-9._-]{1,64}", example="CSS.3004", label=gettext_lazy("Code")
    )
    cluster = django_filters.CharFilter(
        method="by_cluster", label=gettext_lazy("Cluster"), max_length=255
    )
    project = django_filters.ModelChoiceFilter(
        queryset=Project.objects.none(), label=gettext_lazy("Project")
    )
    batch = NumberFilter(
        method="by_batch", label=gettext_lazy("Batch"), min_value=1, max_value=2**63 - 1
    )
    label = django_filters.CharFilter(
        method="by_label", label=gettext_lazy("Tag or label"), max_length=384
    )
    user = django_filters.CharFilter(
        field_name="requested_by_name",
        lookup_expr="exact",
        label=gettext_lazy("User"),
        max_length=255,
    )
    window = django_filters.ChoiceFilter(
        choices=HistoryWindow.choices, method="skip", label=gettext_lazy("Requested")
    )
    since = MomentFilter(field_name="requested_at", lookup_expr="gte", label=gettext_lazy("From"))
    until = MomentFilter(
        field_name="requested_at", lookup_expr="lt", label=gettext_lazy("Until"), latest=True
    )

    class Meta:
        model = BackupRun
        fields: list[str] = []
        form = HistoryForm

    def __init__(
        self,
        data: QueryDict,
        *,
        user: User,
        now: datetime | None = None,
        permission: Permission = Permission.SEE,
    ) -> None:
        runs = BackupRun.objects.filter(permitted_q(user, permission))
        super().__init__(without_empty(data), queryset=runs)
        self.viewer = user
        self.now = now or timezone.now()
        offered: Any = self.filters["project"].field
        offered.queryset = Project.objects.visible_to(user)

    # --- single filters --------------------------------------------------------------------------

    def skip(self, runs: Runs, name: str, value: Any) -> Runs:
        """Not filtered here: `runs` applies window and states, `branches` the text."""
        return runs

    def by_values(self, runs: Runs, name: str, value: list[str]) -> Runs:
        return runs.filter(**{f"{name}__in": value}) if value else runs

    def by_cluster(self, runs: Runs, name: str, value: str) -> Runs:
        """By the exact cloud id or current name. Few clusters match, so their keys are read."""
        named = Cluster.objects.visible_to(self.viewer).named(value)
        return runs.filter(cluster__in=list(named.values_list("pk", flat=True)[:1000]))

    def by_batch(self, runs: Runs, name: str, value: int) -> Runs:
        """Runs of a batch, also those that it joined."""
        return runs.filter(pk__in=BatchItem.objects.filter(batch=value).values("run"))

    def by_label(self, runs: Runs, name: str, value: str) -> Runs:
        """By a key, or a key and its value (`key=value`).

        The keys of a few clusters are read first, so the database can estimate the number of their
        runs. With many clusters, each page of the history has matching runs anyway.
        """
        key, equals, wanted = value.partition("=")
        tags = ClusterTag.objects.filter(key=key.strip())
        if equals:
            tags = tags.filter(value=wanted.strip())
        clusters = tags.order_by().values_list("cluster", flat=True).distinct()
        few = list(clusters[: _FEW_CLUSTERS + 1])
        if len(few) <= _FEW_CLUSTERS:
            return runs.filter(cluster_id__in=few)
        return runs.filter(Exists(tags.filter(cluster=OuterRef("cluster"))))

    # --- all of them -----------------------------------------------------------------------------

    @property
    def window_in_force(self) -> HistoryWindow:
        """The effective preset: a typed range overrides the preset that the form sends with it."""
        cleaned = self.form.cleaned_data
        if self.has_range:
            return HistoryWindow.ALL
        return HistoryWindow(cleaned["window"]) if cleaned.get("window") else DEFAULT_WINDOW

    @property
    def has_range(self) -> bool:
        """Whether a start or an end was typed."""
        cleaned = self.form.cleaned_data
        return bool(cleaned.get("since") or cleaned.get("until"))

    @property
    def begins_at(self) -> datetime | None:
        """Start of the effective window or of the typed range; None without one."""
        if (length := self.window_in_force.length) is not None:
            return self.now - length
        begun: datetime | None = self.form.cleaned_data.get("since")
        return begun

    def runs(self) -> Runs:
        """The runs that match everything but the text, unordered. The form must be valid."""
        found, states = self._of_any_state, self._states
        if states is None:
            return found
        return found.filter(self._in_group(*states), state__in=sorted(states))

    @cached_property
    def _of_any_state(self) -> Runs:
        found: Runs = self.qs.order_by()
        if (length := self.window_in_force.length) is not None:
            found = found.filter(requested_at__gte=self.now - length)
        return found

    @property
    def _states(self) -> set[str] | None:
        """The requested states; None for any."""
        cleaned = self.form.cleaned_data
        states = set(cleaned["state"]) if cleaned.get("state") else None
        if not cleaned.get("group"):
            return states
        group = {str(state) for state in Group(cleaned["group"]).states}
        return group if states is None else group & states

    def _in_group(self, *states: str) -> Q:
        """A condition beside the state: a failure followed by a verified run is resolved, and so
        not in the group that needs attention."""
        bad = ENDED_BADLY.intersection(states)
        if self.form.cleaned_data.get("group") != Group.ATTENTION or not bad:
            return Q()
        open_ = Q(cluster__verified_at=None) | Q(cluster__verified_at__lte=F("requested_at"))
        return open_ if len(bad) == len(states) else open_ | ~Q(state__in=sorted(bad))

    def branches(self) -> list[Runs]:
        """Querysets whose union are the matching runs; each is served by one index.

        A text is searched in three places, each with an index of its own. One query with OR would
        read all runs instead. The same applies to several states.
        """
        found = self._of_any_state
        if text := self.form.cleaned_data.get("q", "").strip():
            return self._by_text(self.runs(), text)
        states = self._states
        if states is None:
            return [found]
        return [found.filter(self._in_group(state), state=state) for state in sorted(states)]

    def _by_text(self, found: Runs, text: str) -> list[Runs]:
        clusters = list(
            Cluster.objects.visible_to(self.viewer)
            .filter(Q(name__icontains=text) | Q(cluster_id__icontains=text))
            .order_by()
            .values_list("pk", flat=True)
        )
        branches = [with_request_id(found, text), with_message(found, text)]
        if len(clusters) <= _MOST_BRANCHES:
            return [*branches, *(found.filter(cluster=pk) for pk in clusters)]
        return [*branches, found.filter(cluster__in=clusters)]


def pinned(query: QueryDict, cleaned: dict[str, Any]) -> QueryDict:
    """The query with a UTC offset on every time, and without a window that a range overrides.

    A form sends local times, which mean another moment in another time zone. A URL can be shared,
    saved as a view and recorded with an export, and must then mean the same.

    Args:
        query: of the URL.
        cleaned: the form's cleaned data, in the viewer's time zone.
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
