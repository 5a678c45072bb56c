"""Clusters: list, details, protection, and requests for a backup."""

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
from backups.lists.clusters import ClusterFilter, ProtectionFilter, page_of
from backups.models import Cluster, LogSettings
from backups.models.cluster import attach_latest_runs
from backups.serialize import Json, cluster_document, cluster_line, iso
from backups.services.clusters.preflight import would_be_rejected
from backups.services.clusters.protection import summarised
from backups.services.runs.requests import CannotBackUp, Requester, is_replay, request_backup
from dashboard.accounts.access import Permission, require
from dashboard.audit.trail import Actor

from .problems import Invalid, NotNow
from .queries import LIMIT, described, limit_of, refuse_unknown, valid
from .runs import document_of
from .token import READ, RUN, ApiRequest

router = Router(tags=["clusters"])
protection_router = Router(tags=["clusters"])


class BackupBody(Schema):
    """Optional fields of a request for a backup."""

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
    """A page of the clusters that match the filters of the clusters page."""
    refuse_unknown(request, [*ClusterFilter.base_filters, "limit"])
    limit = limit_of(request.GET)
    found = ClusterFilter(request.GET, user=request.user)
    valid(found)
    count = found.counts()[found.presence]
    page = page_of(found.clusters(), count, found.page_number, limit)
    query = request.GET.copy()
    if page.has_next():
        query["page"] = str(page.next_page_number())
    return JsonResponse(
        {
            "items": _lines(request, list(page), found),
            "count": count,
            "page": page.number,
            "pages": page.paginator.num_pages,
            "next": f"{request.path}?{query.urlencode()}" if page.has_next() else None,
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
    """Details of a cluster: readiness, protection, log backup settings, runs."""
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
                "description": "8 to 64 letters, digits, “_” and “-”; instead of the body field.",
                "schema": {"type": "string"},
            }
        ],
        "responses": {
            202: {"description": "A new run."},
            200: {"description": "An existing run."},
            422: {"description": "The key was used with another body."},
        },
    },
)
def cluster_backups(request: ApiRequest, pk: int, body: BackupBody | None = None) -> HttpResponse:
    """Request a log backup, as the button does. Returns a new run, or the active one."""
    refuse_unknown(request, ())
    found = _cluster(request, pk, Permission.RUN)
    sent = _sent(request, body or BackupBody())
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
    answer = JsonResponse(document_of(request, made.run.pk), status=202 if made.created else 200)
    answer["Location"] = reverse("api:run", args=[made.run.pk])
    return answer


def _sent(request: ApiRequest, body: BackupBody) -> dict[str, Any]:
    """The request's fields, validated by the form of the button."""
    data = body.model_dump()
    header = request.headers.get("Idempotency-Key", "")
    if header and body.idempotency_key and header != body.idempotency_key:
        raise Invalid([("idempotency_key", _("The header contains another key."))])
    data["idempotency_key"] = header or body.idempotency_key
    form = BackupForm(data)
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


# the response has no pages, and counts all states
_LEFT_OUT = ("page", "protection")


@protection_router.get(
    "",
    auth=READ,
    url_name="protection",
    summary="Summarise protection",
    openapi_extra={"parameters": described(ProtectionFilter, leave_out=_LEFT_OUT)},
)
def protection(request: ApiRequest) -> JsonResponse:
    """Number of present clusters that are protected, due, overdue, or never backed up."""
    refuse_unknown(request, set(ProtectionFilter.base_filters) - set(_LEFT_OUT))
    found = ProtectionFilter(request.GET, user=request.user)
    valid(found)
    summary = summarised(found.counts_by_state())
    return JsonResponse(
        {
            "protected": summary.protected,
            "total": summary.total,
            "by_state": {str(state): count for state, count in summary.by_state.items()},
            "at": iso(found.now),
        }
    )
