"""Runs: list, details, export and cancellation."""

from __future__ import annotations

from typing import Annotated, Literal

from django.http import HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.translation import gettext as _
from ninja import Router, Schema
from pydantic import ConfigDict, Field

from backups.lists.history import RUN_KEYSET, HistoryFilter, pinned
from backups.models import BackupRun, ExportAs
from backups.serialize import Json, run_document, run_line
from backups.services.exports import begin, knows_zone, line_format, stream
from backups.services.runs import seal_proof
from backups.services.runs.related import audit_events, neighbours, resolved_by
from backups.services.runs.requests import cancel_run
from dashboard.accounts.access import Permission, require, require_somewhere
from dashboard.audit.trail import Actor
from dashboard.db.keyset import BadCursor, Cursor, PageQuery

from .problems import Invalid
from .queries import LIMIT, described, limit_of, refuse_unknown, valid
from .token import READ, RUN, ApiRequest

router = Router(tags=["runs"])

_PLACES = {
    "older": "Runs older than a position: the value of “older” in a response.",
    "newer": "Runs newer than a position, nearest first: the value of “newer” in a response.",
}


class NoFields(Schema):
    """An empty body."""

    model_config = ConfigDict(extra="forbid")


@router.get(
    "",
    auth=READ,
    url_name="runs",
    summary="List runs",
    openapi_extra={
        "parameters": [
            *described(HistoryFilter),
            *(
                {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
                for name, text in _PLACES.items()
            ),
            LIMIT,
        ]
    },
)
def runs(request: ApiRequest) -> JsonResponse:
    """A page of the runs that match the filters of the history, newest first."""
    refuse_unknown(request, [*HistoryFilter.base_filters, *_PLACES, "limit"])
    limit, wanted = limit_of(request.GET), _page_query(request)
    found = HistoryFilter(request.GET, user=request.user)
    valid(found)
    page = RUN_KEYSET.read(found.branches(), wanted, limit)
    rows = page.rows
    older = RUN_KEYSET.cursor(rows[-1]).encode() if rows and page.has_older else None
    newer = RUN_KEYSET.cursor(rows[0]).encode() if rows else request.GET.get("newer") or None
    query = request.GET.copy()
    for name in _PLACES:
        query.pop(name, None)
    query["older"] = older or ""
    return JsonResponse(
        {
            "items": [run_line(run) for run in rows],
            "window": str(found.window_in_force),
            "older": older,
            "newer": newer,
            "next": f"{request.path}?{query.urlencode()}" if older else None,
        }
    )


class ExportBody(Schema):
    """Optional fields of an export."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: Literal["csv", "excel", "jsonl"] = "csv"
    time_zone: Annotated[str, Field(max_length=64)] = ""


@router.post(
    "/export",
    auth=READ,
    url_name="runs-export",
    summary="Export runs",
    openapi_extra={"parameters": described(HistoryFilter)},
)
def runs_export(request: ApiRequest, body: ExportBody | None = None) -> HttpResponseBase:
    """All runs that match the filters, as a file. Recorded in the audit trail."""
    refuse_unknown(request, HistoryFilter.base_filters)
    require_somewhere(request.user, Permission.EXPORT)
    body = body or ExportBody()
    kind = ExportAs(body.format)
    if body.time_zone and kind is not ExportAs.EXCEL:
        raise Invalid([("time_zone", _("Only the format “excel” takes a time zone."))])
    if body.time_zone and not knows_zone(body.time_zone):
        raise Invalid([("time_zone", _("Unknown time zone."))])
    now = timezone.now()
    found = HistoryFilter(request.GET, user=request.user, now=now, permission=Permission.EXPORT)
    valid(found)
    shape = line_format(kind, body.time_zone)
    query = pinned(request.GET, found.form.cleaned_data).urlencode()
    export = begin(found, kind, shape, query=query, actor=Actor.of(request))
    return StreamingHttpResponse(
        stream(export, found, shape), content_type=kind.content_type, headers=kind.headers(now)
    )


def _page_query(request: ApiRequest) -> PageQuery:
    given = {name: text for name in _PLACES if (text := request.GET.get(name, ""))}
    if len(given) > 1:
        raise Invalid([("newer", _("Use “older” or “newer”, not both."))])
    cursors: dict[str, Cursor] = {}
    for name, text in given.items():
        try:
            cursors[name] = Cursor.decode(text)
        except BadCursor as error:
            raise Invalid([(name, _("Invalid position. Use one from a response."))]) from error
    return PageQuery(older=cursors.get("older"), newer=cursors.get("newer"))


def document_of(request: ApiRequest, pk: int) -> Json:
    """The full document of a run. Raises Http404."""
    visible = BackupRun.objects.visible_to(request.user).select_related(
        "cluster", "project", "file_check"
    )
    parts = ("events", "api_calls", "seen_files")
    run = get_object_or_404(visible.prefetch_related(*parts), pk=pk)
    audit = audit_events(request.user, run)
    return run_document(
        run,
        **neighbours(run),
        resolved_by=resolved_by(run),
        audit=audit,
        seal=seal_proof.document(run, with_proof=audit is not None),
    )


@router.get("/{int:pk}", auth=READ, url_name="run", summary="A run")
def run(request: ApiRequest, pk: int) -> JsonResponse:
    """A run with all events and API calls, as the JSON download of its page."""
    refuse_unknown(request, ())
    return JsonResponse(document_of(request, pk))


@router.post("/{int:pk}/cancel", auth=RUN, url_name="run-cancel", summary="Cancel a run")
def run_cancel(request: ApiRequest, pk: int, body: NoFields | None = None) -> JsonResponse:
    """Cancel a run that has not been sent to the cloud."""
    refuse_unknown(request, ())
    visible = BackupRun.objects.visible_to(request.user).select_related("project")
    found = get_object_or_404(visible, pk=pk)
    require(request.user, Permission.RUN, found.project)
    cancel_run(found, actor=Actor.of(request))
    return JsonResponse(document_of(request, pk))
