"""The protection page: clusters by protection, worst first, each with its next step."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count, QuerySet
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from backups.choices import AttentionCause, Protection
from backups.lists.clusters import Presence, ProtectionFilter, Sort, page_of
from backups.lists.filtering import active_chips
from backups.models import BackupRun, Cluster, Handling, Project
from backups.models.cluster import WORST_FIRST
from backups.rules.causes import cause_of
from backups.services.attention import (
    CauseGroup,
    Handlings,
    bad_results,
    cause_of_run,
    needs_attention,
)
from backups.services.clusters import protection as services
from dashboard.accounts.access import Permission, may
from dashboard.web.display import display_of

from .attention import board_of
from .cluster_rows import ClusterRow, NextStep, next_step, rows_in_order
from .clusters import MOST_OFFERED, column_heads, url_query
from .common import PageRequest, bad_request
from .presentation import Text

_CONTROLS = ("protection", "sort", "page")  # always seen on the page, so they need no chip
_COLUMNS: tuple[dict[Sort, Text], ...] = (
    {Sort.NAME: _("Cluster")},
    {Sort.PROTECTION: Sort.PROTECTION.label},
    {Sort.VERIFIED: Sort.VERIFIED.label},
    {Sort.OBJECTIVE: Sort.OBJECTIVE.label},
    {Sort.DUE: Sort.DUE.label},
    {Sort.READINESS: Sort.READINESS.label},
)
MOST_PROJECTS = 50  # whose objective is offered; the filter reaches the others


@dataclass(frozen=True, slots=True)
class StateTab:
    """A tab that shows one state of protection with the same filter; None: all."""

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
    """Number of clusters that do not count, by reason."""
    return clusters.aggregate(
        gone=Count("pk", filter=Presence.GONE.condition),
        archived=Count("pk", filter=Presence.ARCHIVED.condition),
    )


def _step(row: ClusterRow, bad: BackupRun | None) -> tuple[NextStep, BackupRun | None]:
    """The next step for a row, and the run that it leads to."""
    latest = row.cluster.latest_run
    step = next_step(row.cluster, bad, row.protection, may_ask=row.may_ask)
    return step, latest if latest and latest.is_active else bad


@dataclass(frozen=True, slots=True)
class Need:
    """Why the cluster of a row needs attention.

    Attributes:
        cause: why.
        handling: the handling that covers it, None where it counts.
    """

    cause: AttentionCause
    handling: Handling | None


def _need(row: ClusterRow, bad: BackupRun | None, handlings: Handlings) -> Need | None:
    cluster = row.cluster
    last = cause_of_run(bad) if bad else None
    cause = cause_of(row.protection, cluster.readiness, last)
    if cause is None:
        return None
    facts = (cluster.pk, cluster.project_id, cause, cluster.verified_at)
    return Need(cause, handlings.covering(*facts))


@require_safe
def protection(request: PageRequest) -> HttpResponse:
    """The clusters that count, worst first unless sorted otherwise, a page at a time."""
    found = ProtectionFilter(request.GET, user=request.user)
    if not found.is_valid():
        return bad_request(request, found.form)
    counts = found.counts_by_state()
    size = display_of(request).rows
    page = page_of(found.clusters(), found.count(counts), found.page_number, size)
    pks = list(page)
    rows = rows_in_order(pks, request.user)
    bad = bad_results(Cluster.objects.filter(pk__in=pks))
    chosen: Project | None = found.form.cleaned_data.get("project")
    projects = list(Project.objects.visible_to(request.user)[:MOST_OFFERED])
    chips = active_chips(found, request.GET, drop=("page",), seen_elsewhere=_CONTROLS)
    deciding = [chosen] if chosen else projects[:MOST_PROJECTS]
    attention = needs_attention(request.user)
    context = {
        "rows": [
            (row, *_step(row, run), _need(row, run, attention.handlings))
            for row in rows
            for run in [bad.get(row.cluster.pk)]
        ],
        "board": board_of(
            attention, [CauseGroup(each, []) for each in attention.counts], request.user
        ),
        "page": page,
        "summary": services.summary(request.user),
        "within": counts[Protection.PROTECTED] + counts[Protection.DUE],
        "matching": sum(counts.values()),
        "left_out": _left_out(Cluster.objects.visible_to(request.user)),
        "tabs": _tabs(request.GET, counts),
        "order": found.order,
        "heads": column_heads(request.GET, found, _COLUMNS),
        "form": found.form,
        "chips": chips,
        "query": url_query(request.GET),
        "cleared": url_query(QueryDict()),
        "projects": projects,
        "deciding": [p for p in deciding if may(request.user, Permission.CONFIGURE, p)],
        "more_projects": not chosen and len(projects) > MOST_PROJECTS,
        "back": request.get_full_path(),
        "may_select": any(row.may_ask for row in rows),
    }
    return render(request, "backups/protection.html", context)
