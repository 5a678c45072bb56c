"""Clusters: listed, described, and backed up."""

from __future__ import annotations

from typing import Annotated, Any

from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from ninja import Router, Schema
from pydantic import ConfigDict, Field

from backups.choices import ACTIVE, Trigger
from backups.forms import LONGEST_REASON, MAX_WAIT_MINUTES, BackupForm
from backups.lists.clusters.filters import ClusterFilter
from backups.lists.clusters.paging import page_of
from backups.models import Cluster, LogSettings
from backups.models.cluster import attach_latest_runs
from backups.serialize import Json, cluster_document, cluster_line
from backups.services.clusters.preflight import would_be_rejected
from backups.services.runs.requests import CannotBackUp, Requester, is_replay, request_backup
from dashboard.accounts.access import Permission, require
from dashboard.audit.trail import Actor

from .problems import Invalid, NotNow
from .queries import LIMIT, described, limit_of, refuse_unknown, valid
from .runs import document_of
from .security import READ, RUN, ApiRequest

router = Router(tags=["clusters"])


class BackupBody(Schema):
    """What may be said with a request for a backup; all of it may be left out."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: Annotated[str, Field(max_length=LONGEST_REASON)] = ""
    wait_minutes: Annotated[int, Field(ge=0, le=MAX_WAIT_MINUTES)] = 0
    idempotency_key: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$|^$")] = ""
    anyway: bool = False


@router.get(
    "",
    auth=READ,
    url_name="clusters",
    summary="List clusters",
    openapi_extra={"parameters": [*described(ClusterFilter), LIMIT]},
)
def clusters(request: ApiRequest) -> JsonResponse:
    """The clusters that match the filters of the clusters page, a page at a time."""
    refuse_unknown(request, [*ClusterFilter.base_filters, "limit"])
    limit = limit_of(request.GET)
    found = ClusterFilter(request.GET, user=request.user)
    valid(found)
    count = found.counts()[found.presence]
    page = page_of(found.clusters(), count, found.page_number, limit)
    query = request.GET.copy()
    query["page"] = str(page.after)
    return JsonResponse(
        {
            "items": _lines(request, page.pks, found),
            "count": count,
            "page": page.number,
            "pages": page.pages,
            "next": f"{request.path}?{query.urlencode()}" if page.after else None,
        }
    )


def _lines(request: ApiRequest, pks: list[int], found: ClusterFilter) -> list[Json]:
    visible = Cluster.objects.visible_to(request.user).filter(pk__in=pks)
    parts = visible.with_latest_run().select_related("project").prefetch_related("tags")
    places = {pk: place for place, pk in enumerate(pks)}
    listed = sorted(parts, key=lambda cluster: places[cluster.pk])
    attach_latest_runs(listed)
    return [cluster_line(cluster, found.now) for cluster in listed]


def _cluster(request: ApiRequest, pk: int, permission: Permission) -> Cluster:
    visible = Cluster.objects.visible_to(request.user).with_latest_run()
    cluster = get_object_or_404(visible.select_related("project"), pk=pk)
    require(request.user, permission, cluster.project)
    return cluster


@router.get("/{int:pk}", auth=READ, url_name="cluster", summary="A cluster")
def cluster(request: ApiRequest, pk: int) -> JsonResponse:
    """All that is known about a cluster: readiness, protection, log backup settings, runs."""
    refuse_unknown(request, ())
    found = _cluster(request, pk, Permission.SEE)
    attach_latest_runs([found])
    active = found.runs.filter(state__in=sorted(ACTIVE)).first()
    settings = LogSettings.objects.filter(cluster=found).first()
    return JsonResponse(cluster_document(found, timezone.now(), settings, active))


@router.post(
    "/{int:pk}/backups",
    auth=RUN,
    url_name="cluster-backups",
    summary="Request a log backup",
    openapi_extra={
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "8 to 64 letters, digits, “_” and “-”; in place of the field.",
                "schema": {"type": "string"},
            }
        ],
        "responses": {
            202: {"description": "A new run."},
            200: {"description": "One that was there."},
            422: {"description": "The key came with another body before."},
        },
    },
)
def cluster_backups(request: ApiRequest, pk: int, body: BackupBody | None = None) -> HttpResponse:
    """Ask for a log backup, as the button does: a new run, or the one that is under way."""
    refuse_unknown(request, ())
    found = _cluster(request, pk, Permission.RUN)
    sent = _sent(request, body or BackupBody())
    wait_minutes: int = sent["wait_minutes"] or 0
    asked_before = is_replay(found, _requester(request, sent["reason"]), sent["idempotency_key"])
    caution = not sent["anyway"] and not asked_before
    if caution and would_be_rejected(found, wait_minutes=wait_minutes):
        raise NotNow(
            "would-be-refused",
            _("The cloud would most likely refuse it: %(why)s Send “anyway” to ask all the same.")
            % {"why": found.readiness_detail or found.get_readiness_display()},
            readiness=str(found.readiness),
            readiness_detail=found.readiness_detail,
        )
    try:
        made = request_backup(
            found,
            _requester(request, sent["reason"]),
            idempotency_key=sent["idempotency_key"],
            wait_minutes=wait_minutes,
        )
    except CannotBackUp as error:
        raise NotNow("cannot-back-up", str(error)) from None
    answer = JsonResponse(document_of(request, made.run.pk), status=202 if made.created else 200)
    answer["Location"] = reverse("api:run", args=[made.run.pk])
    return answer


def _sent(request: ApiRequest, body: BackupBody) -> dict[str, Any]:
    """What was sent, checked by the form that the button's fields go through."""
    data = body.model_dump()
    header = request.headers.get("Idempotency-Key", "")
    if header and body.idempotency_key and header != body.idempotency_key:
        raise Invalid([("idempotency_key", _("The header has another key."))])
    data["idempotency_key"] = header or body.idempotency_key
    form = BackupForm(data)
    if not form.is_valid():
        raise Invalid.by_form(form)
    return form.cleaned_data


def _requester(request: ApiRequest, reason: str) -> Requester:
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
