"""Clusters: list, details, protection, requests for a backup, and what admins change."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from backups.choices import ACTIVE, Trigger
from backups.forms import ArchiveForm, BackupForm
from backups.lists.clusters import ClusterFilter, ProtectionFilter
from backups.models import Cluster, Connection, LogSettings
from backups.models.cluster import attach_latest_runs
from backups.serialize import Json, cluster_document, cluster_line, iso
from backups.services.clusters import manage
from backups.services.clusters.preflight import would_be_rejected
from backups.services.clusters.protection import set_objective, summarised
from backups.services.clusters.readiness import request_check
from backups.services.connections.manage import RegisterError, is_configured, register_by_hand
from backups.services.runs.requests import CannotBackUp, Requester, is_replay, request_backup
from dashboard.accounts.access import Permission, require
from dashboard.audit.trail import Actor

from . import answers, runs
from .bodies import (
    AgainBody,
    BackupBody,
    LabelsBody,
    NoFields,
    ObjectiveBody,
    ReasonBody,
    RegisterBody,
)
from .declare import IDEMPOTENCY_KEY, Resource, answer
from .problems import Invalid, NotNow
from .queries import PAGED, described, page_of, valid
from .runs import document_of
from .token import MANAGE, ApiRequest

router = Resource("clusters")
protection_router = Resource("protection")


@router.read(
    "",
    answers.Clusters,
    name="clusters",
    summary="List clusters",
    parameters=[*described(ClusterFilter, leave_out=["page"]), *PAGED],
)
def list_clusters(request: ApiRequest) -> Json:
    """A page of the clusters that match the filters of the clusters page."""
    found = ClusterFilter(request.GET, user=request.user)
    valid(found)

    def prepare(rows: Any) -> list[Cluster]:
        parts = rows.with_latest_run().select_related("project").prefetch_related("tags")
        listed = list(parts)
        attach_latest_runs(listed)
        return listed

    page = page_of(
        request,
        found.clusters(),
        found.order.expressions(found.now),
        lambda cluster: cluster_line(cluster, found.now),
        kind=f"clusters by {found.order}",
        prepare=prepare,
    )
    return {**page, "count": found.counts()[found.presence]}


def cluster_for(request: ApiRequest, pk: int, permission: Permission) -> Cluster:
    """Get a cluster for which the user has a permission.

    Raises:
        Http404: the user may not see it.
        RoleRequired: the user lacks the permission.
    """
    visible = Cluster.objects.visible_to(request.user).with_latest_run()
    cluster = get_object_or_404(visible.select_related("project"), pk=pk)
    require(request.user, permission, cluster.project)
    return cluster


def cluster_json(request: ApiRequest, pk: int) -> Json:
    """All details of a cluster."""
    found = cluster_for(request, pk, Permission.SEE)
    attach_latest_runs([found])
    active = found.runs.filter(state__in=sorted(ACTIVE)).first()
    settings = LogSettings.objects.filter(cluster=found).first()
    return cluster_document(found, timezone.now(), settings, active)


@router.read("/{int:pk}", answers.ClusterDocument, name="cluster", summary="Get a cluster")
def get_cluster(request: ApiRequest, pk: int) -> Json:
    """Details of a cluster: readiness, protection, log backup settings, runs."""
    return cluster_json(request, pk)


@router.act(
    "",
    {201: answers.ClusterDocument, 200: answers.ClusterDocument},
    name="clusters",
    summary="Register a cluster",
    auth=MANAGE,
    refusals={409: "The cloud does not return the cluster.", 404: "There is no such connection."},
)
def register_cluster(request: ApiRequest, body: RegisterBody) -> JsonResponse:
    """Register one cluster by its id. 200: it was registered before."""
    require(request.user, Permission.CONFIGURE)
    row = get_object_or_404(Connection.objects.connected(), pk=body.connection)
    if not is_configured(row.cloud, row.region):
        raise NotNow("cannot-register", _("clouds.yaml no longer has this entry."))
    status = 201
    try:
        cluster = register_by_hand(row, body.cluster_id, Actor.of(request))
    except RegisterError as error:
        if error.cluster is None:
            raise NotNow("cannot-register", str(error), fault=str(error.fault)) from None
        cluster, status = error.cluster, 200
    place = reverse("api:cluster", args=[cluster.pk])
    return answer(cluster_json(request, cluster.pk), status, location=place)


@router.act(
    "/{int:pk}/labels",
    {200: answers.ClusterDocument},
    method="PUT",
    name="cluster-labels",
    summary="Set a cluster's labels",
    auth=MANAGE,
)
def set_cluster_labels(request: ApiRequest, pk: int, body: LabelsBody) -> Json:
    """Replace the labels; tags of the cloud stay."""
    found = cluster_for(request, pk, Permission.CONFIGURE)
    try:
        manage.set_labels(found, body.labels, Actor.of(request))
    except ValueError as error:
        raise Invalid([("labels", str(error))]) from None
    return cluster_json(request, pk)


@router.act(
    "/{int:pk}/objective",
    {200: answers.ClusterDocument},
    method="PUT",
    name="cluster-objective",
    summary="Set a cluster's objective",
    auth=MANAGE,
)
def set_cluster_objective(request: ApiRequest, pk: int, body: ObjectiveBody) -> Json:
    """The longest time between verified backups; null for the project's."""
    found = cluster_for(request, pk, Permission.CONFIGURE)
    set_objective(found, body.hours, Actor.of(request))
    return cluster_json(request, pk)


