"""The home page: protection, runs in progress, what needs attention, outcomes and API figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import IntEnum

from django.db.models import Count
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.http import urlencode
from django.utils.translation import ngettext_lazy
from django.views.decorators.http import require_safe

from backups.choices import ACTIVE, Protection, RunState
from backups.models import BackupRun, Cluster
from backups.models.run import BackupRunQuerySet
from backups.services import attention, statistics
from backups.services.attention import BLOCKED, Attention, Finding, Need
from backups.services.clusters import protection
from backups.services.clusters.protection import Summary
from backups.services.result_cache import COUNTS_TIMEOUT, cached
from backups.services.statistics import ApiFigures, Outcomes, ResultGroup
from dashboard.accounts.access import Permission, may, may_somewhere
from dashboard.accounts.models import User

from . import charts
from .cluster_rows import NextStep, next_step
from .common import PageRequest, new_key
from .live import Shown, live_response, live_view, token

MOST_ACTIVE = 10


class Section(IntEnum):
    """A section of the page that is updated on its own; its number is its live key."""

    SUMMARY = 1
    ACTIVE = 2
    ATTENTION = 3
    OUTCOMES = 4
    API = 5

    @property
    def template(self) -> str:
        return f"backups/home_{self.name.lower()}.html"


@dataclass(frozen=True, slots=True)
class ActiveRow:
    """A run in progress, and whether the user may cancel it."""

    run: BackupRun
    may_run: bool


@dataclass(frozen=True, slots=True)
class ResultTotal:
    """One kind of result in the chart's legend.

    Attributes:
        result: the kind.
        count: how many runs the chart has of it.
        query: finds them in the history.
    """

    result: ResultGroup
    count: int
    query: str


class Home:
    """The data of the page for a user; each part is read on first access.

    Args:
        user: who looks.
        now: the moment that counts.
    """

    def __init__(self, user: User, now: datetime) -> None:
        self.user, self.now = user, now

    @cached_property
    def summary(self) -> Summary:
        watched = Cluster.objects.watched().visible_to(self.user)
        return cached("summary", watched, lambda: protection.summary(self.user), COUNTS_TIMEOUT)

    @property
    def unprotected(self) -> list[tuple[Protection, int]]:
        """The other states of protection with their number of clusters, worst first."""
        states = (Protection.NEVER, Protection.OVERDUE, Protection.DUE)
        return [(state, n) for state in states if (n := self.summary.by_state[state])]

    @property
    def protection_tone(self) -> str:
        """Colour token of the headline."""
        if self.summary.protected < self.summary.total:
            return "bad"
        return "ok" if self.summary.total else "muted"

    @cached_property
    def has_clusters(self) -> bool:
        return self.summary.total > 0 or Cluster.objects.visible_to(self.user).exists()

    @cached_property
    def _active_runs(self) -> BackupRunQuerySet:
        return BackupRun.objects.visible_to(self.user).filter(state__in=sorted(ACTIVE))

    @cached_property
    def active(self) -> list[ActiveRow]:
        """Runs in progress, longest first."""
        runs = self._active_runs.select_related("project").order_by("requested_at", "pk")
        return [
            ActiveRow(run, may(self.user, Permission.RUN, run.project))
            for run in runs[:MOST_ACTIVE]
        ]

    @cached_property
    def active_counts(self) -> Counter[str]:
        """How many runs are in each of the active states."""
        counted = self._active_runs.order_by().values_list("state").annotate(Count("pk"))
        return Counter(dict(counted))

    @property
    def active_count(self) -> int:
        return self.active_counts.total()

    @property
    def unknown_count(self) -> int:
        return self.active_counts[RunState.UNKNOWN]

    @cached_property
    def attention(self) -> Attention:
        return attention.needs_attention(self.user, self.now)

    @cached_property
    def rows(self) -> list[AttentionRow]:
        return [attention_row(finding, self.user) for finding in self.attention.findings]

    @cached_property
    def more_links(self) -> list[MoreLink]:
        return more_links(self.attention, self.rows)

    @property
    def may_back_up_all(self) -> bool:
        """Whether to offer a batch of all clusters that are not protected."""
        unprotected = sum(self.attention.counts[need] for need in UNPROTECTED)
        return unprotected > 1 and may_somewhere(self.user, Permission.RUN)

    @cached_property
    def outcomes(self) -> Outcomes:
        return statistics.outcomes_by_day(self.user, self.now)

    @property
    def results(self) -> list[ResultTotal]:
        """The chart's legend: each result, its number of runs, and a query that finds them."""
        since = self.outcomes.days[0].date
        states = {result: [("state", s) for s in result.states] for result in ResultGroup}
        return [
            ResultTotal(result, count, urlencode([*states[result], ("since", f"{since}T00:00Z")]))
            for result, count in self.outcomes.totals.items()
        ]

    @cached_property
    def chart(self) -> charts.StackedChart:
        return charts.stacked(self.outcomes.days)

    @cached_property
    def api(self) -> ApiFigures:
        return statistics.api_figures(self.user, self.now)

    def token(self, part: Section) -> str:
        """The live token of a part."""
        return token(self._facts(part))

    def _facts(self, part: Section) -> object:
        if part is Section.SUMMARY:
            counts = (self.active_count, self.unknown_count, self.attention.total)
            return (*counts, self.summary, self.attention.counts)
        if part is Section.ACTIVE:
            return [(row.run.pk, row.run.version) for row in self.active], self.active_count
        if part is Section.ATTENTION:
            connections = [(c.pk, c.version, c.sync_error) for c in self.attention.connections]
            rows = [row.facts() for row in self.rows]
            return connections, rows, self.attention.counts
        counted = self.outcomes if part is Section.OUTCOMES else self.api
        # its age is shown, and kept up to date by the page itself
        return replace(counted, made_at=counted.made_at.replace(second=0, microsecond=0))


