"""Requests for log backups, from the button of a cluster or for the selected clusters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from backups.choices import Trigger
from backups.forms import MAX_WAIT_MINUTES, BackupForm, BulkBackupForm, form_problems
from backups.models import BackupRun, Cluster
from backups.services.clusters.preflight import would_be_rejected
from backups.services.runs.requests import (
    BackupRequest,
    CannotBackUp,
    KeyReused,
    request_backup,
    request_backups,
)
from dashboard.accounts.access import Permission, may, require_somewhere

from .cluster_rows import permitted_cluster, row_of, rows_in_order
from .common import PageRequest, bad_request, local_path, new_key, requester


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


class Result(Enum):
    """Result of the request for one cluster."""

    REQUESTED = "requested"
    JOINED = "joined"
    WARNED = "caution"  # the cloud would most likely refuse: nothing was requested
    IMPOSSIBLE = "impossible"
    REFUSED = "refused"

    @property
    def tone(self) -> str:
        """Colour token."""
        return {"requested": "ok", "joined": "busy", "caution": "warn"}.get(self.value, "bad")


@dataclass(frozen=True, slots=True)
class BulkAnswer:
    """Result of the request for one cluster: its text and its run, if there is one."""

    cluster: Cluster
    kind: Result
    text: str
    run: BackupRun | None = None


@require_POST
def bulk_backup(request: PageRequest) -> HttpResponse:
    """Request a backup of each selected cluster; clusters hidden from the user are left out."""
    require_somewhere(request.user, Permission.RUN)
    form = BulkBackupForm(request.POST)
    if not form.is_valid():
        return bad_request(request, form_problems(form))
    pks: list[int] = form.cleaned_data["cluster"]
    visible = Cluster.objects.visible_to(request.user).select_related("project")
    found = visible.filter(pk__in=pks).order_by("name", "pk")
    answers = _ask(request, list(found), form)
    context = {
        "answers": answers,
        "summary": _summary(answers, len(pks)),
        "tone": "info" if all(each.run for each in answers) and answers else "warning",
        "cautioned": [each.cluster for each in answers if each.kind is Result.WARNED],
        "reason": form.cleaned_data["reason"],
        "key": new_key(),
        "back": local_path(request, request.POST.get("back", ""), reverse("backups:clusters")),
    }
    if request.htmx:
        rows = rows_in_order([each.cluster.pk for each in answers], request.user)
        context |= {"rows": rows, "max_wait": MAX_WAIT_MINUTES}
        return render(request, "backups/bulk_answer.html", context)
    return render(request, "backups/bulk_backup.html", context)


def _ask(
    request: PageRequest, clusters: Sequence[Cluster], form: BulkBackupForm
) -> list[BulkAnswer]:
    """Request backups of all clusters that qualify, at once; one answer for each, in order."""
    refused = {each.pk: answer for each in clusters if (answer := _refused(request, each, form))}
    wanted = [each for each in clusters if each.pk not in refused]
    made = request_backups(
        wanted,
        requester(request, form.cleaned_data["reason"], Trigger.BULK),
        idempotency_key=form.cleaned_data["idempotency_key"],
    )
    typed = bool(form.cleaned_data["reason"])
    answers = {
        each.pk: _answer(each, what, typed=typed) for each, what in zip(wanted, made, strict=True)
    }
    return [refused.get(each.pk) or answers[each.pk] for each in clusters]


def _refused(request: PageRequest, cluster: Cluster, form: BulkBackupForm) -> BulkAnswer | None:
    """Why nothing is requested for a cluster; None where it is."""
    if not may(request.user, Permission.RUN, cluster.project):
        return BulkAnswer(cluster, Result.REFUSED, _("Your account may not back up this cluster."))
    if not form.cleaned_data["anyway"] and would_be_rejected(cluster):
        text = _("Not requested: the cloud would probably reject it. %(why)s")
        return BulkAnswer(cluster, Result.WARNED, text % {"why": cluster.readiness_detail})
    return None


def _answer(
    cluster: Cluster, made: BackupRequest | CannotBackUp | KeyReused, *, typed: bool
) -> BulkAnswer:
    if not isinstance(made, BackupRequest):
        return BulkAnswer(cluster, Result.IMPOSSIBLE, str(made))
    text = what_came_of_it(made, typed=typed)
    return BulkAnswer(cluster, Result.REQUESTED if made.created else Result.JOINED, text, made.run)


def _summary(answers: list[BulkAnswer], asked: int) -> str:
    """Summarise all results in one sentence."""
    count = {kind: sum(each.kind is kind for each in answers) for kind in Result}
    said = ngettext(
        "Log backup of %(n)d cluster requested.",
        "Log backups of %(n)d clusters requested.",
        count[Result.REQUESTED],
    ) % {"n": count[Result.REQUESTED]}
    if joined := count[Result.JOINED]:
        said += " " + ngettext(
            "%(n)d joined an existing run.", "%(n)d joined existing runs.", joined
        ) % {"n": joined}
    if left := asked - count[Result.REQUESTED] - joined:
        said += " " + ngettext("%(n)d was not requested.", "%(n)d were not requested.", left) % {
            "n": left
        }
    return said
