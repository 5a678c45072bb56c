"""The audit trail's pages, and the answer to whoever is refused."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from django.contrib import messages
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe
from kombu.exceptions import OperationalError as BrokerError

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

from . import trail
from .forms import EventFilter, EventWindow
from .models import Action, AuditEvent, AuditEventQuerySet, Verification
from .paging import read_page
from .refusals import access_denied
from .tasks import verify
from .verification import request_verification

logger = logging.getLogger(__name__)

PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class ChainStatus:
    """What is known of the chain.

    Attributes:
        ended: the last verification that has ended.
        waiting: the one that waits or runs.
        unverified: how many events are newer than `ended`.
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
    """The events that a user may read: all, or those of the projects that they audit.

    Raises:
        RoleRequired: they audit nothing.
    """
    require_somewhere(user, Permission.AUDIT)
    return AuditEvent.objects.filter(permitted_q(user, Permission.AUDIT, "project_id"))


@require_safe
def events(request: AuthenticatedHttpRequest) -> HttpResponse:
    """A page of the events that match the filter."""
    permitted = _permitted(request.user)
    form = EventFilter(request.GET)
    if not form.is_valid():
        problems = [str(problem) for each in form.errors.values() for problem in each]
        return render(request, "400.html", {"problems": problems}, status=400)
    older = _place(permitted, form.cleaned_data["older"])
    newer = _place(permitted, form.cleaned_data["newer"])
    page = read_page(form.narrow(permitted), PAGE_SIZE, older=older, newer=newer)
    return render(
        request,
        "audit/events.html",
        {
            "page": page,
            "form": form,
            "actions": Action,
            "windows": EventWindow,
            "window": form.effective_window,
            "query": _query(request.GET),
            "query_of_all_time": _query(request.GET, window=EventWindow.ALL),
            "chain_status": _chain_status(),
            "may_verify": may(request.user, Permission.AUDIT),
        },
    )


def _place(permitted: AuditEventQuerySet, sequence: int | None) -> AuditEvent | None:
    """The event that a page begins at; it may be gone."""
    return None if sequence is None else get_object_or_404(permitted, sequence=sequence)


def _query(query: QueryDict, **changes: str) -> str:
    """The filter in a URL's query, without the page and empty fields."""
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
    """One event: what was changed, and its link in the chain."""
    permitted = _permitted(request.user)
    event = get_object_or_404(permitted, sequence=sequence)
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


@require_POST
def verify_now(request: AuthenticatedHttpRequest) -> HttpResponse:
    """Queue a verification of the whole chain; one that waits already is enough."""
    require(request.user, Permission.AUDIT)
    request_verification()
    try:
        verify.delay()
    except (BrokerError, OSError) as error:
        logger.warning("broker unreachable, the verification waits: %s", error)
        messages.warning(
            request,
            _(
                "The queue is unreachable. The verification is stored and is done with the next "
                "planned one; manage.py audit_verify does it at once."
            ),
        )
    else:
        messages.info(request, _("The verification is queued; its result is shown here."))
    return redirect("audit:events")


def refused(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler403: the page that says so, and an event."""
    try:
        access_denied(request, details={"why": str(exception)} if str(exception or "") else None)
    except DatabaseError:
        # The refusal stands; it must not turn into an error page that could be asked for again.
        logger.exception("a refusal could not be recorded: %s %s", request.method, request.path)
    refusal = exception if isinstance(exception, RoleRequired) else None
    return render(request, "403.html", {"refusal": refusal}, status=403)
