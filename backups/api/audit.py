"""The audit trail and retention."""

from __future__ import annotations

from django.db.models import F
from django.db.models.expressions import OrderBy
from django.shortcuts import get_object_or_404

from backups.models import RetentionPolicy, RetentionRun
from backups.serialize import Json
from backups.serialize_admin import audit_line, retention_document, verification_document
from backups.services import retention as service
from dashboard.accounts.access import Permission, permitted_q, require, require_somewhere
from dashboard.audit.forms import EventFilter
from dashboard.audit.models import AuditEvent, AuditEventQuerySet, Verification
from dashboard.audit.tasks import verify_soon

from . import answers
from .bodies import NoFields
from .declare import Resource, answer
from .queries import PAGED, described, page_of, valid
from .token import READ, ApiRequest

router = Resource("audit")
retention_router = Resource("retention")

_PLACES = ("older", "newer")
MOST_CLEAN_UPS = 20


def _readable(request: ApiRequest) -> AuditEventQuerySet:
    require_somewhere(request.user, Permission.AUDIT)
    return AuditEvent.objects.filter(permitted_q(request.user, Permission.AUDIT, "project_id"))


@router.read(
    "",
    answers.Page[answers.AuditEvent],
    name="audit",
    summary="List audit events",
    parameters=[*described(EventFilter, leave_out=_PLACES), *PAGED],
)
def list_audit_events(request: ApiRequest) -> Json:
    """A page of the events that match, newest first."""
    permitted, form = _readable(request), EventFilter(request.GET)
    valid(form)
    newest = [OrderBy(F("at"), descending=True), OrderBy(F("sequence"), descending=True)]
    return page_of(request, form.narrow(permitted), newest, audit_line, kind="audit")


@router.read("/{int:pk}", answers.AuditEvent, name="audit-event", summary="Get an audit event")
def get_audit_event(request: ApiRequest, pk: int) -> Json:
    """An event by its number in the chain."""
    return audit_line(get_object_or_404(_readable(request), sequence=pk))


@router.read(
    "/verifications",
    answers.Page[answers.Verification],
    name="verifications",
    summary="List verifications",
    parameters=PAGED,
)
def list_verifications(request: ApiRequest) -> Json:
    """The verifications of the chain, newest first."""
    require(request.user, Permission.AUDIT)
    newest = [OrderBy(F("pk"), descending=True)]
    made = Verification.objects.all()
    return page_of(request, made, newest, verification_document, kind="verifications")


@router.act(
    "/verifications",
    {202: answers.Verification},
    name="verifications",
    summary="Verify the audit trail",
    auth=READ,
)
def verify_audit_trail(request: ApiRequest, body: NoFields | None = None) -> object:
    """Queue a verification of the whole chain, unless one is waiting."""
    require(request.user, Permission.AUDIT)
    requested, _sent = verify_soon()
    return answer(verification_document(requested), 202)


@retention_router.read("", answers.Retention, name="retention", summary="Get the retention policy")
def get_retention(request: ApiRequest) -> Json:
    """The policy, what it would delete now, and the latest clean-ups."""
    require(request.user, Permission.AUDIT)
    policy = RetentionPolicy.current()
    return retention_document(
        policy, service.preview(policy), RetentionRun.objects.all()[:MOST_CLEAN_UPS]
    )
