"""Batches: request, list, details, cancellation and retry."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.db.models import F
from django.db.models.expressions import OrderBy
from django.http import JsonResponse, QueryDict
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext as _

from backups.choices import Work
from backups.models import Batch
from backups.serialize import Json, batch_document, batch_line
from backups.services.batches import making, other_work, selecting
from backups.services.batches.making import BatchProblem, BatchRequest
from backups.services.batches.progress import progress_of
from dashboard.accounts.access import require_somewhere
from dashboard.audit.trail import Actor

from . import answers
from .bodies import FIELDS_OF_WORK, AgainBody, BatchBody, NoFields
from .clusters import key_of, requester_of
from .declare import IDEMPOTENCY_KEY, Resource, answer
from .problems import Invalid, NotNow
from .queries import PAGED, page_of, valid
from .token import ApiRequest, require_scope

router = Resource("batches")

_MADE: dict[str, Any] = {
    "schemas": {202: answers.BatchDocument, 200: answers.BatchDocument},
    "parameters": [IDEMPOTENCY_KEY],
    "refusals": {409: "There is nothing to do, or too many clusters are selected."},
}


@router.read(
    "", answers.Page[answers.Batch], name="batches", summary="List batches", parameters=PAGED
)
def list_batches(request: ApiRequest) -> Json:
    """A page of the batches, newest first."""
    found = Batch.objects.visible_to(request.user)
    newest = [OrderBy(F("pk"), descending=True)]
    return page_of(request, found, newest, batch_line, kind="batches")


@router.act("", name="batches", summary="Request a batch", **_MADE)
def request_batch(request: ApiRequest, body: BatchBody | None = None) -> JsonResponse:
    """Do something with the named clusters, or with all that match a filter. 200: same key."""
    body = body or BatchBody()
    work = Work(body.work)
    require_scope(request, selecting.permission_for(work))
    require_somewhere(request.user, selecting.permission_for(work))
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
        if problem := selecting.vague(body.filter, request.user):
            raise Invalid([("filter", problem)])
    refuse_other_work(work, body)
    if problems := other_work.problems_of(work, body.values(), body.reason):
        raise Invalid([("work", problem) for problem in problems])
    try:
        made = making.make_batch(
            replace(selection, work=work),
            requester_of(request, body.reason),
            anyway=body.anyway,
            idempotency_key=_key_of(request, body),
            values=body.values(),
        )
    except BatchProblem as error:
        raise _refused(error) from None
    return _answer(request, made)


def refuse_other_work(work: Work, body: BatchBody) -> None:
    """Reject fields of other work: without `work`, an objective would be a request for backups.

    Raises:
        Invalid: names them, or `hours` where it is missing, because null resets the objectives.
    """
    given, own = body.model_fields_set, FIELDS_OF_WORK.get(work, frozenset())
    others = (frozenset().union(*FIELDS_OF_WORK.values()) - own) & given
    text = _("“%(work)s” does not take this field.") % {"work": work.value}
    wrong = [(name, text) for name in sorted(others)]
    if work is Work.OBJECTIVE and "hours" not in given:
        wrong.append(("hours", _("Give the hours, or null for the objective of the project.")))
    if wrong:
        raise Invalid(wrong)


def _refused(error: BatchProblem) -> NotNow:
    counts = {} if error.found is None else error.found.counts
    facts = {str(cause) or "ready": str(n) for cause, n in counts.items()}
    return NotNow("nothing-to-back-up", str(error), **facts)


def _key_of(request: ApiRequest, body: AgainBody) -> str:
    try:
        return AgainBody(idempotency_key=key_of(request, body)).idempotency_key
    except ValueError:
        raise Invalid([("idempotency_key", _("8 to 64 letters, digits, “_” and “-”."))]) from None


def _answer(request: ApiRequest, made: BatchRequest) -> JsonResponse:
    batch = made.batch
    document = batch_document(batch, progress_of(batch, request.user))
    place = reverse("api:batch", args=[batch.pk])
    return answer(document, 202 if made.created else 200, location=place)


def _visible(request: ApiRequest, pk: int) -> Batch:
    return get_object_or_404(Batch.objects.visible_to(request.user), pk=pk)


@router.read("/{int:pk}", answers.BatchDocument, name="batch", summary="Get a batch")
def get_batch(request: ApiRequest, pk: int) -> Json:
    """A batch with its progress; its runs are `GET /runs?batch=…`."""
    found = _visible(request, pk)
    return batch_document(found, progress_of(found, request.user))


@router.act(
    "/{int:pk}/cancel",
    {200: answers.BatchDocument},
    name="batch-cancel",
    summary="Cancel a batch",
    refusals={409: "Nothing of it waits."},
)
def cancel_batch(request: ApiRequest, pk: int, body: NoFields | None = None) -> Json:
    """Cancel what has not been sent."""
    found = _visible(request, pk)
    try:
        making.cancel_batch(found, request.user, actor=Actor.of(request))
    except BatchProblem as error:
        raise NotNow("cannot-cancel", str(error)) from None
    found.refresh_from_db()
    return batch_document(found, progress_of(found, request.user))


@router.act("/{int:pk}/retry", name="batch-retry", summary="Request what failed again", **_MADE)
def retry_batch(request: ApiRequest, pk: int, body: AgainBody | None = None) -> JsonResponse:
    """Request log backups of the clusters whose runs failed, as a new batch."""
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
