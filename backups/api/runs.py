"""Runs: list, details, export, cancellation and settling."""

from __future__ import annotations

from django.db.models import F, QuerySet
from django.db.models.expressions import OrderBy
from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from backups.choices import Ruling
from backups.lists.history import RUN_KEYSET, HistoryFilter, pinned
from backups.models import BackupRun, Export, ExportAs
from backups.serialize import Json, run_document, run_line
from backups.serialize_admin import export_line
from backups.services.exports import LOST_AFTER, begin, knows_zone, line_format, stream
from backups.services.runs import requests, seal_proof
from backups.services.runs.related import audit_events, neighbours, resolved_by
from backups.services.runs.settling import CannotSettle, settle_by_hand
from dashboard.accounts.access import Permission, require, require_somewhere
from dashboard.audit.trail import Actor
from dashboard.db.keyset import BadCursor, Cursor, PageQuery

from . import answers
from .bodies import ExportBody, NoFields, SettleBody
from .declare import Resource
from .problems import Invalid, NotNow
from .queries import LIMIT, PAGED, described, limit_of, page_of, valid
from .token import MANAGE, READ, ApiRequest

router = Resource("runs")
exports_router = Resource("exports")

_PLACES = {
    "older": "Runs older than a position: the value of “older” in a response.",
    "newer": "Runs newer than a position, nearest first: the value of “newer” in a response.",
}


@router.read(
    "",
    answers.Runs,
    name="runs",
    summary="List runs",
    parameters=[
        *described(HistoryFilter),
        *(
            {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
            for name, text in _PLACES.items()
        ),
        LIMIT,
    ],
)
def list_runs(request: ApiRequest) -> Json:
    """A page of the runs that match the filters of the history, newest first."""
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
    return {
        "items": [run_line(run) for run in rows],
        "window": str(found.window_in_force),
        "older": older,
        "newer": newer,
        "next": f"{request.path}?{query.urlencode()}" if older else None,
    }


@router.act(
    "/export",
    {200: None},
    name="runs-export",
    summary="Export runs",
    auth=READ,
    parameters=described(HistoryFilter),
)
def export_runs(request: ApiRequest, body: ExportBody | None = None) -> HttpResponseBase:
    """All runs that match the filters, as a file. Recorded in the audit trail."""
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
    headers = {**kind.headers(now), "Location": reverse("api:export", args=[export.pk])}
    return StreamingHttpResponse(
        stream(export, found, shape), content_type=kind.content_type, headers=headers
    )


@exports_router.read(
    "",
    answers.Page[answers.Export],
    name="exports",
    summary="List exports",
    parameters=PAGED,
)
def list_exports(request: ApiRequest) -> Json:
    """The account's exports, newest first; a limited token's are those that it made."""
    newest = [OrderBy(F("pk"), descending=True)]
    return page_of(request, _exports(request), newest, _export_line, kind="exports")


@exports_router.read("/{int:pk}", answers.Export, name="export", summary="Get an export")
def get_export(request: ApiRequest, pk: int) -> Json:
    """The progress of one of the account's exports; its rows were the response to its request."""
    return _export_line(get_object_or_404(_exports(request), pk=pk))


def _exports(request: ApiRequest) -> QuerySet[Export]:
    """The account's exports; of a token that is limited to projects those that it made.

    Others have filters and numbers of projects that the token does not reach.
    """
    own = Export.objects.filter(owner=request.user)
    used = request.auth
    return own if used.project_ids is None else own.filter(token=used.label)


def _export_line(export: Export) -> Json:
    lost = export.changed_at < timezone.now() - LOST_AFTER
    return export_line(export, is_lost=lost and export.state == Export.State.RUNNING)


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


@router.read("/{int:pk}", answers.RunDocument, name="run", summary="Get a run")
def get_run(request: ApiRequest, pk: int) -> Json:
    """A run with all events and API calls, as the JSON download of its page."""
    return document_of(request, pk)


def run_for(request: ApiRequest, pk: int, permission: Permission) -> BackupRun:
    """Get a run for which the user has a permission. Raises Http404, RoleRequired."""
    visible = BackupRun.objects.visible_to(request.user).select_related("project")
    found = get_object_or_404(visible, pk=pk)
    require(request.user, permission, found.project)
    return found


@router.act(
    "/{int:pk}/cancel",
    {200: answers.RunDocument},
    name="run-cancel",
    summary="Cancel a run",
    refusals={409: "The run was sent, or has ended."},
)
def cancel_run(request: ApiRequest, pk: int, body: NoFields | None = None) -> Json:
    """Cancel a run that has not been sent to the cloud."""
    requests.cancel_run(run_for(request, pk, Permission.RUN), actor=Actor.of(request))
    return document_of(request, pk)


@router.act(
    "/{int:pk}/settle",
    {200: answers.RunDocument},
    name="run-settle",
    summary="Settle a run by hand",
    auth=MANAGE,
    refusals={409: "The run cannot be settled by hand, or not yet."},
)
def settle_run(request: ApiRequest, pk: int, body: SettleBody) -> Json:
    """End a run whose outcome the cloud's records cannot tell, with what somebody found out."""
    found = run_for(request, pk, Permission.SETTLE)
    try:
        settle_by_hand(found, Ruling(body.ruling), actor=Actor.of(request), reason=body.reason)
    except CannotSettle as error:
        raise NotNow("cannot-settle", str(error)) from None
    return document_of(request, pk)
