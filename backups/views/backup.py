"""Requests for log backups, from the button of a cluster."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from backups.forms import MAX_WAIT_MINUTES, BackupForm, form_problems
from backups.models import BackupRun, Cluster
from backups.services.clusters.preflight import would_be_rejected
from backups.services.runs.requests import (
    BackupRequest,
    CannotBackUp,
    KeyReused,
    request_backup,
)
from dashboard.accounts.access import Permission

from .cluster_rows import permitted_cluster, row_of
from .common import PageRequest, local_path, requester


@require_POST
def cluster_backup(request: PageRequest, pk: int) -> HttpResponse:
    """Request a backup. Answers htmx with the row, and others with a redirect to their page."""
    cluster = permitted_cluster(request, pk, Permission.RUN)
    form = BackupForm(request.POST)
    if not form.is_valid():
        return _ask_again(request, cluster, wrong=form, status=422)
    reason: str = form.cleaned_data["reason"]
    wait_minutes: int = form.cleaned_data["wait_minutes"] or 0
    if not form.cleaned_data["anyway"] and would_be_rejected(cluster, wait_minutes=wait_minutes):
        return _ask_again(request, cluster, explains=True, status=409)
    try:
        made = request_backup(
            cluster,
            requester(request, reason),
            idempotency_key=form.cleaned_data["idempotency_key"],
            wait_minutes=wait_minutes,
        )
    except CannotBackUp as error:
        problem = str(error)
        if reason:
            problem += " " + _("Your reason was: “%(reason)s”.") % {"reason": reason}
        return _ask_again(request, cluster, problems=[problem], status=409)
    except KeyReused as error:  # the form comes again with a key of its own
        again = _("Nothing was requested. Submit the form again to request a backup.")
        problem = f"{error} {again}"
        return _ask_again(request, cluster, problems=[problem], status=422)
    text = what_came_of_it(made, typed=bool(request.POST.get("reason")))
    if request.htmx:
        return row_response(request, cluster.pk, text, run=made.run)
    messages.info(request, text)
    if request.POST.get("then") == "run":
        return redirect(made.run)
    return redirect(f"{_back(request)}#cluster-{cluster.pk}")


def what_came_of_it(made: BackupRequest, *, typed: bool) -> str:
    """Say in words what a request led to.

    Args:
        made: the request's run.
        typed: a reason was given with it.
    """
    run = made.run
    if made.created:
        return _("Log backup of %(cluster)s requested.") % {"cluster": run.cluster_name}
    if run.is_terminal:
        return _("This form was already submitted, and its run has ended: %(state)s.") % {
            "state": run.state_label
        }
    text = _(
        "Your request joined the run that %(name)s requested at %(time)s UTC; nothing is sent "
        "twice."
    ) % {"name": run.requested_by_name, "time": f"{run.requested_at:%H:%M:%S}"}
    if typed:
        text += " " + _("The run keeps its own reason and options.")
    return text


def row_response(
    request: PageRequest,
    pk: int,
    text: str,
    *,
    run: BackupRun | None = None,
    tone: str = "info",
) -> HttpResponse:
    """A cluster's row as it is now, with a notice, for htmx."""
    return render(
        request,
        "backups/cluster_answer.html",
        {
            "row": row_of(pk, request.user),
            "max_wait": MAX_WAIT_MINUTES,
            "notice": {"text": text, "tone": tone, "run": run},
        },
    )


def _ask_again(
    request: PageRequest,
    cluster: Cluster,
    *,
    wrong: BackupForm | None = None,
    problems: list[str] | None = None,
    explains: bool = False,
    status: int,
) -> HttpResponse:
    """Show the form again with what was typed and the problem; nothing was stored."""
    if wrong is not None:
        problems = form_problems(wrong)
    row = row_of(cluster.pk, request.user)
    row.reason = request.POST.get("reason", "")[:2000]
    row.wait = request.POST.get("wait_minutes", "")[:20]
    row.problems, row.explains = problems or [], explains
    row.wrong = frozenset(wrong.errors) if wrong is not None else frozenset()
    if explains:
        # sent twice, it is still one request
        row.key = request.POST.get("idempotency_key") or row.key
    template = "backups/cluster_row.html" if request.htmx else "backups/backup_again.html"
    context = {
        "row": row,
        "cluster": row.cluster,
        "max_wait": MAX_WAIT_MINUTES,
        "back": _back(request),
        "then": "run" if request.POST.get("then") == "run" else "",
    }
    return render(request, template, context, status=status)


def _back(request: PageRequest) -> str:
    return local_path(request, request.POST.get("back", ""), reverse("backups:clusters"))
