"""Batches: request, list, details, cancellation and retry."""

from __future__ import annotations

from typing import Annotated

from django.http import JsonResponse, QueryDict
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext as _
from ninja import Router, Schema
from pydantic import ConfigDict, Field

from backups.forms import LONGEST_REASON
from backups.models import Batch
from backups.serialize import batch_document, batch_line
from backups.services.batches import making, selecting
from backups.services.batches.making import BatchProblem, BatchRequest
from backups.services.batches.progress import progress_of
from dashboard.accounts.access import Permission, require_somewhere
from dashboard.audit.trail import Actor

from .clusters import requester_of
from .problems import Invalid, NotNow
from .queries import LIMIT, limit_of, refuse_unknown, valid
from .runs import NoFields
from .token import READ, RUN, ApiRequest

router = Router(tags=["batches"])

MOST_NAMED = 1000  # clusters that a request names; a filter selects more
_BEFORE = {
    "name": "before",
    "in": "query",
    "description": "Batches older than this one: the last batch_id of a response.",
    "schema": {"type": "integer"},
}
_KEY_HEADER = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "8 to 64 letters, digits, “_” and “-”; instead of the body field.",
    "schema": {"type": "string"},
}
_MADE = {
    "parameters": [_KEY_HEADER],
    "responses": {
        202: {"description": "A new batch."},
        200: {"description": "The batch that the key belongs to."},
        409: {"description": "Nothing can be backed up, or too many clusters are selected."},
        422: {"description": "The key was used with another body."},
    },
}


class AgainBody(Schema):
    """Optional fields of a retry."""

    model_config = ConfigDict(extra="forbid", strict=True)

    # PostgreSQL stores no NUL
    reason: Annotated[str, Field(max_length=LONGEST_REASON, pattern=r"^[^\x00]*$")] = ""
    idempotency_key: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$|^$")] = ""
    anyway: bool = False


class BatchBody(AgainBody):
    """Fields of a request for a batch: either `filter` or `clusters`."""

    filter: Annotated[str, Field(max_length=2000)] = ""
    clusters: Annotated[
        list[Annotated[int, Field(ge=1, lt=2**63)]], Field(max_length=MOST_NAMED)
    ] = []


@router.get(
    "",
    auth=READ,
    url_name="batches",
    summary="List batches",
    openapi_extra={"parameters": [_BEFORE, LIMIT]},
)
def batches(request: ApiRequest) -> JsonResponse:
    """A page of the batches, newest first."""
    refuse_unknown(request, ("before", "limit"))
    limit, before = limit_of(request.GET), request.GET.get("before", "")
    found = Batch.objects.visible_to(request.user).order_by("-pk")
    if before:
        if not (before.isascii() and before.isdigit() and len(before) < 19):
            raise Invalid([("before", _("Give the number of a batch."))])
        found = found.filter(pk__lt=before)
    rows = list(found[: limit + 1])
    more = len(rows) > limit
    return JsonResponse(
        {
            "items": [batch_line(batch) for batch in rows[:limit]],
            "next": f"{request.path}?limit={limit}&before={rows[limit - 1].pk}" if more else None,
        }
    )


@router.post("", auth=RUN, url_name="batches", summary="Request a batch", openapi_extra=_MADE)
def batch_request(request: ApiRequest, body: BatchBody | None = None) -> JsonResponse:
    """Request log backups of the named clusters, or of all that match a filter."""
    refuse_unknown(request, ())
    require_somewhere(request.user, Permission.RUN)
    body = body or BatchBody()
    if bool(body.filter) == bool(body.clusters):
        raise Invalid([("filter", _("Give either “filter” or “clusters”."))])
    if body.clusters:
        selection = selecting.of_rows(sorted(set(body.clusters)), request.user)
    else:
        query = QueryDict(body.filter)
        selection, found = selecting.of_filter(query, request.user)
        if problem := selecting.filter_problem(query):
            raise Invalid([("filter", problem)])
        valid(found)
    try:
        made = making.make_batch(
            selection,
            requester_of(request, body.reason),
            anyway=body.anyway,
            idempotency_key=_key_of(request, body),
        )
    except BatchProblem as error:
        raise _refused(error) from None
    return _answer(request, made)


def _refused(error: BatchProblem) -> NotNow:
    counts = {} if error.found is None else error.found.counts
    facts = {str(cause) or "ready": str(n) for cause, n in counts.items()}
    return NotNow("nothing-to-back-up", str(error), **facts)


def _key_of(request: ApiRequest, body: AgainBody) -> str:
    header = request.headers.get("Idempotency-Key", "")
    if not header:
        return body.idempotency_key
    if body.idempotency_key and header != body.idempotency_key:
        raise Invalid([("idempotency_key", _("The header contains another key."))])
    try:
        return AgainBody(idempotency_key=header).idempotency_key
    except ValueError:
        raise Invalid([("idempotency_key", _("8 to 64 letters, digits, “_” and “-”."))]) from None


def _answer(request: ApiRequest, made: BatchRequest) -> JsonResponse:
    batch = made.batch
    document = batch_document(batch, progress_of(batch, request.user))
    answer = JsonResponse(document, status=202 if made.created else 200)
    answer["Location"] = reverse("api:batch", args=[batch.pk])
    return answer


def _visible(request: ApiRequest, pk: int) -> Batch:
    return get_object_or_404(Batch.objects.visible_to(request.user), pk=pk)


@router.get("/{int:pk}", auth=READ, url_name="batch", summary="A batch")
def batch(request: ApiRequest, pk: int) -> JsonResponse:
    """A batch with its progress; its runs are `GET /runs?batch=…`."""
    refuse_unknown(request, ())
    found = _visible(request, pk)
    return JsonResponse(batch_document(found, progress_of(found, request.user)))


@router.post("/{int:pk}/cancel", auth=RUN, url_name="batch-cancel", summary="Cancel a batch")
def batch_cancel(request: ApiRequest, pk: int, body: NoFields | None = None) -> JsonResponse:
    """Cancel what has not been sent."""
    refuse_unknown(request, ())
    found = _visible(request, pk)
    try:
        making.cancel_batch(found, request.user, actor=Actor.of(request))
    except BatchProblem as error:
        raise NotNow("cannot-cancel", str(error)) from None
    found.refresh_from_db()
    return JsonResponse(batch_document(found, progress_of(found, request.user)))


@router.post(
    "/{int:pk}/retry",
    auth=RUN,
    url_name="batch-retry",
    summary="Request what failed again",
    openapi_extra=_MADE,
)
def batch_retry(request: ApiRequest, pk: int, body: AgainBody | None = None) -> JsonResponse:
    """Request log backups of the clusters whose runs failed, as a new batch."""
    refuse_unknown(request, ())
    found, body = _visible(request, pk), body or AgainBody()
    try:
        made = making.retry_batch(
            found,
            requester_of(request, body.reason),
            anyway=body.anyway,
            idempotency_key=_key_of(request, body),
        )
    except BatchProblem as error:
        raise _refused(error) from None
    return _answer(request, made)
