"""Retention: the policy, a preview of what it deletes, and past clean-ups."""

from __future__ import annotations

from typing import NamedTuple

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from backups.forms import RetentionForm, RetentionRunForm
from backups.models import RetentionPolicy, RetentionRun
from backups.services import retention as service
from backups.services.dispatch import dispatch_retention
from dashboard.accounts.access import Permission, may, require
from dashboard.audit.models import AuditEvent
from dashboard.audit.trail import Actor

from .common import PageRequest

MOST_SHOWN = 20


class PolicyRow(NamedTuple):
    """A kind of data in the policy: its field, and a preview of what would be deleted now."""

    found: service.Preview
    field: str
    value: object
    problems: list[str]


class CleanUp(NamedTuple):
    """A retention run with its audit event, or None if that has been deleted."""

    run: RetentionRun
    told: AuditEvent | None


def _done() -> list[CleanUp]:
    runs = list(RetentionRun.objects.all()[:MOST_SHOWN])
    events = AuditEvent.objects.in_bulk([run.told for run in runs])
    return [CleanUp(run, events.get(run.told)) for run in runs]


def _page(
    request: PageRequest,
    form: RetentionForm | None = None,
    *,
    asks: RetentionPolicy | None = None,
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    policy = RetentionPolicy.current()
    typed = form.data if form is not None else policy.as_dict()
    errors = form.errors if form is not None else {}

    def row(found: service.Preview) -> PolicyRow:
        field = f"{found.kind.value}_days"
        return PolicyRow(found, field, typed.get(field), list(map(str, errors.get(field, []))))

    return render(
        request,
        "backups/retention.html",
        {
            "rows": [row(found) for found in service.preview(asks or policy)],
            "asks": asks,
            "reason": form.data.get("reason", "") if form is not None else "",
            "problem": problem or ", ".join(map(str, errors.get("seen", []))),
            "seen": service.fingerprint(policy),
            "done": _done(),
            "may_change": may(request.user, Permission.CONFIGURE),
        },
        status=status,
    )


@require_safe
def retention(request: PageRequest) -> HttpResponse:
    """The policy with its preview, and past clean-ups."""
    require(request.user, Permission.AUDIT)
    return _page(request)


@require_POST
def retention_change(request: PageRequest) -> HttpResponse:
    """Change the policy; a change that deletes data must be confirmed."""
    require(request.user, Permission.CONFIGURE)
    form = RetentionForm(request.POST)
    if not form.is_valid():
        return _page(request, form, status=422)
    if form.cleaned_data["seen"] != service.fingerprint(RetentionPolicy.current()):
        return _page(request, form, problem=_changed_meanwhile(), status=409)
    days = form.days()
    wanted = RetentionPolicy(pk=RetentionPolicy.ONLY, **days)
    if not form.cleaned_data["confirmed"] and any(each.count for each in service.preview(wanted)):
        return _page(request, form, asks=wanted, status=422)
    changed = service.change(days, actor=Actor.of(request), reason=form.cleaned_data["reason"])
    messages.info(request, _("Saved.") if changed else _("No changes."))
    return redirect("backups:retention")


@require_POST
def retention_run(request: PageRequest) -> HttpResponse:
    """Start the clean-up that is due by the policy shown; a worker does it."""
    require(request.user, Permission.CONFIGURE)
    form = RetentionRunForm(request.POST)
    policy = RetentionPolicy.current()
    if not form.is_valid() or form.cleaned_data["seen"] != service.fingerprint(policy):
        return _page(request, problem=_changed_meanwhile(), status=409)
    actor = Actor.of(request)
    started = [kind for kind in service.ORDER if service.start(kind, policy, actor=actor)]
    if started:
        dispatch_retention()
        names = ", ".join(str(kind.label) for kind in started)
        messages.info(request, _("Started: %(names)s.") % {"names": names})
    else:
        messages.info(
            request, _("There is nothing to clean up, or a clean-up is already in progress.")
        )
    return redirect("backups:retention")


def _changed_meanwhile() -> str:
    return _("The policy has changed since this page was loaded. Review it, then try again.")
