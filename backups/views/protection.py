"""The protection page: which clusters are not protected, the worst first, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from django.db.models import Count, QuerySet
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_safe

from backups.choices import Protection, Readiness, Trigger
from backups.history.chips import active_chips
from backups.inventory.filters import ProtectionFilter
from backups.inventory.paging import page_of
from backups.inventory.sorting import WORST_FIRST
from backups.inventory.states import Presence
from backups.models import Cluster, Project
from backups.services import protection as services
from backups.services.requests import reason_required
from dashboard.accounts.access import Permission, may
from dashboard.look import look_of

from .cluster_rows import ClusterRow, rows_in_order
from .clusters import MOST_OFFERED, url_query
from .common import PageRequest, bad_request, new_key

_CONTROLS = ("protection", "page")  # always seen on the page, so they need no chip
MOST_PROJECTS = 50  # whose objective is offered; the filter reaches the others


class NextStep(StrEnum):
    """What the page offers for a cluster."""

    NOTHING = "nothing"
    FOLLOW = "follow"
    SETTINGS = "settings"
    CLUSTER = "cluster"
    BACKUP = "backup"


def next_step(row: ClusterRow) -> NextStep:
    """What brings a cluster's protection forward: what stands in the way first."""
    run, readiness = row.cluster.latest_run, row.cluster.readiness
    if run and run.is_active:
        return NextStep.FOLLOW
    if row.protection is Protection.PROTECTED:
        return NextStep.NOTHING
    if readiness in (Readiness.BACKUP_OFF, Readiness.STORAGE_MISSING):
        return NextStep.SETTINGS
    if readiness == Readiness.UNAVAILABLE or not row.may_ask:
        return NextStep.CLUSTER
    return NextStep.BACKUP


@dataclass(frozen=True, slots=True)
class StateTab:
    """A state of protection to look at, with the same filter otherwise; None: all of them."""

    state: Protection | None
    count: int
    query: str
    current: bool


def _tabs(query: QueryDict, counts: dict[Protection, int]) -> list[StateTab]:
    chosen = query.getlist("protection")
    tabs = [StateTab(None, sum(counts.values()), url_query(query, protection=""), not chosen)]
    for state in WORST_FIRST:
        there = url_query(query, protection=state.value)
        tabs.append(StateTab(state, counts[state], there, chosen == [state.value]))
    return tabs


def _left_out(clusters: QuerySet[Cluster]) -> dict[str, int]:
    """How many clusters do not count, and why."""
    return clusters.aggregate(
        gone=Count("pk", filter=Presence.GONE.condition),
        archived=Count("pk", filter=Presence.ARCHIVED.condition),
    )


@require_safe
def protection(request: PageRequest) -> HttpResponse:
    """The clusters that count, the worst first, a page at a time."""
    found = ProtectionFilter(request.GET, user=request.user)
    if not found.is_valid():
        return bad_request(request, found.form)
    counts = found.counts_by_state()
    size = look_of(request).rows
    page = page_of(found.clusters(), found.count(counts), found.page_number, size)
    rows = rows_in_order(page.pks, request.user)
    chosen: Project | None = found.form.cleaned_data.get("project")
    projects = list(Project.objects.visible_to(request.user)[:MOST_OFFERED])
    chips = active_chips(found, request.GET, drop=("page",), seen_elsewhere=_CONTROLS)
    deciding = [chosen] if chosen else projects[:MOST_PROJECTS]
    context = {
        "rows": [(row, next_step(row)) for row in rows],
        "page": page,
        "summary": services.summary(request.user),
        "within": counts[Protection.PROTECTED] + counts[Protection.DUE],
        "matching": sum(counts.values()),
        "left_out": _left_out(Cluster.objects.visible_to(request.user)),
        "tabs": _tabs(request.GET, counts),
        "form": found.form,
        "chips": chips,
        "query": url_query(request.GET),
        "cleared": url_query(QueryDict()),
        "projects": projects,
        "deciding": [p for p in deciding if may(request.user, Permission.CONFIGURE, p)],
        "more_projects": not chosen and len(projects) > MOST_PROJECTS,
        "back": request.get_full_path(),
        "bulk_key": new_key() if any(row.may_ask for row in rows) else "",
        "reason_required": reason_required(Trigger.BULK),
    }
    return render(request, "backups/protection.html", context)
