"""Pages of the audit trail, and the handler of denied requests."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from django.contrib import messages
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from dashboard.accounts.access import (
    AuthenticatedHttpRequest,
    Permission,
    RoleRequired,
    may,
    permitted_q,
    require,
    require_somewhere,
)
from dashboard.accounts.models import User
from dashboard.db.keyset import Cursor, Keyset, PageQuery

from . import trail
from .forms import EventFilter, EventWindow, action_groups
from .models import AuditEvent, AuditEventQuerySet, Verification
from .refusals import access_denied
from .targets import attach_target_urls
from .tasks import verify_soon

logger = logging.getLogger(__name__)

PAGE_SIZE = 50
EVENT_KEYSET = Keyset(AuditEvent, "at")


@dataclass(frozen=True, slots=True)
class ChainStatus:
    """The verification status of the chain.

    Attributes:
        ended: the last finished verification.
        waiting: the waiting or running one.
        unverified: number of events newer than `ended`.
    """

    ended: Verification | None
    waiting: Verification | None
    unverified: int


def _chain_status() -> ChainStatus:
    ended = Verification.objects.exclude(result="waiting").order_by("-pk").first()
    waiting = Verification.objects.filter(result="waiting").first()
    read = ended.last if ended is not None and ended.last else 0
    return ChainStatus(ended, waiting, max(0, trail.head().sequence - read))


def _permitted(user: User) -> AuditEventQuerySet:
    """Return the events that a user may read: all, or those of the projects that they audit.

    Raises:
        RoleRequired: the user is not an auditor of any project.
    """
    require_somewhere(user, Permission.AUDIT)
    return AuditEvent.objects.filter(permitted_q(user, Permission.AUDIT, "project_id"))


@require_safe
def events(request: AuthenticatedHttpRequest) -> HttpResponse:
    """List the events that match the filter."""
    permitted = _permitted(request.user)
    form = EventFilter(request.GET)
    if not form.is_valid():
        problems = [str(problem) for each in form.errors.values() for problem in each]
        return render(request, "400.html", {"problems": problems}, status=400)
    wanted = PageQuery(
        older=_cursor(permitted, form.cleaned_data["older"]),
        newer=_cursor(permitted, form.cleaned_data["newer"]),
    )
    page = EVENT_KEYSET.read([form.narrow(permitted)], wanted, PAGE_SIZE)
    attach_target_urls(page.rows)
    return render(
        request,
        "audit/events.html",
        {
            "page": page,
            "form": form,
            "action_groups": action_groups(),
            "windows": EventWindow,
            "window": form.effective_window,
            "query": _query(request.GET),
            "query_of_all_time": _query(request.GET, window=EventWindow.ALL),
            "chain_status": _chain_status(),
            "may_verify": may(request.user, Permission.AUDIT),
        },
    )


def _cursor(permitted: AuditEventQuerySet, sequence: int | None) -> Cursor | None:
    """Return the position of an event; raise Http404 if retention has deleted it."""
    if sequence is None:
        return None
    return EVENT_KEYSET.cursor(get_object_or_404(permitted, sequence=sequence))


def _query(query: QueryDict, **changes: str) -> str:
    """Return the filter as a query string, without the page and empty fields."""
    kept = QueryDict(mutable=True)
    for name in query:
        values = [value for value in query.getlist(name) if value]
        if values and name in EventFilter.base_fields and name not in ("older", "newer"):
            kept.setlist(name, values)
    for name, value in changes.items():
        kept[name] = value
    return kept.urlencode()


@require_safe
def event_detail(request: AuthenticatedHttpRequest, sequence: int) -> HttpResponse:
    """Show one event with its changes and its link in the chain."""
    permitted = _permitted(request.user)
    event = get_object_or_404(permitted, sequence=sequence)
    attach_target_urls([event])
    return render(
        request,
        "audit/event.html",
        {
            "event": event,
            "content_holds": event.content_hash() == event.hash,
            "personal_holds": event.is_masked or event.personal_digest() == event.personal,
            "before_it": permitted.filter(sequence=sequence - 1).first(),
            "after_it": permitted.filter(sequence=sequence + 1).first(),
        },
    )


@require_safe
def chain_status(request: AuthenticatedHttpRequest) -> HttpResponse:
    """Show how the chain was verified last: the part of the page that changes by itself."""
    _permitted(request.user)
    context = {"chain_status": _chain_status(), "may_verify": may(request.user, Permission.AUDIT)}
    return render(request, "audit/chain_status.html", context)


@require_POST
def verify_now(request: AuthenticatedHttpRequest) -> HttpResponse:
    """Queue a verification of the whole chain, unless one is waiting."""
    require(request.user, Permission.AUDIT)
    _requested, sent = verify_soon()
    if not sent:
        messages.warning(
            request,
            _(
                "The queue is unreachable. The verification runs with the next scheduled one. To "
                "run it now, use manage.py audit_verify."
            ),
        )
    else:
        messages.info(request, _("Verification queued. The result appears here."))
    return redirect("audit:events")


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler403: record the denied request and show the error page."""
    try:
        access_denied(request, details={"why": str(exception)} if str(exception or "") else None)
    except DatabaseError:
        # still a 403, even if the event cannot be stored
        logger.exception("could not record a denied request: %s %s", request.method, request.path)
    refusal = exception if isinstance(exception, RoleRequired) else None
    return render(request, "403.html", {"refusal": refusal}, status=403)
