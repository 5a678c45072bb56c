"""How far a batch has come: counts, rate, time left, and what was refused and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Count, Max, Q
from django.utils import timezone

from backups.choices import ACTIVE, ENDED_BADLY, Cause, ItemState, RunState
from backups.models import BackupRun, Batch, BatchItem
from dashboard.accounts.access import visible_q
from dashboard.accounts.models import User

LATELY = 60.0  # seconds over which the rate is measured
MOST_GROUPS = 50  # causes that are listed


@dataclass(frozen=True, slots=True)
class Refusal:
    """Runs of a batch that ended badly in the same way.

    Attributes:
        run: one of them, the newest, for the explanation.
        count: how many.
    """

    run: BackupRun
    count: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a batch has come, for one reader.

    Attributes:
        waiting: not yet runs.
        states: number of clusters by the state of their run.
        skipped: number of clusters by cause.
        working: other work that the cloud is being asked for.
        worked: done, of other work than a backup.
        unworked: failed, of other work than a backup.
        cancelled: cancelled before they became runs.
        joined: backed up by another request's run; they count in `states`, too.
        forgotten: their run was deleted by retention.
        refusals: runs that ended badly, by cause, most frequent first.
        sent_lately, ended_lately: in the last LATELY seconds.
        lately: seconds over which these were counted.
    """

    waiting: int = 0
    states: dict[RunState, int] = field(default_factory=dict)
    skipped: dict[Cause, int] = field(default_factory=dict)
    working: int = 0
    worked: int = 0
    unworked: int = 0
    cancelled: int = 0
    joined: int = 0
    forgotten: int = 0
    refusals: list[Refusal] = field(default_factory=list)
    sent_lately: int = 0
    ended_lately: int = 0
    lately: float = LATELY

    @property
    def active(self) -> int:
        """Runs that have not ended."""
        return sum(n for state, n in self.states.items() if state in ACTIVE)

    @property
    def verified(self) -> int:
        return self.states.get(RunState.SUCCEEDED, 0)

    @property
    def failed(self) -> int:
        """Runs that ended badly."""
        return sum(n for state, n in self.states.items() if state in ENDED_BADLY)

    @property
    def total(self) -> int:
        """Clusters of the batch, without the skipped ones."""
        others = self.working + self.worked + self.unworked + self.cancelled + self.forgotten
        return self.waiting + sum(self.states.values()) + others

    @property
    def done(self) -> int:
        return self.total - self.waiting - self.working - self.active

    @property
    def percent(self) -> int:
        return 100 * self.done // self.total if self.total else 100

    @property
    def rate(self) -> float:
        """Requests sent each second, lately."""
        return self.sent_lately / self.lately

    @property
    def left(self) -> timedelta | None:
        """The time until the end at the pace at which runs ended lately; None if not known."""
        if not self.ended_lately or self.done == self.total:
            return None
        pace = self.ended_lately / self.lately
        return timedelta(seconds=round((self.waiting + self.active) / pace))


def progress_of(batch: Batch, user: User | None, now: datetime | None = None) -> Progress:
    """Count a batch's clusters by what became of them; two queries.

    Args:
        batch: the batch.
        user: counts only clusters that they may see; None for all.
        now: the time from which "lately" counts back.
    """
    now = now or timezone.now()
    lately = min(LATELY, max((now - batch.requested_at).total_seconds(), 1.0))
    recent = now - timedelta(seconds=lately)
    items = BatchItem.objects.filter(batch=batch).order_by()
    if user is not None:
        items = items.filter(visible_q(user))
    rows = items.values_list(
        "state", "cause", "run__state", "run__outcome", "run__error_code", "run__settled_by_hand"
    ).annotate(
        n=Count("pk"),
        newest=Max("run"),
        sent=Count("pk", filter=Q(run__sent_at__gte=recent)),
        ended=Count("pk", filter=Q(run__finished_at__gte=recent)),
    )
    items_by: Counter[str] = Counter()
    states: Counter[RunState] = Counter()
    skipped: Counter[Cause] = Counter()
    bad: Counter[tuple[object, ...]] = Counter()
    newest: dict[tuple[object, ...], int] = {}
    joined = forgotten = sent_lately = ended_lately = 0
    for state, cause, run_state, outcome, code, by_hand, n, run, sent, ended in rows:
        items_by[state] += n
        sent_lately += sent
        ended_lately += ended
        if state == ItemState.SKIPPED:
            skipped[Cause(cause)] += n
        if state != ItemState.STARTED:
            continue
        joined += n if cause == Cause.JOINED else 0
        if run_state is None:
            forgotten += n
            continue
        states[RunState(run_state)] += n
        if run_state in ENDED_BADLY:
            kind = (run_state, outcome, code, by_hand)
            bad[kind] += n
            newest[kind] = max(newest.get(kind, 0), run)
    groups = bad.most_common(MOST_GROUPS)
    runs = BackupRun.objects.in_bulk([newest[kind] for kind, _n in groups])
    return Progress(
        waiting=items_by[ItemState.WAITING],
        states=dict(states),
        skipped=dict(skipped.most_common()),
        working=items_by[ItemState.WORKING],
        worked=items_by[ItemState.DONE],
        unworked=items_by[ItemState.FAILED],
        cancelled=items_by[ItemState.CANCELLED],
        joined=joined,
        forgotten=forgotten,
        refusals=[Refusal(runs[newest[kind]], n) for kind, n in groups if newest[kind] in runs],
        sent_lately=sent_lately,
        ended_lately=ended_lately,
        lately=lately,
    )
