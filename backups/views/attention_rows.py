"""The rows of "needs attention": a cluster, why, and the next thing to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from django.urls import reverse
from django.utils.translation import ngettext_lazy

from backups.choices import Outcome, Protection, Readiness
from backups.guide import explain_run
from backups.models import BackupRun, Cluster
from backups.services.attention import BLOCKED, Attention, Finding, Need
from dashboard.accounts.access import Permission, may
from dashboard.accounts.models import User

from .common import new_key

UNPROTECTED = (Need.OVERDUE_FAILING, Need.NEVER_FAILING, Need.OVERDUE, Need.NEVER)


class StepKind(StrEnum):
    """What a row of "needs attention" offers."""

    BACKUP = "backup"
    SETTINGS = "settings"
    RUN = "run"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class AttentionRow:
    """A cluster that needs somebody, and the next thing to do.

    Attributes:
        finding: the cluster and why.
        run: the run to open: the one under way, else the one that ended badly.
        step: what is offered.
        may_run: whether the user may back up this cluster.
        key: the idempotency key of its form.
    """

    finding: Finding
    run: BackupRun | None
    step: StepKind
    may_run: bool
    key: str = field(default_factory=new_key)

    @property
    def protection(self) -> Protection:
        """Where that is why: the state of protection."""
        never = self.finding.need in (Need.NEVER, Need.NEVER_FAILING)
        return Protection.NEVER if never else Protection.OVERDUE

    @property
    def unprotected(self) -> bool:
        return self.finding.need in UNPROTECTED

    @property
    def blocked(self) -> bool:
        """Whether somebody has to act before a backup can end well."""
        return self.finding.cluster.readiness in BLOCKED

    def looks(self) -> object:
        """What the row shows; it looks the same as long as this is equal."""
        cluster, run, bad = self.finding.cluster, self.run, self.finding.run
        facts = (cluster.pk, cluster.name, cluster.readiness, cluster.verified_at)
        runs = [(each.pk, each.version) for each in (run, bad) if each]
        return self.finding.need, self.step, self.may_run, facts, cluster.objective, runs


def attention_row(finding: Finding, user: User) -> AttentionRow:
    """Choose the next step: what stands in the way first, then another try where it can help."""
    latest, bad = finding.cluster.latest_run, finding.run
    readiness = finding.cluster.readiness
    run = latest if latest and latest.is_active else bad
    if run and run.is_active:
        step = StepKind.RUN
    elif readiness in (Readiness.BACKUP_OFF, Readiness.STORAGE_MISSING):
        step = StepKind.SETTINGS
    elif readiness == Readiness.UNAVAILABLE:
        step = StepKind.CLUSTER
    elif bad and not _can_end_well(bad, finding.cluster):
        step = StepKind.RUN
    else:
        step = StepKind.BACKUP
    return AttentionRow(finding, run, step, may(user, Permission.RUN, finding.cluster.project))


def _can_end_well(run: BackupRun, cluster: Cluster) -> bool:
    """Whether asking again can help, or what was in the way is gone by a later check."""
    words = explain_run(
        run.run_state,
        Outcome(run.outcome),
        run.error_code,
        imported=run.is_imported,
        by_hand=run.settled_by_hand,
    )
    ended = run.finished_at or run.requested_at
    ready_since = cluster.readiness == Readiness.READY and (cluster.checked_at or ended) > ended
    return words.retryable or (ready_since and run.outcome == Outcome.PRECONDITION_FAILED)


@dataclass(frozen=True, slots=True)
class Link:
    """A way to rows that are not shown."""

    text: str
    url: str


_MORE_CONNECTIONS = ngettext_lazy("%d connection", "%d connections")
_MORE_UNPROTECTED = ngettext_lazy("%d not protected", "%d not protected")
_MORE_FAILING = ngettext_lazy("%d that ended badly", "%d that ended badly")
_MORE_BLOCKED = ngettext_lazy("%d due and not ready", "%d due and not ready")


def more_links(found: Attention, rows: Sequence[AttentionRow]) -> list[Link]:
    """Where the rest of what needs attention is, by what can be filtered for."""
    shown = Counter(row.finding.need for row in rows)
    rest = Counter({need: max(count - shown[need], 0) for need, count in found.counts.items()})
    connections = found.connection_count - len(found.connections)
    unprotected = sum(rest[need] for need in UNPROTECTED)
    groups = [
        (connections, _MORE_CONNECTIONS, "connections", ""),
        (unprotected, _MORE_UNPROTECTED, "protection", ""),
        (rest[Need.FAILING], _MORE_FAILING, "history", "?group=attention&window=all"),
        (rest[Need.BLOCKED], _MORE_BLOCKED, "protection", ""),
    ]
    return [
        Link(str(text % count), reverse(f"backups:{page}") + query)
        for count, text, page, query in groups
        if count > 0
    ]
