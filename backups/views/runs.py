"""A run: its page, its JSON, cancelling it and settling it by hand."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from backups.choices import Ruling, RunState, Trigger
from backups.forms import SettleForm, form_problems
from backups.models import ApiCall, BackupRun, Batch, FileCheck, RunEvent
from backups.models.run_log import LONGEST_RULING, records_read
from backups.serialize import file_check_of, run_document
from backups.services.clusters.preflight import blocked_reason
from backups.services.runs import seal_proof
from backups.services.runs.related import audit_events, neighbours, resolved_by
from backups.services.runs.requests import IN_BATCHES, CannotCancel, cancel_run, reason_required
from backups.services.runs.settling import CannotSettle, settle_by_hand, why_not
from dashboard.accounts.access import Permission, may, require
from dashboard.accounts.models import User
from dashboard.audit.models import AuditEvent
from dashboard.audit.trail import Actor

from . import presentation
from .backup import row_response
from .common import PageRequest, local_path
from .live import Shown, live_response, live_view, token

PARTS = tuple(
    f"backups/run_{part}.html"
    for part in ("head", "facts", "timeline", "calls", "record", "settle", "audit")
)
MOST_EVENTS = 200  # of the audit trail on a page; its JSON has all
MOST_FILES = 100  # on a page


@dataclass(frozen=True, slots=True)
class AuditTrail:
    """The audit trail's events about a run.

    Attributes:
        events: the oldest first, at most MOST_EVENTS.
        more: there are more.
    """

    events: list[AuditEvent]
    more: bool


def audit_trail(user: User, run: BackupRun) -> AuditTrail | None:
    """The audit trail's events about a run; None if the user may not audit its project."""
    found = audit_events(user, run)
    if found is None:
        return None
    events = list(found[: MOST_EVENTS + 1])
    return AuditTrail(events[:MOST_EVENTS], len(events) > MOST_EVENTS)


def ruling_of(run: BackupRun, events: list[RunEvent]) -> RunEvent | None:
    """The event by which a run was settled by hand."""
    if not run.settled_by_hand:
        return None
    settled = (e for e in events if e.from_state == RunState.UNKNOWN and e.to_state == run.state)
    return next(settled, None)


@dataclass(slots=True)
class Settling:
    """The form that settles a run by hand.

    Attributes:
        why_not: why that cannot be done now, "" where it can.
        ruling, reason: what was typed.
        problems: what was wrong with it, as sentences.
        wrong: the fields that were wrong.
    """

    why_not: str
    ruling: str = ""
    reason: str = ""
    problems: list[str] = field(default_factory=list)
    wrong: frozenset[str] = frozenset()

    choices = Ruling.choices
    longest = LONGEST_RULING


def settling(user: User, run: BackupRun) -> Settling | None:
    """The form for a run with an unknown outcome, if the user may settle it."""
    if run.run_state is not RunState.UNKNOWN or not may(user, Permission.SETTLE, run.project):
        return None
    return Settling(why_not(run, timezone.now()))


def _context(request: PageRequest, pk: int) -> dict[str, object]:
    """The run with all its parts; the number of queries is constant."""
    visible = BackupRun.objects.visible_to(request.user)
    visible = seal_proof.with_seal(
        visible.select_related("cluster", "project", "conflict_run", "file_check")
    )
    run = get_object_or_404(visible, pk=pk)
    events, calls = list(run.events.all()), list(run.api_calls.all())
    resolving, seal = resolved_by(run), seal_proof.status_of(run)
    files = file_check_of(run)
    return {
        "run": run,
        "seal": seal,
        "files": files,
        "seen_files": run.seen_files.all()[:MOST_FILES] if files and files.files else [],
        "spans": presentation.spans(run, calls),
        "records_read": (read := records_read(run, calls)),
        "unlisted": read - sum(call.purpose == "records" for call in calls),
        **neighbours(run),
        "resolved_by": resolving,
        "batches": _batches(run),
        "events": events,
        "ruling": ruling_of(run, events),
        "calls": presentation.call_groups(calls),
        "audit": audit_trail(request.user, run),
        "settling": settling(request.user, run),
        "token": _token(run, events, calls, resolving, seal, files),
        "key": secrets.token_urlsafe(16),
        "may_audit_all": may(request.user, Permission.AUDIT),
        "may_run": may(request.user, Permission.RUN, run.project),
        "blocked": blocked_reason(run.cluster) if run.is_terminal else "",
        "reason_required": reason_required(Trigger.BUTTON),
    }


