"""Exports of the history."""

from __future__ import annotations

from django.db import transaction
from django.http import HttpResponse, HttpResponseBase, QueryDict, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from backups.forms import ExportForm, LiveForm
from backups.history.filters import HistoryFilter
from backups.history.windows import pinned
from backups.models import Export
from backups.services.exports import LOST_AFTER, stream
from dashboard.accounts.access import Permission, require_somewhere
from dashboard.audit.actions import Action
from dashboard.audit.trail import Actor, record

from .common import PageRequest, bad_request, mark_live, unchanged
from .history import filter_query

MOST_SHOWN = 50
_TYPES = {Export.Format.CSV: "text/csv", Export.Format.JSONL: "application/jsonl"}


@require_http_methods(["GET", "HEAD", "POST"])
def exports(request: PageRequest) -> HttpResponseBase:
    """GET: the user's exports. POST: make one; its rows are the answer."""
    return _make(request) if request.method == "POST" else _list(request)


def _list(request: PageRequest) -> HttpResponse:
    made = Export.objects.filter(owner=request.user).order_by("-started_at")[:MOST_SHOWN]
    return render(
        request,
        "backups/exports.html",
        {"exports": made, "lost_before": timezone.now() - LOST_AFTER},
    )


@require_safe
def exports_live(request: PageRequest) -> HttpResponse:
    """Those of the shown exports that have moved on."""
    form = LiveForm(request.GET)
    if not form.is_valid():
        return bad_request(request, form)
    shown = dict(form.cleaned_data["shown"])
    made = Export.objects.filter(owner=request.user, pk__in=shown)
    changed = [export for export in made if f"{export.rows}.{export.state}" != shown[export.pk]]
    if not changed:
        return unchanged()
    context = {"exports": changed, "lost_before": timezone.now() - LOST_AFTER}
    return mark_live(render(request, "backups/exports_live.html", context))


def _make(request: PageRequest) -> HttpResponseBase:
    require_somewhere(request.user, Permission.EXPORT)
    form = ExportForm(request.POST)
    if not form.is_valid():
        return bad_request(request, form)
    given = QueryDict(form.cleaned_data["query"])
    now = timezone.now()
    found = HistoryFilter(given, user=request.user, now=now, permission=Permission.EXPORT)
    if not found.is_valid():
        return bad_request(request, found.form)
    query = filter_query(pinned(given, found.form.cleaned_data))
    with transaction.atomic():
        export = Export.objects.create(
            owner=request.user,
            owner_name=request.user.get_username(),
            format=form.cleaned_data["format"],
            query=query,
            requested_before=now,
        )
        record(
            Action.EXPORT_MADE,
            actor=Actor.of(request),
            target=export,
            details={
                "format": export.format,
                "filter": query,
                # what a window that counts back from now came to
                "since": found.begins_at,
                "until": min(found.form.cleaned_data.get("until") or now, now),
            },
        )
    kind = Export.Format(export.format)
    return StreamingHttpResponse(
        stream(export, found),
        content_type=f"{_TYPES[kind]}; charset=utf-8",
        headers={
            "Content-Disposition": (
                f'attachment; filename="log-backup-history-{now:%Y%m%dT%H%M%SZ}.{kind.value}"'
            ),
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",  # nginx: pass it on as it comes
        },
    )
