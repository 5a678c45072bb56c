"""The list of clusters: filters, all of them in the URL, sort orders and pages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import django_filters
from django import forms
from django.core.paginator import Page, Paginator
from django.db.models import (
    Case,
    Count,
    F,
    IntegerField,
    OrderBy,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    TextChoices,
    Value,
    When,
)
from django.db.models.functions import Coalesce
from django.http import QueryDict
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from backups.choices import AttentionCause, Outcome, Protection, Readiness, RunState
from backups.models import BackupRun, Cluster, ClusterTag, Project
from backups.models.cluster import WORST_FIRST, ClusterQuerySet, protection_q
from backups.rules.readiness import RANK
from dashboard.accounts.models import User

from .causes import HandledChoice, handled_q, with_cause
from .filtering import without_empty

PAGE_SIZE = 50


class Presence(TextChoices):
    """Whether a cluster still exists and is in use; `PRESENT` is the default view."""

    PRESENT = "present", _("Present")
    GONE = "gone", _("Gone")
    ARCHIVED = "archived", _("Archived")
    ALL = "all", _("All")

    @property
    def condition(self) -> Q:
        """The matching clusters. One that is both gone and archived counts as archived."""
        return {
            Presence.PRESENT: Q(gone_at__isnull=True, archived_at__isnull=True),
            Presence.GONE: Q(gone_at__isnull=False, archived_at__isnull=True),
            Presence.ARCHIVED: Q(archived_at__isnull=False),
            Presence.ALL: Q(),
        }[self]


_IDLE = Q(actions=[])


class CloudState(TextChoices):
    """State of a cluster in the cloud; `Cluster.status_label` has the same labels."""

    AVAILABLE = "available", _("Available")
    BUSY = "busy", _("Busy")
    CREATING = "creating", _("Creating")
    UNAVAILABLE = "unavailable", _("Unavailable")
    FAILED = "failed", _("Failed")
    OTHER = "other", _("Not known")

    @property
    def condition(self) -> Q:
        """The matching clusters, present or not."""
        if self is CloudState.BUSY:
            return ~_IDLE
        if self is CloudState.OTHER:
            return _IDLE & ~Q(status__in=_STATUS.values())
        return _IDLE & Q(status=_STATUS[self])


_STATUS = {
    CloudState.AVAILABLE: "200",
    CloudState.CREATING: "100",
    CloudState.UNAVAILABLE: "300",
    CloudState.FAILED: "303",
}


class Engine(TextChoices):
    """Engine of a cluster, as `datastoreType` in querying_the_cluster_list."""

    ELASTICSEARCH = "elasticsearch", "Elasticsearch"
    OPENSEARCH = "opensearch", "OpenSearch"
    LOGSTASH = "logstash", "Logstash"
    OTHER = "other", _("Other")

    @property
    def condition(self) -> Q:
        """The matching clusters."""
        if self is Engine.OTHER:
            known = [each for each in Engine if each is not Engine.OTHER]
            return ~Q(*(Q(engine__iexact=each) for each in known), _connector=Q.OR)
        return Q(engine__iexact=self)


class Sort(TextChoices):
    """Sort key of the list."""

    NAME = "name", _("Name")
    PROJECT = "project", _("Project")
    ENGINE = "engine", _("Engine")
    READINESS = "readiness", _("Readiness")
    PROTECTION = "protection", _("Protection")
    VERIFIED = "verified", _("Last verified")
    OBJECTIVE = "objective", _("Objective")
    DUE = "due", _("Due by")


@dataclass(frozen=True, slots=True)
class Order:
    """A sort order of the list; it always ends in name and id, so it is unambiguous.

    Attributes:
        sort: the key.
        descending: reverses it. Ascending means worst first for readiness and protection, and
            oldest first for the last verified backup, where "never" is the oldest.
    """

    sort: Sort = Sort.NAME
    descending: bool = False

    @classmethod
    def parse(cls, text: str) -> Order:
        """Parse an order from a URL: `name`, or `-name` for descending.

        Raises:
            ValueError: unknown order.
        """
        return cls(Sort(text.removeprefix("-")), text.startswith("-"))

    def __str__(self) -> str:
        return f"-{self.sort.value}" if self.descending else self.sort.value

    @property
    def label(self) -> str:
        """Display text, such as “Readiness, worst first”."""
        return str(_ORDER % {"sort": self.sort.label, "end": _ENDS[self.sort][self.descending]})

    def reversed(self) -> Order:
        """The same key in the opposite direction."""
        return Order(self.sort, not self.descending)

    def expressions(self, now: datetime) -> list[OrderBy]:
        """Arguments for `order_by`.

        Args:
            now: the time at which protection is evaluated.
        """
        if self.sort is Sort.NAME:
            # both in one direction, to use the index
            return [OrderBy(F(key), descending=self.descending) for key in ("name", "id")]
        keys = _keys(self.sort, now)
        return [*(self._directed(key) for key in keys), F("name").asc(), F("id").asc()]

    def _directed(self, key: _Key) -> OrderBy:
        if key not in _NULLABLE:
            return OrderBy(key, descending=self.descending)
        if self.descending:
            return OrderBy(key, descending=True, nulls_last=True)
        return OrderBy(key, nulls_first=True)


_NULLABLE = (F("overdue_at"), F("verified_at"))
_Key = F | Case | Coalesce


def _keys(sort: Sort, now: datetime) -> list[_Key]:
    if sort is Sort.PROJECT:
        return [F("project__cloud"), F("project__region"), F("project__name"), F("project_id")]
    if sort is Sort.ENGINE:
        return [F("engine"), F("version")]
    if sort is Sort.READINESS:
        return [_rank([Q(readiness=each) for each in RANK])]
    if sort is Sort.PROTECTION:
        return [_rank([protection_q(each, now) for each in WORST_FIRST]), F("overdue_at")]
    if sort is Sort.OBJECTIVE:
        return [Coalesce("objective_hours", "project__objective_hours")]
    if sort is Sort.DUE:
        return [F("overdue_at")]
    return [F("verified_at")]


def _rank(conditions: list[Q]) -> Case:
    whens = [When(condition, then=Value(rank)) for rank, condition in enumerate(conditions)]
    return Case(*whens, default=Value(len(whens)), output_field=IntegerField())


_ORDER = _("%(sort)s, %(end)s")  # as in “Readiness, worst first”
_LETTERS = (_("A to Z"), _("Z to A"))
_WORSE = (_("worst first"), _("best first"))
_ENDS = {
    Sort.NAME: _LETTERS,
    Sort.PROJECT: _LETTERS,
    Sort.ENGINE: _LETTERS,
    Sort.READINESS: _WORSE,
    Sort.PROTECTION: _WORSE,
    Sort.VERIFIED: (_("oldest first"), _("newest first")),
    Sort.OBJECTIVE: (_("shortest first"), _("longest first")),
    Sort.DUE: (_("soonest first"), _("latest first")),
}

ORDERS = [Order(sort, descending) for sort in Sort for descending in (False, True)]


class PageFilter(django_filters.Filter):
    """The page number; not a filter of the queryset."""

    field_class = forms.IntegerField

    def filter(self, qs: QuerySet[Any, Any], value: Any) -> QuerySet[Any, Any]:
        return qs


def _several(choices: type[TextChoices], label: Any) -> django_filters.MultipleChoiceFilter:
    return django_filters.MultipleChoiceFilter(
        choices=choices.choices, method="by_values", label=label
    )


NEVER = "never"  # in place of the state of a cluster's last run


class CommonFilter(django_filters.FilterSet):
    """Filters of every list of clusters: values of one filter are joined by OR, filters by AND.

    Args:
        data: the URL's query; empty fields are ignored.
        user: only clusters in projects that this user may see; None for a command: all.
        now: the time at which protection is evaluated.
    """

    q = django_filters.CharFilter(method="by_text", label=_("Name or id"), max_length=100)
    project = django_filters.ModelChoiceFilter(queryset=Project.objects.none(), label=_("Project"))
    engine = _several(Engine, _("Engine"))
    label = django_filters.CharFilter(method="by_label", label=_("Tag or label"), max_length=384)
    state = _several(CloudState, _("In the cloud"))
    readiness = _several(Readiness, _("Readiness"))
    cause = django_filters.MultipleChoiceFilter(
        choices=AttentionCause.choices, method="by_cause", label=_("Needs attention")
    )
    handled = django_filters.ChoiceFilter(
        choices=HandledChoice.choices, method="by_handled", label=_("Handled")
    )
    sort = django_filters.ChoiceFilter(
        choices=[(str(order), str(order)) for order in ORDERS],
        method="skip",
        label=_("Order"),
    )
    page = PageFilter(label=_("Page"), min_value=1)

    usual_order = Order()

    class Meta:
        model = Cluster
        fields: list[str] = []

    def __init__(self, data: QueryDict, *, user: User | None, now: datetime | None = None) -> None:
        visible = Cluster.objects.all() if user is None else Cluster.objects.visible_to(user)
        super().__init__(without_empty(data), queryset=visible)
        self.now = now or timezone.now()
        projects = cast("forms.ModelChoiceField[Project]", self.filters["project"].field)
        seen = Project.objects.all() if user is None else Project.objects.visible_to(user)
        projects.queryset = seen

    def skip(self, clusters: ClusterQuerySet, name: str, value: Any) -> ClusterQuerySet:
        """Not filtered here: filters that are also counted, and the order."""
        return clusters

    def by_text(self, clusters: ClusterQuerySet, name: str, value: str) -> ClusterQuerySet:
        return clusters.filter(Q(name__icontains=value) | Q(cluster_id__icontains=value))

    def by_label(self, clusters: ClusterQuerySet, name: str, value: str) -> ClusterQuerySet:
        key, equals, wanted = (part.strip() for part in value.partition("="))
        tags = ClusterTag.objects.filter(key=key)
        if equals:
            tags = tags.filter(value=wanted)
        return clusters.filter(pk__in=tags.values("cluster"))

    def by_values(self, clusters: ClusterQuerySet, name: str, value: list[str]) -> ClusterQuerySet:
        if not value:
            return clusters
        if name == "readiness":
            return clusters.filter(readiness__in=value)
        return clusters.filter(any_of(self._condition(name, each) for each in value))

    def by_cause(self, clusters: ClusterQuerySet, name: str, value: list[str]) -> ClusterQuerySet:
        if not value:
            return clusters
        return with_cause(clusters, self.now).filter(Q(attention_cause__in=value))

    def by_handled(self, clusters: ClusterQuerySet, name: str, value: str) -> ClusterQuerySet:
        handled = handled_q(self.now)
        wanted = handled if value == HandledChoice.YES else ~handled
        return with_cause(clusters, self.now).filter(wanted)

    def _condition(self, name: str, value: str) -> Q:
        if name == "protection":
            return protection_q(Protection(value), self.now)
        return (CloudState(value) if name == "state" else Engine(value)).condition

    @property
    def order(self) -> Order:
        """The chosen order, or the usual one."""
        return Order.parse(self.form.cleaned_data.get("sort") or str(self.usual_order))

    @property
    def page_number(self) -> int:
        """The requested page. The form must be valid, here and in all methods below."""
        number: int | None = self.form.cleaned_data["page"]
        return number or 1

    @property
    def matching(self) -> ClusterQuerySet:
        """The matching clusters, unordered."""
        return cast(ClusterQuerySet, self.qs.order_by())


class ClusterFilter(CommonFilter):
    """Filters and order of the clusters page."""

    protection = _several(Protection, _("Protection"))
    show = django_filters.ChoiceFilter(choices=Presence.choices, method="skip", label=_("Show"))
    last_state = django_filters.MultipleChoiceFilter(
        choices=[*RunState.choices, (NEVER, _("Never backed up here"))],
        method="by_last",
        label=_("State of the last run"),
    )
    last_outcome = django_filters.MultipleChoiceFilter(
        choices=[choice for choice in Outcome.choices if choice[0]],
        method="by_last",
        label=_("Outcome of the last run"),
    )

    @property
    def presence(self) -> Presence:
        return Presence(self.form.cleaned_data.get("show") or Presence.PRESENT)

    def by_last(self, clusters: ClusterQuerySet, name: str, value: list[str]) -> ClusterQuerySet:
        if not value:
            return clusters
        runs = BackupRun.objects.filter(cluster=OuterRef("pk")).order_by("-requested_at", "-id")
        column = name.removeprefix("last_")
        found = clusters.annotate(**{f"latest_{column}": Subquery(runs.values(column)[:1])})
        wanted = Q(**{f"latest_{column}__in": value})
        if NEVER in value:
            wanted |= Q(**{f"latest_{column}": None})
        return found.filter(wanted)

    def clusters(self) -> ClusterQuerySet:
        """The matching clusters, in order."""
        found = self.matching.filter(self.presence.condition)
        return found.order_by(*self.order.expressions(self.now))

    def counts(self) -> dict[Presence, int]:
        """Number of matching clusters for each presence, in one query."""
        some = {
            each.value: Count("pk", filter=each.condition) for each in Presence if each.condition
        }
        found = self.matching.aggregate(**some, all=Count("pk"))
        return {each: found[each.value] for each in Presence}


class ProtectionFilter(CommonFilter):
    """Filters of the protection page: present clusters, usually worst protected first."""

    protection = django_filters.MultipleChoiceFilter(
        choices=Protection.choices, method="skip", label=_("Protection")
    )

    usual_order = Order(Sort.PROTECTION)

    @property
    def _chosen(self) -> list[Protection]:
        return [Protection(each) for each in self.form.cleaned_data.get("protection") or ()]

    @property
    def _counting(self) -> ClusterQuerySet:
        return self.matching.filter(Presence.PRESENT.condition)

    def clusters(self) -> ClusterQuerySet:
        """The matching clusters, in order."""
        found = self._counting
        if self._chosen:
            found = found.filter(any_of(protection_q(each, self.now) for each in self._chosen))
        return found.order_by(*self.order.expressions(self.now))

    def counts_by_state(self) -> dict[Protection, int]:
        """Number of matching clusters for each state of protection, in one query."""
        found = self._counting.aggregate(
            **{each.value: Count("pk", filter=protection_q(each, self.now)) for each in Protection}
        )
        return {each: found[each.value] for each in Protection}

    def count(self, by_state: dict[Protection, int]) -> int:
        """Number of matching clusters, from the result of `counts_by_state`."""
        return sum(by_state[each] for each in self._chosen or Protection)


def any_of(conditions: Iterable[Q]) -> Q:
    """At least one of the conditions."""
    return Q(*conditions, _connector=Q.OR)


def page_of(clusters: ClusterQuerySet, count: int, number: int, size: int = PAGE_SIZE) -> Page[int]:
    """A page of primary keys.

    Only keys are selected, so the database skips the rows before the page without reading them.

    Args:
        clusters: in order.
        count: their number, which the caller has already counted.
        number: from 1; a number beyond the last page means the last page.
        size: rows of a page.
    """
    paginator = Paginator(clusters.values_list("pk", flat=True), size)
    vars(paginator)["count"] = count  # a cached property
    return paginator.get_page(number)