@router.act(
    "/{int:pk}/archive",
    {200: answers.ClusterDocument},
    name="cluster-archive",
    summary="Archive a cluster",
    auth=MANAGE,
    refusals={409: "One of its runs is in progress."},
)
def archive_cluster(request: ApiRequest, pk: int, body: ReasonBody) -> Json:
    """List, check and count a cluster no longer, until it is restored. Needs a reason."""
    found = cluster_for(request, pk, Permission.CONFIGURE)
    form = ArchiveForm({"reason": body.reason})
    if not form.is_valid():
        raise Invalid.by_form(form)
    try:
        manage.archive(found, Actor.of(request), form.cleaned_data["reason"])
    except manage.CannotArchive as error:
        raise NotNow("run-in-progress", str(error), run_id=error.run.pk) from None
    return cluster_json(request, pk)


@router.act(
    "/{int:pk}/restore",
    {200: answers.ClusterDocument},
    name="cluster-restore",
    summary="Restore a cluster",
    auth=MANAGE,
)
def restore_cluster(request: ApiRequest, pk: int, body: NoFields | None = None) -> Json:
    """Restore an archived cluster."""
    manage.restore(cluster_for(request, pk, Permission.CONFIGURE), Actor.of(request))
    return cluster_json(request, pk)


@router.act(
    "/{int:pk}/check",
    {202: answers.ClusterDocument},
    name="cluster-check",
    summary="Check a cluster now",
)
def check_cluster(request: ApiRequest, pk: int, body: NoFields | None = None) -> JsonResponse:
    """Request a check of the readiness; `checked_at` of the cluster says when it was done."""
    request_check(cluster_for(request, pk, Permission.RUN))
    return answer(cluster_json(request, pk), 202)


# of a request for a backup
REQUESTED: dict[str, Any] = {
    "schemas": {202: answers.RunDocument, 200: answers.RunDocument},
    "parameters": [IDEMPOTENCY_KEY],
    "refusals": {409: "The cloud would reject it, or the cluster cannot be backed up."},
}


@router.act(
    "/{int:pk}/backups",
    name="cluster-backups",
    summary="Request a log backup",
    **REQUESTED,
)
def request_cluster_backup(
    request: ApiRequest, pk: int, body: BackupBody | None = None
) -> HttpResponse:
    """Request a log backup, as the button does. 200: an existing run."""
    found = cluster_for(request, pk, Permission.RUN)
    return back_up(request, found, body or BackupBody())


