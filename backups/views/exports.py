"""Exports of the history."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.http import HttpResponse, HttpResponseBase, QueryDict, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from backups.forms import ExportForm
from backups.lists.history import HistoryFilter, pinned
from backups.models import Export, ExportAs
from backups.services.exports import LOST_AFTER, begin, knows_zone, line_format, stream
from dashboard.accounts.access import Permission, require_somewhere
from dashboard.audit.trail import Actor

from .common import PageRequest, bad_request
from .history import filter_query
from .live import Shown, live_response, live_view, token

MOST_SHOWN = 50


@require_http_methods(["GET", "HEAD", "POST"])
def exports(request: PageRequest) -> HttpResponseBase:
    """GET: the user's exports. POST: make one; its rows are the answer."""
    return _make(request) if request.method == "POST" else _list(request)


def _list(request: PageRequest) -> HttpResponse:
    made = Export.objects.filter(owner=request.user).order_by("-started_at")[:MOST_SHOWN]
    return render(request, "backups/exports.html", {"rows": _rows(made)})


@live_view
def exports_live(request: PageRequest, shown: Shown) -> HttpResponse | None:
    """The rows of shown exports that have changed."""
    tokens = dict(shown)
    made = Export.objects.filter(owner=request.user, pk__in=tokens)
    changed = [row for row in _rows(made) if row.token != tokens[row.export.pk]]
    if not changed:
        return None
    return live_response(request, {"rows": changed}, row_template="backups/export_row.html")


@dataclass(frozen=True, slots=True)
class ExportRow:
    """An export in the table.

    Attributes:
        export: the export.
        is_lost: it has not advanced for so long that nobody can still be receiving it.
    """

    export: Export
    is_lost: bool

    @property
    def is_running(self) -> bool:
        return self.export.state == Export.State.RUNNING and not self.is_lost

    @property
    def token(self) -> str:
        """The live token of the row."""
        return token(self.export.rows, self.export.state)


def _rows(exports: Iterable[Export]) -> list[ExportRow]:
    lost_before = timezone.now() - LOST_AFTER
    return [
        ExportRow(export, export.state == Export.State.RUNNING and export.changed_at < lost_before)
        for export in exports
    ]


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
    kind = ExportAs(form.cleaned_data["format"])
    zone = timezone.get_current_timezone_name() if form.cleaned_data["local"] else "UTC"
    if kind is ExportAs.EXCEL and not knows_zone(zone):
        form.add_error("local", _("The database does not know the time zone %s.") % zone)
        return bad_request(request, form)
    shape = line_format(kind, zone)
    query = filter_query(pinned(given, found.form.cleaned_data))
    export = begin(found, kind, shape, query=query, actor=Actor.of(request))
    return StreamingHttpResponse(
        stream(export, found, shape), content_type=kind.content_type, headers=kind.headers(now)
    )
