"""The rows of "needs attention": a cluster, why, and the next thing to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.urls import reverse
from django.utils.translation import ngettext_lazy

from backups.choices import Protection
from backups.models import BackupRun
from backups.services.attention import BLOCKED, Attention, Finding, Need
from dashboard.accounts.access import Permission, may
from dashboard.accounts.models import User

from .common import new_key
from .next_step import NextStep, next_step

UNPROTECTED = (Need.OVERDUE_FAILING, Need.NEVER_FAILING, Need.OVERDUE, Need.NEVER)


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
    step: NextStep
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
    """The finding with its next step."""
    cluster, bad = finding.cluster, finding.run
    latest = cluster.latest_run
    run = latest if latest and latest.is_active else bad
    may_run = may(user, Permission.RUN, cluster.project)
    step = next_step(cluster, bad, finding.protection, may_ask=may_run)
    return AttentionRow(finding, run, step, may_run)


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