def back_up(request: ApiRequest, found: Cluster, body: BackupBody) -> JsonResponse:
    """Request a log backup of a cluster, and answer with its run.

    Raises:
        Invalid: a field cannot be used.
        NotNow: nothing was stored.
    """
    sent = _sent(request, body)
    wait_minutes: int = sent["wait_minutes"] or 0
    asked_before = is_replay(found, requester_of(request, sent["reason"]), sent["idempotency_key"])
    check = not sent["anyway"] and not asked_before
    if check and would_be_rejected(found, wait_minutes=wait_minutes):
        raise NotNow(
            "would-be-refused",
            _("The cloud would probably reject it: %(why)s Set “anyway” to request it anyway.")
            % {"why": found.readiness_detail or found.get_readiness_display()},
            readiness=str(found.readiness),
            readiness_detail=found.readiness_detail,
        )
    try:
        made = request_backup(
            found,
            requester_of(request, sent["reason"]),
            idempotency_key=sent["idempotency_key"],
            wait_minutes=wait_minutes,
        )
    except CannotBackUp as error:
        raise NotNow("cannot-back-up", str(error)) from None
    place = reverse("api:run", args=[made.run.pk])
    return answer(document_of(request, made.run.pk), 202 if made.created else 200, location=place)


def key_of(request: ApiRequest, body: AgainBody) -> str:
    """The idempotency key of the header or the body.

    Raises:
        Invalid: they contain two.
    """
    header = request.headers.get("Idempotency-Key")
    if header == "":
        raise Invalid([("Idempotency-Key", _("Give a value, or leave the header out."))])
    if header and body.idempotency_key and header != body.idempotency_key:
        raise Invalid([("idempotency_key", _("The header contains another key."))])
    return header or body.idempotency_key


def _sent(request: ApiRequest, body: BackupBody) -> dict[str, Any]:
    """The request's fields, validated by the form of the button."""
    form = BackupForm({**body.model_dump(), "idempotency_key": key_of(request, body)})
    if not form.is_valid():
        raise Invalid.by_form(form)
    return form.cleaned_data


def requester_of(request: ApiRequest, reason: str) -> Requester:
    """The token's account as a requester."""
    actor = Actor.of(request)
    return Requester(
        name=actor.name,
        trigger=Trigger.API,
        user=request.user,
        source_ip=actor.ip,
        reason=reason,
        user_agent=actor.user_agent,
        request_id=actor.request_id,
        token=actor.token,
    )


@runs.router.act(
    "/{int:pk}/retry",
    name="run-retry",
    summary="Back up a run's cluster again",
    **REQUESTED,
)
def retry_run(request: ApiRequest, pk: int, body: BackupBody | None = None) -> HttpResponse:
    """Request a log backup of the run's cluster, as a new run. 200: an existing run."""
    run = runs.run_for(request, pk, Permission.RUN)
    found = cluster_for(request, run.cluster_id, Permission.RUN)
    return back_up(request, found, body or BackupBody())


# the response has no pages, and counts all states
_LEFT_OUT = ("page", "sort", "protection")


@protection_router.read(
    "",
    answers.ProtectionSummary,
    name="protection",
    summary="Summarise protection",
    parameters=described(ProtectionFilter, leave_out=_LEFT_OUT),
)
def get_protection(request: ApiRequest) -> Json:
    """Number of present clusters that are protected, due, overdue, or never backed up."""
    found = ProtectionFilter(request.GET, user=request.user)
    valid(found)
    summary = summarised(found.counts_by_state())
    return {
        "protected": summary.protected,
        "total": summary.total,
        "by_state": {str(state): count for state, count in summary.by_state.items()},
        "at": iso(found.now),
    }
