"""Connections to clouds, and projects."""

from __future__ import annotations

from django.db.models import F
from django.db.models.expressions import OrderBy
from django.http import Http404, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext as _

from backups.models import Connection, Project
from backups.serialize import Json
from backups.serialize_admin import connection_line, diagnosis_document, project_line
from backups.services.clusters.protection import set_objective
from backups.services.connections import manage as service
from backups.services.connections.manage import Entry
from dashboard.accounts.access import Permission, may, require
from dashboard.audit.trail import Actor

from . import answers
from .bodies import EntryBody, FileChecksBody, NoFields, ProjectObjectiveBody, ReasonBody
from .declare import Resource, answer
from .problems import NotNow
from .queries import PAGED, page_of
from .token import MANAGE, RUN, ApiRequest

router = Resource("connections")
projects_router = Resource("projects")

_UNKNOWN_ENTRY = {404: "clouds.yaml has no such entry."}


@router.read("", answers.Connections, name="connections", summary="List connections")
def list_connections(request: ApiRequest) -> Json:
    """The entries of clouds.yaml, and those that were connected."""
    everything = may(request.user, Permission.CONFIGURE)
    listed, problem = service.entries(request.user, all_of_them=everything)
    return {
        "items": [connection_line(entry) for entry in listed],
        "next": None,
        "problem": problem if everything else "",
    }


def _row(request: ApiRequest, pk: int) -> Connection:
    rows = Connection.objects.select_related("project")
    if not may(request.user, Permission.CONFIGURE):
        rows = rows.visible_to(request.user).exclude(project=None)
    return get_object_or_404(rows, pk=pk)


def _document(row: Connection) -> Json:
    row = Connection.objects.select_related("project").get(pk=row.pk)
    configured = service.is_configured(row.cloud, row.region)
    return connection_line(Entry(row.cloud, row.region, configured, row))


@router.read("/{int:pk}", answers.Connection, name="connection", summary="Get a connection")
def get_connection(request: ApiRequest, pk: int) -> Json:
    """A connection and its synchronisation."""
    return _document(_row(request, pk))


def _entry(request: ApiRequest, body: EntryBody) -> tuple[str, str]:
    require(request.user, Permission.CONFIGURE)
    if not service.is_configured(body.cloud, body.region):
        raise Http404
    return body.cloud, body.region


@router.act(
    "",
    {201: answers.Connection, 200: answers.Connection},
    name="connections",
    summary="Connect an entry",
    auth=MANAGE,
    refusals=_UNKNOWN_ENTRY,
)
def connect(request: ApiRequest, body: EntryBody) -> JsonResponse:
    """Connect an entry of clouds.yaml; its first synchronisation begins. 200: it was connected."""
    cloud, region = _entry(request, body)
    connected = Connection.objects.connected().filter(cloud=cloud, region=region).first()
    row = connected or service.connect(cloud, region, Actor.of(request))
    place = reverse("api:connection", args=[row.pk])
    return answer(_document(row), 200 if connected else 201, location=place)


@router.act(
    "/test",
    {200: answers.Diagnosis},
    name="connection-test",
    summary="Test an entry",
    auth=MANAGE,
    refusals=_UNKNOWN_ENTRY,
)
def test_connection(request: ApiRequest, body: EntryBody) -> Json:
    """Sign in with an entry and list its clusters; takes up to a minute."""
    return diagnosis_document(service.test(*_entry(request, body), Actor.of(request)))


@router.act(
    "/{int:pk}/disconnect",
    {200: answers.Connection},
    name="connection-disconnect",
    summary="Disconnect",
    auth=MANAGE,
)
def disconnect(request: ApiRequest, pk: int, body: ReasonBody | None = None) -> Json:
    """Stop synchronising a connection; its clusters and their history stay."""
    require(request.user, Permission.CONFIGURE)
    row = _row(request, pk)
    service.disconnect(row, Actor.of(request), body.reason if body else "")
    return _document(row)


@router.act(
    "/{int:pk}/sync",
    {202: answers.Connection, 200: answers.Connection},
    name="connection-sync",
    summary="Synchronise now",
    auth=RUN,
    refusals={409: "The connection is disconnected."},
)
def sync_connection(request: ApiRequest, pk: int, body: NoFields | None = None) -> JsonResponse:
    """Request a synchronisation. 200: one is already in progress."""
    row = _row(request, pk)
    require(request.user, Permission.RUN, row.project)
    if row.disconnected_at is not None:
        raise NotNow("disconnected", _("This connection is disconnected."))
    started = service.request_sync(row, Actor.of(request))
    return answer(_document(row), 202 if started else 200)


@router.act(
    "/{int:pk}/file-checks",
    {200: answers.Connection},
    method="PUT",
    name="connection-file-checks",
    summary="Switch file checks on or off",
    auth=MANAGE,
)
def set_file_checks(request: ApiRequest, pk: int, body: FileChecksBody) -> Json:
    """Whether the files of verified runs are looked for in the bucket."""
    require(request.user, Permission.CONFIGURE)
    row = _row(request, pk)
    service.set_file_checks(row, Actor.of(request), on=body.enabled)
    return _document(row)


@projects_router.read(
    "",
    answers.Page[answers.ProjectLine],
    name="projects",
    summary="List projects",
    parameters=PAGED,
)
def list_projects(request: ApiRequest) -> Json:
    """The projects that the account may see."""
    found, order = Project.objects.visible_to(request.user), [OrderBy(F("pk"))]
    return page_of(request, found, order, project_line, kind="projects")


@projects_router.act(
    "/{int:pk}/objective",
    {200: answers.ProjectLine},
    method="PUT",
    name="project-objective",
    summary="Set a project's objective",
    auth=MANAGE,
)
def set_project_objective(request: ApiRequest, pk: int, body: ProjectObjectiveBody) -> Json:
    """The objective of the project's clusters that have none of their own."""
    project = get_object_or_404(Project.objects.visible_to(request.user), pk=pk)
    require(request.user, Permission.CONFIGURE, project)
    set_objective(project, body.hours, Actor.of(request))
    return project_line(project)
