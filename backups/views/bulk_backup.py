"""Back up the logs of the selected clusters: a request for each, and an answer for each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from backups.choices import Trigger
from backups.forms import MAX_WAIT_MINUTES, BulkBackupForm, form_problems
from backups.models import BackupRun, Cluster
from backups.services.clusters.preflight import would_be_rejected
from backups.services.runs.requests import CannotBackUp, KeyReused, request_backup
from dashboard.accounts.access import Permission, may, require_somewhere

from .cluster_backup import what_came_of_it
from .cluster_rows import rows_in_order
from .common import PageRequest, bad_request, local_path, new_key, requester


class Kind(Enum):
    """What became of the request for one cluster."""

    REQUESTED = "requested"
    JOINED = "joined"
    CAUTION = "caution"  # the cloud would most likely refuse: nothing was requested
    IMPOSSIBLE = "impossible"
    REFUSED = "refused"

    @property
    def tone(self) -> str:
        """Colour token."""
        return {"requested": "ok", "joined": "busy", "caution": "warn"}.get(self.value, "bad")


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of the request for one cluster, in words; its run where there is one."""

    cluster: Cluster
    kind: Kind
    text: str
    run: BackupRun | None = None


@require_POST
def bulk_backup(request: PageRequest) -> HttpResponse:
    """Ask for a backup of each selected cluster; clusters that cannot be seen are not told of."""
    require_somewhere(request.user, Permission.RUN)
    form = BulkBackupForm(request.POST)
    if not form.is_valid():
        return bad_request(request, form_problems(form))
    pks: list[int] = form.cleaned_data["cluster"]
    visible = Cluster.objects.visible_to(request.user).select_related("project")
    found = visible.filter(pk__in=pks).order_by("name", "pk")
    answers = [_ask(request, cluster, form) for cluster in found]
    context = {
        "answers": answers,
        "summary": _summary(answers, len(pks)),
        "tone": "info" if all(each.run for each in answers) and answers else "warning",
        "cautioned": [each.cluster for each in answers if each.kind is Kind.CAUTION],
        "reason": form.cleaned_data["reason"],
        "key": new_key(),
        "back": local_path(request, request.POST.get("back", ""), reverse("backups:clusters")),
    }
    if request.htmx:
        rows = rows_in_order([each.cluster.pk for each in answers], request.user)
        context |= {"rows": rows, "max_wait": MAX_WAIT_MINUTES}
        return render(request, "backups/bulk_answer.html", context)
    return render(request, "backups/bulk_backup.html", context)


def _ask(request: PageRequest, cluster: Cluster, form: BulkBackupForm) -> Answer:
    if not may(request.user, Permission.RUN, cluster.project):
        return Answer(cluster, Kind.REFUSED, _("Your account may not back up this cluster."))
    if not form.cleaned_data["anyway"] and would_be_rejected(cluster):
        text = _("Not requested: the cloud would most likely refuse it. %(why)s")
        return Answer(cluster, Kind.CAUTION, text % {"why": cluster.readiness_detail})
    try:
        made = request_backup(
            cluster,
            requester(request, form.cleaned_data["reason"], Trigger.BULK),
            idempotency_key=form.cleaned_data["idempotency_key"],
        )
    except (CannotBackUp, KeyReused) as error:
        return Answer(cluster, Kind.IMPOSSIBLE, str(error))
    text = what_came_of_it(made, typed=bool(form.cleaned_data["reason"]))
    return Answer(cluster, Kind.REQUESTED if made.created else Kind.JOINED, text, made.run)


def _summary(answers: list[Answer], asked: int) -> str:
    """What became of all of them, in one sentence."""
    count = {kind: sum(each.kind is kind for each in answers) for kind in Kind}
    said = ngettext(
        "Log backup of %(n)d cluster requested.",
        "Log backups of %(n)d clusters requested.",
        count[Kind.REQUESTED],
    ) % {"n": count[Kind.REQUESTED]}
    if joined := count[Kind.JOINED]:
        said += " " + ngettext(
            "%(n)d joined a run that was there.", "%(n)d joined runs that were there.", joined
        ) % {"n": joined}
    if left := asked - count[Kind.REQUESTED] - joined:
        said += " " + ngettext("%(n)d was not requested.", "%(n)d were not requested.", left) % {
            "n": left
        }
    return said