def _batches(run: BackupRun) -> QuerySet[Batch]:
    """The batch that made a run, and those that joined it; a click's run is asked of none."""
    if run.trigger not in IN_BATCHES:
        return Batch.objects.none()
    return Batch.objects.filter(items__run=run).select_related("firing__schedule").order_by("pk")


def _token(
    run: BackupRun,
    events: list[RunEvent],
    calls: list[ApiCall],
    resolving: BackupRun | None,
    seal: seal_proof.SealStatus | None,
    files: FileCheck | None,
) -> str:
    """The live token of the page; includes what changes without a new version of the run."""
    cluster = run.cluster
    return token(
        (run.version, len(events), [call.finished_at for call in calls]),
        (cluster.readiness, cluster.readiness_detail, cluster.check_error, cluster.checked_at),
        resolving and resolving.pk,
        seal and (seal.kind, seal.event),
        files and (files.pk, files.checked_at),
    )


@require_safe
def run_detail(request: PageRequest, pk: int) -> HttpResponse:
    """Page of a run."""
    return render(request, "backups/run.html", _context(request, pk))


@live_view
def run_live(request: PageRequest, shown: Shown, pk: int) -> HttpResponse | None:
    """The parts of the run's page, if it has changed."""
    context = _context(request, pk)
    if {shown_token for _pk, shown_token in shown} == {context["token"]}:
        return None
    parts = PARTS if context["audit"] else PARTS[:-1]
    return live_response(request, context, parts=parts)


@require_safe
def run_json(request: PageRequest, pk: int) -> JsonResponse:
    """Download the run as JSON, with everything that its page shows."""
    visible = BackupRun.objects.visible_to(request.user).select_related(
        "cluster", "project", "file_check"
    )
    parts = ("events", "api_calls", "seen_files")
    run = get_object_or_404(visible.prefetch_related(*parts), pk=pk)
    audit = audit_events(request.user, run)
    return JsonResponse(
        run_document(
            run,
            **neighbours(run),
            resolved_by=resolved_by(run),
            audit=audit,
            seal=seal_proof.document(run, with_proof=audit is not None),
        ),
        json_dumps_params={"indent": 2, "ensure_ascii": False},
        headers={
            "Content-Disposition": f'attachment; filename="run-{run.pk}.json"',
            "Cache-Control": "no-store",
        },
    )


def _permitted_run(request: PageRequest, pk: int, permission: Permission) -> BackupRun:
    visible = BackupRun.objects.visible_to(request.user).select_related("project")
    run = get_object_or_404(visible, pk=pk)
    require(request.user, permission, run.project)
    return run


@require_POST
def run_cancel(request: PageRequest, pk: int) -> HttpResponse:
    """Cancel a run that has not been sent, or say why it is too late."""
    run = _permitted_run(request, pk, Permission.RUN)
    said = _("Run %(pk)d was cancelled before it was sent.")
    if run.outcome:
        said = _("Run %(pk)d was cancelled before it was tried again.")
    tone, text = "info", said % {"pk": run.pk}
    try:
        cancel_run(run, actor=Actor.of(request))
    except CannotCancel as problem:
        tone, text = "error", _("Not cancelled. %(why)s") % {"why": problem}
    if request.htmx:
        return row_response(request, run.cluster_id, text, run=run, tone=tone)
    messages.add_message(request, messages.ERROR if tone == "error" else messages.INFO, text)
    return redirect(local_path(request, request.POST.get("back", ""), run.get_absolute_url()))


@require_POST
def run_settle(request: PageRequest, pk: int) -> HttpResponse:
    """Settle a run by hand whose records cannot be read."""
    run = _permitted_run(request, pk, Permission.SETTLE)
    form = SettleForm(request.POST)
    if not form.is_valid():
        return _settle_again(request, run, form_problems(form), frozenset(form.errors), status=422)
    ruling = Ruling(form.cleaned_data["ruling"])
    try:
        settle_by_hand(run, ruling, actor=Actor.of(request), reason=form.cleaned_data["reason"])
    except CannotSettle as problem:
        return _settle_again(request, run, [_("Not settled. %(why)s") % {"why": problem}])
    messages.info(request, _("Run %(pk)d was settled by hand.") % {"pk": run.pk})
    return redirect(run)


def _settle_again(
    request: PageRequest,
    run: BackupRun,
    problems: list[str],
    wrong: frozenset[str] = frozenset(),
    *,
    status: int = 409,
) -> HttpResponse:
    """Show the run's page again with what was typed and why the run was not settled."""
    context = _context(request, run.pk)
    context["settling"] = Settling(
        why_not(run, timezone.now()),
        request.POST.get("ruling", "")[:40],
        request.POST.get("reason", "")[:2000],
        problems,
        wrong,
    )
    return render(request, "backups/run.html", context, status=status)