def _context(shown: Home) -> dict[str, object]:
    return {
        "home": shown,
        "tokens": {part.name.lower(): f"{part}:{shown.token(part)}" for part in Section},
    }


@require_safe
def home(request: PageRequest) -> HttpResponse:
    """The page."""
    shown = Home(request.user, timezone.now())
    context = _context(shown) if shown.has_clusters else {"home": shown}
    return render(request, "backups/home.html", context)


@live_view
def home_live(request: PageRequest, shown: Shown) -> HttpResponse | None:
    """The parts of the page that have changed."""
    page = Home(request.user, timezone.now())
    if "empty" in request.GET and page.has_clusters:
        return HttpResponse(headers={"HX-Refresh": "true"})
    tokens = dict(shown)
    changed = [part for part in Section if part in tokens and tokens[part] != page.token(part)]
    if not changed:
        return None
    return live_response(request, _context(page), parts=[part.template for part in changed])


UNPROTECTED = (Need.OVERDUE_FAILING, Need.NEVER_FAILING, Need.OVERDUE, Need.NEVER)


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

    @property
    def protection(self) -> Protection:
        """The state of protection, where that is the reason."""
        never = self.finding.need in (Need.NEVER, Need.NEVER_FAILING)
        return Protection.NEVER if never else Protection.OVERDUE

    @property
    def unprotected(self) -> bool:
        return self.finding.need in UNPROTECTED

    @property
    def blocked(self) -> bool:
        """Whether somebody has to act before a backup can succeed."""
        return self.finding.cluster.readiness in BLOCKED

    def facts(self) -> object:
        """The facts that the row shows, for its live token."""
        cluster, run, bad = self.finding.cluster, self.run, self.finding.run
        facts = (cluster.pk, cluster.name, cluster.readiness, cluster.verified_at)
        runs = [(each.pk, each.version) for each in (run, bad) if each]
        return self.finding.need, self.step, self.may_run, facts, cluster.objective, runs


def attention_row(finding: Finding, user: User) -> AttentionRow:
    """Row of a finding with its next step."""
    cluster, bad = finding.cluster, finding.run
    latest = cluster.latest_run
    run = latest if latest and latest.is_active else bad
    may_run = may(user, Permission.RUN, cluster.project)
    step = next_step(cluster, bad, finding.protection, may_ask=may_run)
    return AttentionRow(finding, run, step, may_run)


@dataclass(frozen=True, slots=True)
class MoreLink:
    """A link to rows that are not shown."""

    text: str
    url: str


_MORE_CONNECTIONS = ngettext_lazy("%d connection", "%d connections")
_MORE_UNPROTECTED = ngettext_lazy("%d not protected", "%d not protected")
_MORE_FAILING = ngettext_lazy("%d unsuccessful", "%d unsuccessful")
_MORE_BLOCKED = ngettext_lazy("%d due and not ready", "%d due and not ready")


def more_links(found: Attention, rows: Sequence[AttentionRow]) -> list[MoreLink]:
    """Links to the rest of what needs attention, on pages that can filter for it."""
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
        MoreLink(str(text % count), reverse(f"backups:{page}") + query)
        for count, text, page, query in groups
        if count > 0
    ]
