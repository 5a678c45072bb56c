"""The report of a project or of all: a page made for print, and the same figures as CSV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from backups.choices import Outcome, Protection
from backups.forms import form_problems
from backups.guide import explain_run
from backups.lists.report import Range, ReportForm, Span
from backups.models import Project
from backups.services.report import CauseCount, ClusterReport, Report, RunGroup, make_report
from backups.services.report_csv import csv_report

from .badges import PROTECTION, Badge
from .clusters import MOST_OFFERED
from .common import PageRequest, bad_request

MOST_CLUSTERS = 100  # on the page, least protected first; the CSV has all
MOST_EVENTS = 200
MOST_CAUSES = 100


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of runs, and the filter of the history that shows them."""

    label: str | Promise
    count: int
    query: str


@dataclass(frozen=True, slots=True)
class CauseRow:
    """A cause with its filter of the history; "" where the history has no such filter."""

    cause: CauseCount
    meaning: str | Promise
    query: str


def _query(report: Report, **more: list[str]) -> str:
    """The history's filter for the runs of a report."""
    query = QueryDict(mutable=True)
    query["since"], query["until"] = report.days.begin.isoformat(), report.days.end.isoformat()
    if report.project:
        query["project"] = str(report.project.pk)
    for name, values in more.items():
        query.setlist(name, values)
    return query.urlencode()


def _own_query(days: Range, project: Project | None) -> str:
    """The report's query, with the zone in which its days were read."""
    query = QueryDict(mutable=True)
    query["first"], query["last"] = days.first.isoformat(), days.last.isoformat()
    query["zone"] = days.zone
    if project:
        query["project"] = str(project.pk)
    return query.urlencode()


def _cause_rows(report: Report) -> list[CauseRow]:
    rows = []
    for cause in report.causes[:MOST_CAUSES]:
        filters = {"state": [cause.state.value]}
        if cause.outcome:
            filters["outcome"] = [cause.outcome]
        if cause.error_code:
            filters["error_code"] = [cause.error_code]
        same = [
            each
            for each in report.causes
            if each.state == cause.state
            and (not cause.outcome or each.outcome == cause.outcome)
            and (not cause.error_code or each.error_code == cause.error_code)
        ]
        explained = explain_run(
            cause.state, Outcome(cause.outcome), cause.error_code, by_hand=cause.by_hand
        )
        query = _query(report, **filters) if len(same) == 1 else ""
        rows.append(CauseRow(cause, explained.meaning, query))
    return rows


@require_safe
def report(request: PageRequest) -> HttpResponse:
    """The report; without a range, that of the last month in the viewer's time zone."""
    now = timezone.now()
    form = ReportForm(request.GET, user=request.user, now=now)
    zones = list(dict.fromkeys([timezone.get_current_timezone_name(), "UTC"]))
    context: dict[str, Any] = {
        "form": form,
        "projects": list(Project.objects.visible_to(request.user)[:MOST_OFFERED]),
        "zones": zones,
    }
    if not form.is_valid():
        context["problems"] = form_problems(form)
        return render(request, "backups/report.html", context, status=400)
    days, project = form.cleaned_data["range"], form.cleaned_data["project"]
    if days.zone not in zones:
        zones.append(days.zone)
    made = make_report(request.user, days, project, now)
    spans = [(span, Range.of(span, days.zone, now)) for span in Span]
    figures = [
        Figure(group.label, made.runs[group], _query(made, state=list(group.states)))
        for group in RunGroup
    ]
    trail = made.trail
    context |= {
        "report": made,
        "range": days,
        "spans": [(span.label, _own_query(each, project), each == days) for span, each in spans],
        "csv_query": _own_query(days, project),
        "clusters": [_row(each) for each in made.clusters[:MOST_CLUSTERS]],
        "outside": [
            (state, made.at_end(state)) for state in (Protection.OVERDUE, Protection.NEVER)
        ],
        "more_clusters": max(0, len(made.clusters) - MOST_CLUSTERS),
        "figures": figures,
        "all_figures": [Figure(_("All runs"), made.runs.total(), _query(made)), *figures],
        "first": days.first.isoformat(),
        "last": days.last.isoformat(),
        "causes": _cause_rows(made),
        "more_causes": max(0, len(made.causes) - MOST_CAUSES),
        "events": trail.events[:MOST_EVENTS] if trail else [],
        "more_events": trail is not None and (trail.more or len(trail.events) > MOST_EVENTS),
        "chain_status": {"ended": trail.verification} if trail else None,
    }
    with timezone.override(ZoneInfo(days.zone)):  # all times in the zone of its days
        return render(request, "backups/report.html", context)


def _row(each: ClusterReport) -> tuple[ClusterReport, Badge | None, list[tuple[RunGroup, int]]]:
    """A cluster, its state at the end, and its runs in the groups that have a column."""
    badge = PROTECTION[each.state] if each.state else None
    return each, badge, [(group, each.runs[group]) for group in list(RunGroup)[:4]]


@require_safe
def report_csv(request: PageRequest) -> HttpResponse:
    """The same as CSV, with all clusters and more events."""
    now = timezone.now()
    form = ReportForm(request.GET, user=request.user, now=now)
    if not form.is_valid():
        return bad_request(request, form)
    days, project = form.cleaned_data["range"], form.cleaned_data["project"]
    content = csv_report(make_report(request.user, days, project, now), request.user)
    name = f"report-{days.first:%Y-%m-%d}-{days.last:%Y-%m-%d}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return HttpResponse(content, content_type="text/csv; charset=utf-8", headers=headers)
