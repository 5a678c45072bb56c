"""Figures: runs by day and outcome, the API's latency and errors, and one cluster's history.

Figures over many runs are cached for some seconds, for all users who may see the same; each result
says when it was computed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from statistics import median
from typing import Any

from django.db.models import Count, DateField, Func, Q, TextChoices
from django.db.models import QuerySet as Rows
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from backups.choices import RunState
from backups.models import ApiCall, BackupRun, Cluster
from backups.rules.causes import BAD_ENDS
from dashboard.accounts.access import visible_q
from dashboard.accounts.models import User

from .result_cache import FIGURES_TIMEOUT, cached

OUTCOME_DAYS = 30
API_WINDOW = timedelta(hours=24)
# Only this many of the newest calls are counted, to limit the time it takes.
MOST_CALLS = 50_000


class ResultGroup(TextChoices):
    """Groups of run states in the chart."""

    VERIFIED = "verified", _("Verified")
    FAILED = "failed", _("Backup failed")
    REJECTED = "rejected", _("Rejected")
    UNPROVEN = "unproven", _("Unknown, not verified or not started")

    @property
    def states(self) -> list[RunState]:
        """The states in the group. Cancelled and active runs are in no group."""
        return [state for state, result in _RESULTS.items() if result is self]


_RESULTS: dict[RunState, ResultGroup] = {
    RunState.SUCCEEDED: ResultGroup.VERIFIED,
    RunState.FAILED: ResultGroup.FAILED,
    RunState.REJECTED: ResultGroup.REJECTED,
    RunState.UNKNOWN: ResultGroup.UNPROVEN,
    RunState.UNVERIFIED: ResultGroup.UNPROVEN,
    RunState.NOT_STARTED: ResultGroup.UNPROVEN,
}


class UtcDay(Func):
    """The UTC day of a timestamp.

    On SQLite, Django's TruncDate calls Python for each row; the stored text starts with the UTC
    day.
    """

    output_field = DateField()
    template = "(%(expressions)s AT TIME ZONE 'UTC')::date"

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(
            compiler, connection, template="substr(%(expressions)s, 1, 10)", **context
        )


@dataclass(frozen=True, slots=True)
class Day:
    """The runs that were requested on a UTC day, by result group."""

    date: date
    counts: dict[ResultGroup, int]

    @property
    def next_day(self) -> datetime:
        """The first moment of the next day."""
        return start_of_day(self.date) + timedelta(days=1)

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Runs by day and result group.

    Attributes:
        days: all days, the oldest first; the last one is today.
        made_at: when they were counted.
    """

    days: list[Day]
    made_at: datetime

    @property
    def totals(self) -> dict[ResultGroup, int]:
        return {result: sum(day.counts[result] for day in self.days) for result in ResultGroup}

    @property
    def total(self) -> int:
        return sum(day.total for day in self.days)


@dataclass(frozen=True, slots=True)
class ApiFigures:
    """Latency and errors of the cloud's API.

    Attributes:
        calls: calls that ended.
        median_ms, p95_ms: response time in milliseconds (nearest rank); None without responses.
        rejected: responses with a 4xx status.
        failed: responses with a 5xx status.
        unanswered: calls that ended without a response.
        since: the start of the period.
        limited: the period is shorter than 24 hours, because it had more than MOST_CALLS calls.
        made_at: when they were counted.
    """

    calls: int
    median_ms: int | None
    p95_ms: int | None
    rejected: int
    failed: int
    unanswered: int
    since: datetime
    limited: bool
    made_at: datetime

    @property
    def errors(self) -> int:
        return self.rejected + self.failed + self.unanswered

    @property
    def error_percent(self) -> float:
        """Errors in percent of all calls; 0 without calls."""
        return 100 * self.errors / self.calls if self.calls else 0.0


def start_of_day(day: date) -> datetime:
    """The first moment of a UTC day."""
    return datetime.combine(day, time.min, tzinfo=UTC)


def last_days(count: int, now: datetime) -> list[date]:
    """The last UTC days up to today, the oldest first."""
    today = now.astimezone(UTC).date()
    return [today - timedelta(days=back) for back in reversed(range(count))]


def outcomes_by_day(user: User, now: datetime | None = None) -> Outcomes:
    """Visible runs of the last 30 UTC days by day and result group; at most one query."""
    now = now or timezone.now()
    runs = BackupRun.objects.visible_to(user)
    days = last_days(OUTCOME_DAYS, now)
    today = days[-1].isoformat()
    return cached("outcomes", runs, lambda: _outcomes(runs, days, now), FIGURES_TIMEOUT, today)


def _outcomes(runs: Rows[BackupRun], days: list[date], now: datetime) -> Outcomes:
    # One branch for each state, so that an index-only scan answers it. With several states in one
    # condition both databases read the table.
    first, *others = (
        runs.filter(requested_at__gte=start_of_day(days[0]), state=state)
        .order_by()
        .values_list("state", UtcDay("requested_at"))
        .annotate(count=Count("pk"))
        for state in sorted(_RESULTS)
    )
    found: dict[date, Counter[ResultGroup]] = {day: Counter() for day in days}
    for state, day, count in first.union(*others, all=True):
        # a request in the future (the clock was set back) is on no day of the chart
        if day in found:
            found[day][_RESULTS[RunState(state)]] += count
    return Outcomes(
        [
            Day(day, {result: counts[result] for result in ResultGroup})
            for day, counts in found.items()
        ],
        now,
    )


