"""The home page: protection, runs in progress, what needs attention, outcomes and API figures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum

from django.db.models import Count
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from backups.choices import ACTIVE, Protection, RunState
from backups.models import BackupRun, Cluster
from backups.models.run import BackupRunQuerySet
from backups.services import attention, statistics
from backups.services.attention import Attention
from backups.services.clusters import protection
from backups.services.clusters.protection import Summary
from backups.services.result_cache import COUNTS_TIMEOUT, cached
from backups.services.statistics import ApiFigures, Outcomes, ResultGroup
from dashboard.accounts.access import Permission, may
from dashboard.accounts.models import User

from . import charts
from .attention import Board, board_of
from .common import PageRequest
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
    def board(self) -> Board:
        """What needs attention, each cause with its worst clusters."""
        groups = attention.with_findings(self.attention.counts, self.now)
        return board_of(self.attention, groups, self.user)

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
            return (*counts, self.summary, self.attention.handled_count)
        if part is Section.ACTIVE:
            return [(row.run.pk, row.run.version) for row in self.active], self.active_count
        if part is Section.ATTENTION:
            return self.board.facts()
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
