"""What needs attention, by cause, as home and protection show it; and the form that handles it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from backups.choices import AttentionCause, ConnectionFault
from backups.forms import form_problems
from backups.forms.handling import HandledScopeForm, HandleForm
from backups.guide import CONNECTION_FAULTS, Explanation, Text
from backups.models import BackupRun, Connection, Handling
from backups.rules import causes
from backups.services import handling as services
from backups.services.attention import (
    MOST_ROWS,
    MOST_SHOWN,
    Attention,
    CauseCount,
    CauseGroup,
    Finding,
)
from backups.services.batches.selecting import permission_for
from dashboard.accounts.access import (
    Permission,
    may,
    may_somewhere,
    require,
    require_somewhere,
)
from dashboard.accounts.models import User
from dashboard.audit.trail import Actor

from .cluster_rows import NextStep, next_step, permitted_cluster
from .common import PageRequest, bad_request, local_path, new_key


@dataclass(frozen=True, slots=True)
class AttentionRow:
    """A cluster that needs attention, and its next step.

    Attributes:
        finding: the cluster and why.
        run: the run to open: the one under way, else the one that ended badly.
        step: what is offered.
        may_run: whether the user may back up this cluster.
        key: the idempotency key of its form.
    """

    finding: Finding
    run: BackupRun | None
    step: NextStep
    may_run: bool
    key: str = field(default_factory=new_key)

    def facts(self) -> object:
        """The facts that the row shows, for its live token."""
        cluster, run, bad = self.finding.cluster, self.run, self.finding.run
        facts = (cluster.pk, cluster.name, cluster.verified_at, self.finding.protection)
        runs = [(each.pk, each.version) for each in (run, bad) if each]
        return self.finding.cause, self.step, self.may_run, facts, cluster.objective, runs


def attention_row(finding: Finding, user: User) -> AttentionRow:
    """Row of a finding with its next step."""
    cluster, bad = finding.cluster, finding.run
    latest = cluster.latest_run
    run = latest if latest and latest.is_active else bad
    may_run = may(user, Permission.RUN, cluster.project)
    step = next_step(cluster, bad, finding.protection, may_ask=may_run)
    return AttentionRow(finding, run, step, may_run)


@dataclass(frozen=True, slots=True)
class CauseRow:
    """The clusters of one cause, and what is offered for all of them.

    Attributes:
        counted: how many, and how unprotected they are.
        rows: the worst ones; empty where the page lists them itself.
        action: the bulk action, None where there is none or the user may not.
        may_handle: whether the user may handle it.
    """

    counted: CauseCount
    rows: list[AttentionRow]
    action: causes.BulkAction | None
    may_handle: bool

    @property
    def label(self) -> Text:
        return causes.label(self.counted.cause)

    @property
    def explanation(self) -> Explanation | None:
        return causes.explanation(self.counted.cause)

    @property
    def says_more(self) -> bool:
        """Whether the numbers by protection add to the label."""
        return self.explanation is not None and bool(self.counted.overdue or self.counted.never)

    @property
    def single(self) -> AttentionRow | None:
        """The row that stands for the cause: its next step needs no batch."""
        return self.rows[0] if self.counted.count == len(self.rows) == 1 else None

    @property
    def is_short(self) -> bool:
        """Whether each of its clusters is a row with a next step; of more, the worst are named."""
        return self.counted.count <= MOST_ROWS

    @property
    def query(self) -> str:
        """Filters the clusters that count for it."""
        return urlencode({"cause": self.counted.cause.value, "handled": "no"})

    @property
    def batch_query(self) -> str:
        """Selects them for the preview of a batch."""
        return f"{self.query}&work={self.action.work}" if self.action else ""

    def facts(self) -> object:
        """The facts that it shows, for its live token."""
        return self.counted, [row.facts() for row in self.rows], self.action, self.may_handle


def cause_rows(groups: Iterable[CauseGroup], user: User) -> list[CauseRow]:
    """The causes as rows, each with the bulk action that the user may take."""
    may_handle = may_somewhere(user, Permission.RUN)
    found = []
    for group in groups:
        action = causes.action(group.counted.cause)
        if action and not may_somewhere(user, permission_for(action.work)):
            action = None
        rows = [attention_row(finding, user) for finding in group.findings]
        found.append(CauseRow(group.counted, rows, action, may_handle))
    return found


@dataclass(frozen=True, slots=True)
class FaultRow:
    """Connections whose synchronisation fails in the same way."""

    fault: ConnectionFault
    connections: list[Connection]

    @property
    def explanation(self) -> Explanation | None:
        return CONNECTION_FAULTS.get(self.fault)


def fault_rows(connections: Iterable[Connection]) -> list[FaultRow]:
    """Connections by fault, the most frequent first."""
    found: dict[str, list[Connection]] = defaultdict(list)
    for each in connections:
        found[each.sync_fault].append(each)
    rows = [FaultRow(ConnectionFault(fault), some) for fault, some in found.items()]
    return sorted(rows, key=lambda row: -len(row.connections))


@dataclass(frozen=True, slots=True)
class HandledRow:
    """A handling that holds, how many clusters it covers, and whether the user may end it."""

    handling: Handling
    count: int
    may_end: bool


@dataclass(frozen=True, slots=True)
class Board:
    """What needs attention, as templates/components/causes.html shows it."""

    found: Attention
    causes: list[CauseRow]
    faults: list[FaultRow]
    handled: list[HandledRow]

    @property
    def handled_more(self) -> int:
        return len(self.found.handled) - len(self.handled)

    def facts(self) -> object:
        """The facts that it shows, for its live token."""
        connections = [(c.pk, c.version, c.sync_error) for c in self.found.connections]
        handled = [(each.pk, count) for each, count in self.found.handled]
        return connections, [cause.facts() for cause in self.causes], handled


def board_of(found: Attention, groups: Iterable[CauseGroup], user: User) -> Board:
    """What a user sees of what needs attention.

    Args:
        found: all of it.
        groups: its causes, with their worst clusters where the page does not list clusters itself.
        user: who looks.
    """
    handled = [
        HandledRow(each, count, may(user, Permission.RUN, each.project))
        for each, count in found.handled[:MOST_SHOWN]
    ]
    return Board(found, cause_rows(groups, user), fault_rows(found.connections), handled)


# --- handling ------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
def handle(request: PageRequest) -> HttpResponse:
    """GET: the form that handles a cluster or a cause. POST: handle it."""
    sent = request.POST if request.method == "POST" else request.GET
    scope = HandledScopeForm(sent, user=request.user)
    if not scope.is_valid():
        return bad_request(request, scope)
    cause = AttentionCause(scope.cleaned_data["cause"])
    project, pk = scope.cleaned_data["project"], scope.cleaned_data["cluster"]
    cluster = permitted_cluster(request, pk, Permission.RUN) if pk else None
    require_somewhere(request.user, Permission.RUN)
    if project is not None:
        require(request.user, Permission.RUN, project)
    back = local_path(request, sent.get("back", ""), reverse("backups:home"))
    problems, status = [], 200
    if request.method == "POST":
        form = HandleForm(request.POST, user=request.user)
        if not form.is_valid():
            problems, status = form_problems(form), 422
        else:
            reason, until = form.cleaned_data["reason"], form.cleaned_data["ends"]
            try:
                if cluster is not None:
                    services.handle_cluster(cluster, cause, reason, until, Actor.of(request))
                else:
                    services.handle_cause(cause, project, reason, until, Actor.of(request))
            except services.CannotHandle as error:
                problems, status = [str(error)], 409
            else:
                messages.info(request, _("Handled: %(cause)s.") % {"cause": cause.label})
                return redirect(back)
    context = {
        "cause": cause,
        "cluster": cluster,
        "chosen": project,
        "projects": scope.permitted,
        "lasts": HandleForm.LASTS[0 if cluster else 1 :],
        "typed": {name: sent.get(name, "")[:500] for name in ("reason", "lasts", "until")},
        "problems": problems,
        "back": back,
    }
    return render(request, "backups/handle.html", context, status=status)


@require_POST
def handling_end(request: PageRequest, pk: int) -> HttpResponse:
    """End a handling early: what it covers counts again."""
    found = get_object_or_404(Handling.objects.visible_to(request.user), pk=pk)
    try:
        services.end(found, "By hand.", Actor.of(request))
    except services.CannotHandle as error:
        messages.error(request, str(error))
    else:
        messages.info(request, _("It counts again: %(cause)s.") % {"cause": found.cause_label})
    return redirect(local_path(request, request.POST.get("back", ""), reverse("backups:home")))