def api_figures(user: User, now: datetime | None = None) -> ApiFigures:
    """API latency and errors of the last 24 hours, for visible runs; at most two queries."""
    now = now or timezone.now()
    calls = ApiCall.objects.filter(visible_q(user, "run__project"))
    return cached("api", calls, lambda: _figures(calls, now), FIGURES_TIMEOUT)


def _figures(calls: Rows[ApiCall], now: datetime) -> ApiFigures:
    since = now - API_WINDOW
    # shorten the window where it has too many calls, by the index over the time
    window = ApiCall.objects.filter(started_at__gte=since, started_at__lte=now)
    times_back = window.order_by("-started_at").values_list("started_at", flat=True)
    last = list(times_back[MOST_CALLS - 1 : MOST_CALLS + 1])
    limited = len(last) > 1
    since = last[0] if limited else since
    # the database groups equal durations: thousands of calls become a few hundred rows
    rows = (
        calls.filter(started_at__gte=since, started_at__lte=now, finished_at__isnull=False)
        .order_by()
        .values_list("duration_ms")
        .annotate(
            calls=Count("pk"),
            answered=Count("pk", filter=Q(status__isnull=False)),
            rejected=Count("pk", filter=Q(status__gte=400, status__lt=500)),
            failed=Count("pk", filter=Q(status__gte=500)),
        )
    )
    times: Counter[int] = Counter()
    total = rejected = failed = unanswered = 0
    for duration, count, answered, count_rejected, count_failed in rows:
        if duration is not None:
            times[duration] += answered
        total += count
        rejected += count_rejected
        failed += count_failed
        unanswered += count - answered
    return ApiFigures(
        calls=total,
        median_ms=percentile(times, 50),
        p95_ms=percentile(times, 95),
        rejected=rejected,
        failed=failed,
        unanswered=unanswered,
        since=since,
        limited=limited,
        made_at=now,
    )


def percentile(times: Counter[int], percent: int) -> int | None:
    """The smallest value that at least `percent` of 100 values do not exceed (nearest rank).

    Args:
        times: number of occurrences by value.
        percent: 1 to 100.

    Returns:
        The value; None where there are no values.
    """
    wanted = -(-sum(times.values()) * percent // 100)
    seen = 0
    for value in sorted(times):
        seen += times[value]
        if times[value] and seen >= wanted:
            return value
    return None


# --- One cluster ---------------------------------------------------------------------------------

DAYS = 90
# one backup every ten minutes is 12,960 runs in 90 days; of more the newest are counted
MOST_RUNS = 15_000


class Mark(StrEnum):
    """The result of a day: a verified backup outweighs a failure on the same day."""

    VERIFIED = "verified"
    FAILED = "failed"
    NONE = "none"


@dataclass(slots=True)
class ClusterDay:
    """The runs of a cluster that were requested on a UTC day.

    Attributes:
        verified: verified backups.
        bad: runs that ended otherwise, or whose outcome is unknown.
    """

    date: date
    verified: int = 0
    bad: int = 0

    @property
    def mark(self) -> Mark:
        if self.verified:
            return Mark.VERIFIED
        return Mark.FAILED if self.bad else Mark.NONE


@dataclass(frozen=True, slots=True)
class ClusterHistory:
    """A cluster's last 90 days.

    Attributes:
        days: all days, the oldest first; the last one is today.
        verified_runs: number of verified backups.
        median, longest: time from request to verification; None without verified backups.
        limited: there were more than MOST_RUNS runs; only the newest were counted.
    """

    days: list[ClusterDay]
    verified_runs: int
    median: timedelta | None
    longest: timedelta | None
    limited: bool

    def count(self, mark: Mark) -> int:
        """The number of days with a mark."""
        return sum(1 for day in self.days if day.mark is mark)


def cluster_history(cluster: Cluster, now: datetime) -> ClusterHistory:
    """A cluster's last 90 UTC days, today included; one query."""
    days = {day: ClusterDay(day) for day in last_days(DAYS, now)}
    runs = list(
        cluster.runs.filter(
            requested_at__gte=start_of_day(min(days)),
            state__in=[RunState.SUCCEEDED, *BAD_ENDS],
        )
        .order_by("-requested_at", "-id")
        .values_list("requested_at", "finished_at", "state")[: MOST_RUNS + 1]
    )
    durations = []
    for requested_at, finished_at, state in runs[:MOST_RUNS]:
        day = days.get(requested_at.astimezone(UTC).date())
        if day is None:  # requested in the future: the clock was set back
            continue
        if state == RunState.SUCCEEDED:
            day.verified += 1
            if finished_at:
                durations.append((finished_at - requested_at).total_seconds())
        else:
            day.bad += 1
    return ClusterHistory(
        days=list(days.values()),
        verified_runs=sum(day.verified for day in days.values()),
        median=timedelta(seconds=median(durations)) if durations else None,
        longest=timedelta(seconds=max(durations)) if durations else None,
        limited=len(runs) > MOST_RUNS,
    )
