"""What the list of clusters can be filtered by. All of it stands in the URL."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, cast

import django_filters
from django import forms
from django.db.models import Count, Q, QuerySet, TextChoices
from django.http import QueryDict
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from backups.choices import Protection, Readiness
from backups.lists.history.filters import without_empty
from backups.models import Cluster, ClusterTag, Project
from backups.models.cluster import ClusterQuerySet, protection_q
from dashboard.accounts.models import User

from .sorting import ORDERS, Order, Sort
from .states import CloudState, Engine, Presence


class PageFilter(django_filters.Filter):
    """The number of the page; one that is beyond the last is taken for the last."""

    field_class = forms.IntegerField

    def filter(self, qs: QuerySet[Any, Any], value: Any) -> QuerySet[Any, Any]:
        return qs


def _several(choices: type[TextChoices], label: Any) -> django_filters.MultipleChoiceFilter:
    return django_filters.MultipleChoiceFilter(
        choices=choices.choices, method="by_values", label=label
    )


class CommonFilter(django_filters.FilterSet):
    """What every list of clusters can be filtered by.

    Several of one kind mean any of them, several kinds all of them. A value that cannot be read
    makes it invalid.

    Args:
        data: the URL's query; fields that were left empty do not count.
        user: whose view it is: only clusters of projects that they may see.
        now: the moment at which protection is judged.
    """

    q = django_filters.CharFilter(method="by_text", label=_("Name or id"), max_length=100)
    project = django_filters.ModelChoiceFilter(queryset=Project.objects.none(), label=_("Project"))
    engine = _several(Engine, _("Engine"))
    label = django_filters.CharFilter(method="by_label", label=_("Tag or label"), max_length=384)
    state = _several(CloudState, _("In the cloud"))
    readiness = _several(Readiness, _("Readiness"))
    page = PageFilter(label=_("Page"), min_value=1)

    class Meta:
        model = Cluster
        fields: list[str] = []

    def __init__(self, data: QueryDict, *, user: User, now: datetime | None = None) -> None:
        super().__init__(without_empty(data), queryset=Cluster.objects.visible_to(user))
        self.now = now or timezone.now()
        projects = cast("forms.ModelChoiceField[Project]", self.filters["project"].field)
        projects.queryset = Project.objects.visible_to(user)

    def leave(self, clusters: ClusterQuerySet, name: str, value: Any) -> ClusterQuerySet:
        """Applied elsewhere: what is counted as well, and the order, which is no filter."""
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

    def _condition(self, name: str, value: str) -> Q:
        if name == "protection":
            return protection_q(Protection(value), self.now)
        return (CloudState(value) if name == "state" else Engine(value)).condition

    @property
    def page_number(self) -> int:
        """The page that is asked for; the form must be valid, here and in all that follows."""
        number: int | None = self.form.cleaned_data["page"]
        return number or 1

    @property
    def matching(self) -> ClusterQuerySet:
        """The clusters that match, in no order."""
        return cast(ClusterQuerySet, self.qs.order_by())


class ClusterFilter(CommonFilter):
    """Filters and order of the clusters page."""

    protection = _several(Protection, _("Protection"))
    show = django_filters.ChoiceFilter(choices=Presence.choices, method="leave", label=_("Show"))
    sort = django_filters.ChoiceFilter(
        choices=[(str(order), str(order)) for order in ORDERS], method="leave", label=_("Order")
    )

    @property
    def presence(self) -> Presence:
        return Presence(self.form.cleaned_data.get("show") or Presence.PRESENT)

    @property
    def order(self) -> Order:
        return Order.parse(self.form.cleaned_data.get("sort") or str(Order()))

    def clusters(self) -> ClusterQuerySet:
        """The clusters that match, in order."""
        found = self.matching.filter(self.presence.condition)
        return found.order_by(*self.order.expressions(self.now))

    def counts(self) -> dict[Presence, int]:
        """How many clusters match otherwise, for each presence; one query."""
        some = {
            each.value: Count("pk", filter=each.condition) for each in Presence if each.condition
        }
        found = self.matching.aggregate(**some, all=Count("pk"))
        return {each: found[each.value] for each in Presence}


class ProtectionFilter(CommonFilter):
    """Filters of the protection page: the clusters that count, the worst protected first."""

    protection = django_filters.MultipleChoiceFilter(
        choices=Protection.choices, method="leave", label=_("Protection")
    )

    @property
    def _chosen(self) -> list[Protection]:
        return [Protection(each) for each in self.form.cleaned_data.get("protection") or ()]

    @property
    def _counting(self) -> ClusterQuerySet:
        return self.matching.filter(Presence.PRESENT.condition)

    def clusters(self) -> ClusterQuerySet:
        """The clusters that match, the worst first."""
        found = self._counting
        if self._chosen:
            found = found.filter(any_of(protection_q(each, self.now) for each in self._chosen))
        return found.order_by(*Order(Sort.PROTECTION).expressions(self.now))

    def counts_by_state(self) -> dict[Protection, int]:
        """How many clusters match otherwise, for each state of protection; one query."""
        found = self._counting.aggregate(
            **{each.value: Count("pk", filter=protection_q(each, self.now)) for each in Protection}
        )
        return {each: found[each.value] for each in Protection}

    def count(self, by_state: dict[Protection, int]) -> int:
        """How many clusters match, by what `counts_by_state` found."""
        return sum(by_state[each] for each in self._chosen or Protection)


def any_of(conditions: Iterable[Q]) -> Q:
    """Clusters for which at least one of the conditions holds."""
    return Q(*conditions, _connector=Q.OR)
