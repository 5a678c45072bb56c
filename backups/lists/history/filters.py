"""What the history can be filtered by. All of it stands in the URL."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import django_filters
from django import forms
from django.db.models import Exists, F, OuterRef, Q
from django.http import QueryDict
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from backups.choices import ENDED_BADLY, Outcome, RunState, Trigger
from backups.models import BackupRun, Cluster, ClusterTag, IsGiven, Project
from dashboard.accounts.access import Permission, permitted_q
from dashboard.accounts.models import User
from dashboard.web.moments import MomentFilter

from .fields import WordsField
from .groups import Group
from .paging import Runs
from .texts import said, with_request_id
from .windows import DEFAULT_WINDOW, Window

_OUTCOMES = [choice for choice in Outcome.choices if choice[0]]
_MOST_BRANCHES = 20
_FEW_CLUSTERS = 200
_LONGEST = 200


class WordsFilter(django_filters.Filter):
    """Equal to one of several words."""

    field_class = WordsField

    def filter(self, qs: Runs, value: Any) -> Runs:
        return qs.filter(**{f"{self.field_name}__in": value}) if value else qs


class CodesFilter(WordsFilter):
    """Equal to one of several words that most runs do not have."""

    def filter(self, qs: Runs, value: Any) -> Runs:
        runs = super().filter(qs, value)
        return runs.filter(IsGiven(self.field_name)) if value else runs


def without_empty(query: QueryDict) -> QueryDict:
    """A URL's query without the fields that a form sent empty."""
    kept = query.copy()
    for name in list(kept):
        kept.setlist(name, [value for value in kept.getlist(name) if value])
        if not kept.getlist(name):
            del kept[name]
    return kept


class HistoryForm(forms.Form):
    """Checks the filters against each other."""

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        since, until = cleaned.get("since"), cleaned.get("until")
        if since and until and since >= until:
            self.add_error("until", _("The end must be after the beginning."))
        return cleaned


class HistoryFilter(django_filters.FilterSet):
    """Filters of the history; several of one kind mean any of them, several kinds all of them.

    Args:
        data: the URL's query; fields that were left empty do not count.
        user: whose view it is.
        permission: only runs with which the user may do this.
        now: the moment that windows count back from.
    """

    q = django_filters.CharFilter(
        method="leave", label=gettext_lazy("Text"), max_length=_LONGEST, min_length=1
    )
    group = django_filters.ChoiceFilter(
        choices=Group.choices, method="leave", label=gettext_lazy("Group")
    )
    state = django_filters.MultipleChoiceFilter(
        choices=RunState.choices, label=gettext_lazy("State"), method="leave"
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
        choices=Window.choices, method="leave", label=gettext_lazy("Requested")
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

    def leave(self, runs: Runs, name: str, value: Any) -> Runs:
        """Applied elsewhere: window and states in `runs`, the text in `branches`."""
        return runs

    def by_values(self, runs: Runs, name: str, value: list[str]) -> Runs:
        return runs.filter(**{f"{name}__in": value}) if value else runs

    def by_cluster(self, runs: Runs, name: str, value: str) -> Runs:
        """By the cloud's id or the present name, exactly; the ids are few, so they are read."""
        named = Cluster.objects.visible_to(self.viewer).named(value)
        return runs.filter(cluster__in=list(named.values_list("pk", flat=True)[:1000]))

    def by_label(self, runs: Runs, name: str, value: str) -> Runs:
        """By a key, or a key and its value; the clusters that have it are read where they are few.

        The database then knows how many runs each of them has. Of many, some run stands on every
        page of the history.
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
    def window_in_force(self) -> Window:
        """The preset in force; a range that was typed goes before any.

        The form sends the preset that it showed along with a range.
        """
        cleaned = self.form.cleaned_data
        if self.has_range:
            return Window.ALL
        return Window(cleaned["window"]) if cleaned.get("window") else DEFAULT_WINDOW

    @property
    def has_range(self) -> bool:
        """Whether a beginning or an end was typed."""
        cleaned = self.form.cleaned_data
        return bool(cleaned.get("since") or cleaned.get("until"))

    @property
    def begins_at(self) -> datetime | None:
        """The beginning of the window in force, or of the range that was given."""
        if (length := self.window_in_force.length) is not None:
            return self.now - length
        begun: datetime | None = self.form.cleaned_data.get("since")
        return begun

    def runs(self) -> Runs:
        """The runs that match everything but the text, in no order. The form must be valid."""
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
        """The states that were asked for; None for any."""
        cleaned = self.form.cleaned_data
        states = set(cleaned["state"]) if cleaned.get("state") else None
        if not cleaned.get("group"):
            return states
        group = {str(state) for state in Group(cleaned["group"]).states}
        return group if states is None else group & states

    def _in_group(self, *states: str) -> Q:
        """What a run must be besides its state: one that a later verified run has resolved needs
        nobody's attention any more."""
        bad = ENDED_BADLY.intersection(states)
        if self.form.cleaned_data.get("group") != Group.ATTENTION or not bad:
            return Q()
        open_ = Q(cluster__verified_at=None) | Q(cluster__verified_at__lte=F("requested_at"))
        return open_ if len(bad) == len(states) else open_ | ~Q(state__in=sorted(bad))

    def branches(self) -> list[Runs]:
        """Querysets whose union are the runs that match; each is served by one index.

        A text is looked for in three places that have an index each, and a database that has to
        find any of the three at once would read all runs instead. The same holds for several
        states.
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
        branches = [with_request_id(found, text), said(found, text)]
        if len(clusters) <= _MOST_BRANCHES:
            return [*branches, *(found.filter(cluster=pk) for pk in clusters)]
        return [*branches, found.filter(cluster__in=clusters)]
