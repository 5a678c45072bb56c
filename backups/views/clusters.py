"""The clusters page: all clusters with readiness, protection and the backup button."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from backups.choices import AttentionCause, Protection, Readiness
from backups.forms import MAX_WAIT_MINUTES
from backups.lists.causes import HandledChoice
from backups.lists.clusters import (
    ORDERS,
    CloudState,
    ClusterFilter,
    CommonFilter,
    Engine,
    Order,
    Presence,
    Sort,
    page_of,
)
from backups.lists.filtering import active_chips, without_empty
from backups.models import Connection, Listing, Project, SavedView
from dashboard.web.display import PAGE_SIZES, display_of

from .cluster_rows import rows_in_order, tokens_of
from .common import PageRequest, bad_request
from .live import Shown, live_response, live_view
from .presentation import Text

MOST_OFFERED = 500  # projects in the filter
MOST_ALERTS = 5
_CONTROLS = ("show", "sort", "page")  # always seen on the page, so they need no chip


@dataclass(frozen=True, slots=True)
class PresenceTab:
    """A tab that shows clusters of one presence with the same filter."""

    presence: Presence
    count: int
    query: str
    current: bool


@dataclass(frozen=True, slots=True)
class SortLink:
    """A link that sorts the list.

    Attributes:
        label: by what.
        query: the URL's query that sorts by it, or the other way round where it does already.
        current: the order in force, None where it is another.
    """

    label: Text
    query: str
    current: Order | None


@dataclass(frozen=True, slots=True)
class ColumnHead:
    """The header of a column with its sort links."""

    links: list[SortLink]

    @property
    def direction(self) -> str:
        """For `aria-sort`; "" where the list is sorted by another column."""
        current = next((link.current for link in self.links if link.current), None)
        if current is None:
            return ""
        return "descending" if current.descending else "ascending"


_COLUMNS: tuple[dict[Sort, Text], ...] = (
    {Sort.NAME: _("Cluster"), Sort.ENGINE: _("Engine")},
    {Sort.PROJECT: _("Project and region")},
    {Sort.READINESS: _("Readiness")},
    {Sort.PROTECTION: _("Protection"), Sort.VERIFIED: _("Last verified")},
)


def url_query(query: QueryDict, **changes: str) -> str:
    """Query string of the first page with some parameters changed; "" removes one."""
    rest = without_empty(query)
    rest.pop("page", None)
    for name, value in changes.items():
        rest.pop(name, None)
        if value:
            rest[name] = value
    return rest.urlencode()


def column_heads(
    query: QueryDict, found: CommonFilter, columns: Iterable[Mapping[Sort, Text]]
) -> list[ColumnHead]:
    """The headers of the columns that sort a list of clusters.

    Args:
        query: the URL's.
        found: the list's filter, which must be valid.
        columns: the sort keys of each column with their labels.
    """
    order = found.order

    def link(sort: Sort, label: Text) -> SortLink:
        here = sort is order.sort
        wanted = order.reversed() if here else Order(sort)
        text = "" if wanted == found.usual_order else str(wanted)
        return SortLink(label, url_query(query, sort=text), order if here else None)

    return [ColumnHead([link(*each) for each in column.items()]) for column in columns]


@require_safe
def clusters(request: PageRequest) -> HttpResponse:
    """The clusters that match the filter, a page at a time."""
    found = ClusterFilter(request.GET, user=request.user)
    if not found.is_valid():
        return bad_request(request, found.form)
    counts = found.counts()
    display = display_of(request)
    page = page_of(found.clusters(), counts[found.presence], found.page_number, display.rows)
    rows = rows_in_order(list(page), request.user)
    problems = Connection.objects.visible_to(request.user).connected().exclude(sync_error="")
    context = {
        "rows": rows,
        "page": page,
        "counts": counts,
        "elsewhere": counts[Presence.ALL] - counts[found.presence],
        "presence": found.presence,
        "order": found.order,
        "orders": ORDERS,
        "heads": column_heads(request.GET, found, _COLUMNS),
        "form": found.form,
        "chips": active_chips(found, request.GET, drop=("page",), seen_elsewhere=_CONTROLS),
        "query": url_query(request.GET),
        "saved_views": SavedView.objects.offered_to(request.user, Listing.CLUSTERS),
        "listing": Listing.CLUSTERS,
        "cleared": url_query(
            QueryDict(), show=request.GET.get("show", ""), sort=request.GET.get("sort", "")
        ),
        "query_for_all": url_query(request.GET, show=Presence.ALL.value),
        "tabs": [
            PresenceTab(
                each,
                counts[each],
                url_query(request.GET, show="" if each is Presence.PRESENT else each.value),
                each is found.presence,
            )
            for each in Presence
        ],
        "projects": list(Project.objects.visible_to(request.user)[:MOST_OFFERED]),
        "choices": {
            "readiness": Readiness.choices,
            "protection": Protection.choices,
            "state": CloudState.choices,
            "engine": Engine.choices,
            "cause": AttentionCause.choices,
            "handled": HandledChoice.choices,
            "last_state": ClusterFilter.base_filters["last_state"].extra["choices"],
            "last_outcome": ClusterFilter.base_filters["last_outcome"].extra["choices"],
        },
        "sync_problems": list(problems[:MOST_ALERTS]),
        "has_active": any(run.is_active for row in rows if (run := row.cluster.latest_run)),
        "max_wait": MAX_WAIT_MINUTES,
        "back": request.get_full_path(),
        "may_select": any(row.may_ask for row in rows),
        "sizes": PAGE_SIZES,
        "columns": display.columns("clusters"),
        "hidden": display.classes("clusters"),
    }
    return render(request, "backups/clusters.html", context)


@live_view
def clusters_live(request: PageRequest, shown: Shown) -> HttpResponse | None:
    """The shown rows that have changed.

    A row that no longer matches the filter stays until the page is loaded again, so that no row
    disappears while somebody is about to click it.
    """
    tokens = dict(shown)
    changed = [pk for pk, now in tokens_of(tokens, request.user).items() if now != tokens[pk]]
    if not changed:
        return None
    rows = rows_in_order(changed, request.user)
    context = {"rows": rows, "max_wait": MAX_WAIT_MINUTES}
    return live_response(request, context, row_template="backups/cluster_row.html")
