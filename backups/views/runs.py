"""A run: its page, its JSON, its cancel button."""

from __future__ import annotations

import secrets

from django.contrib import messages
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from backups.forms import LiveForm
from backups.models import BackupRun
from backups.serialize import run_document
from backups.services.requests import CannotCancel, cancel_run

from .clusters import row_response
from .common import PageRequest, bad_request, mark_live, unchanged


def _context(pk: int) -> dict[str, object]:
    """The run with all its parts, in three queries."""
    run = get_object_or_404(BackupRun.objects.select_related("cluster", "conflict_run"), pk=pk)
    events, calls = list(run.events.all()), list(run.api_calls.all())
    # A join writes an event and a reader a call without a new version: the counts tell.
    token = f"{run.version}.{len(events)}.{sum(1 if c.finished_at else 2 for c in calls)}"
    return {
        "run": run,
        "events": events,
        "calls": calls,
        "token": token,
        "key": secrets.token_urlsafe(16),
    }


@require_GET
def run_detail(request: PageRequest, pk: int) -> HttpResponse:
    """Everything that is known about a run."""
    return render(request, "backups/run.html", _context(pk))


@require_GET
def run_live(request: PageRequest, pk: int) -> HttpResponse:
    """The run's page again if it has changed; 204 when it has not."""
    form = LiveForm(request.GET)
    if not form.is_valid():
        return bad_request(request, form)
    context = _context(pk)
    if {token for _pk, token in form.cleaned_data["shown"]} == {context["token"]}:
        return unchanged()
    return mark_live(render(request, "backups/run_live.html", context))


@require_GET
def run_json(request: PageRequest, pk: int) -> JsonResponse:
    """The run as a file."""
    run = get_object_or_404(BackupRun.objects.prefetch_related("events", "api_calls"), pk=pk)
    return JsonResponse(
        run_document(run),
        json_dumps_params={"indent": 2, "ensure_ascii": False},
        headers={
            "Content-Disposition": f'attachment; filename="run-{run.pk}.json"',
            "Cache-Control": "no-store",
        },
    )


@require_POST
def run_cancel(request: PageRequest, pk: int) -> HttpResponse:
    """Cancel a run that has not been sent; where that is too late, say why."""
    run = get_object_or_404(BackupRun, pk=pk)
    tone, text = "info", _("Run %(pk)d was cancelled before it was sent.") % {"pk": run.pk}
    try:
        cancel_run(run, actor=request.user.get_username())
    except CannotCancel as problem:
        tone, text = "error", _("Not cancelled. %(why)s") % {"why": problem}
    if request.htmx:
        return row_response(request, run.cluster_id, text, run=run, tone=tone)
    messages.add_message(request, messages.ERROR if tone == "error" else messages.INFO, text)
    return redirect(run)
