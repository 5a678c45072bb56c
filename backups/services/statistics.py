"""Numbers about many runs and calls: outcomes by day, the API's latency and errors.

What was made from many rows is kept for a minute, for all users that may see the same; each result
says when it was made.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db.models import Count, DateField, Func, Q, TextChoices
from django.db.models import QuerySet as Rows
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from backups.choices import RunState
from backups.models import ApiCall, BackupRun
from dashboard.accounts.access import visible_q
from dashboard.accounts.models import User

from .result_cache import kept, key_for

OUTCOME_DAYS = 30
API_WINDOW = timedelta(hours=24)
KEPT = 60  # seconds that a count of many rows may be old; pages show its age
# Of more calls than these only the newest are counted: the time it takes has a limit.
MOST_CALLS = 50_000


class Result(TextChoices):
    """How a request for a backup came out, as the chart groups it."""

    VERIFIED = "verified", _("Verified")
    FAILED = "failed", _("Backup failed")
    REJECTED = "rejected", _("Rejected")
    UNPROVEN = "unproven", _("Unknown, not verified or not started")

    @property
    def states(self) -> list[RunState]:
        """The states in the group; cancelled runs and those in progress are in none."""
        return [state for state, result in _RESULTS.items() if result is self]


_RESULTS: dict[RunState, Result] = {
    RunState.SUCCEEDED: Result.VERIFIED,
    RunState.FAILED: Result.FAILED,
    RunState.REJECTED: Result.REJECTED,
    RunState.UNKNOWN: Result.UNPROVEN,
    RunState.UNVERIFIED: Result.UNPROVEN,
    RunState.NOT_STARTED: Result.UNPROVEN,
}


class UtcDay(Func):
    """The UTC day of a moment.

    On SQLite, Django's TruncDate calls Python for each row. The text that Django stores is in UTC
    and starts with the day.
    """

    output_field = DateField()
    template = "(%(expressions)s AT TIME ZONE 'UTC')::date"

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(
            compiler, connection, template="substr(%(expressions)s, 1, 10)", **context
        )


@dataclass(frozen=True, slots=True)
class Day:
    """One UTC day's runs, by how they came out; the day is the one on which they were requested."""

    date: date
    counts: dict[Result, int]

    @property
    def next_day(self) -> datetime:
        """The first moment that no longer belongs to it."""
        return start_of_day(self.date) + timedelta(days=1)

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Runs by day and result, the oldest day first, every day present.

    Attributes:
        days: as many as were asked for; the last one is today.
        made_at: when they were counted.
    """

    days: list[Day]
    made_at: datetime

    @property
    def totals(self) -> dict[Result, int]:
        return {result: sum(day.counts[result] for day in self.days) for result in Result}

    @property
    def total(self) -> int:
        return sum(day.total for day in self.days)


@dataclass(frozen=True, slots=True)
class ApiFigures:
    """How the cloud's API answered.

    Attributes:
        calls: how many calls ended.
        median_ms, p95_ms: how long an answer took, in milliseconds (nearest rank); None where there
            was none.
        refused: answered with a 4xx.
        failed: answered with a 5xx.
        unanswered: ended without an answer (no connection, or it broke).
        since: from when on calls were counted.
        limited: that is later than 24 hours ago, because there were more than MOST_CALLS since.
        made_at: when they were counted.
    """

    calls: int
    median_ms: int | None
    p95_ms: int | None
    refused: int
    failed: int
    unanswered: int
    since: datetime
    limited: bool
    made_at: datetime

    @property
    def errors(self) -> int:
        return self.refused + self.failed + self.unanswered

    @property
    def error_percent(self) -> float:
        """Errors in a hundred calls; 0 where there were no calls."""
        return 100 * self.errors / self.calls if self.calls else 0.0


def start_of_day(day: date) -> datetime:
    """The first moment of a UTC day."""
    return datetime.combine(day, time.min, tzinfo=UTC)


def last_days(count: int, now: datetime) -> list[date]:
    """The last UTC days, the oldest first; the last one is today."""
    today = now.astimezone(UTC).date()
    return [today - timedelta(days=back) for back in reversed(range(count))]


def outcomes_by_day(user: User, now: datetime | None = None) -> Outcomes:
    """Runs that a user may see by day and result, for the last 30 UTC days; one query at most."""
    now = now or timezone.now()
    runs = BackupRun.objects.visible_to(user)
    days = last_days(OUTCOME_DAYS, now)
    key = key_for("outcomes", runs, days[-1].isoformat())
    return kept(key, KEPT, lambda: _outcomes(runs, days, now))


def _outcomes(runs: Rows[BackupRun], days: list[date], now: datetime) -> Outcomes:
    # One branch a state: each is a range of an index that holds all it needs. Asked for several
    # states at once, both databases read the rows themselves.
    first, *others = (
        runs.filter(requested_at__gte=start_of_day(days[0]), state=state)
        .order_by()
        .values_list("state", UtcDay("requested_at"))
        .annotate(count=Count("pk"))
        for state in sorted(_RESULTS)
    )
    found: dict[date, Counter[Result]] = {day: Counter() for day in days}
    for state, day, count in first.union(*others, all=True):
        # A request of the future (a clock that was set back) belongs to no day of the chart.
        if day in found:
            found[day][_RESULTS[RunState(state)]] += count
    return Outcomes(
        [Day(day, {result: counts[result] for result in Result}) for day, counts in found.items()],
        now,
    )


def api_figures(user: User, now: datetime | None = None) -> ApiFigures:
    """Latency and errors of the API over the last 24 hours, for calls on behalf of runs that a
    user may see; two queries at most."""
    now = now or timezone.now()
    calls = ApiCall.objects.filter(visible_q(user, "run__project"))
    return kept(key_for("api", calls), KEPT, lambda: _figures(calls, now))


def _figures(calls: Rows[ApiCall], now: datetime) -> ApiFigures:
    since = now - API_WINDOW
    # Where the window holds too many, it is made shorter: by the index over the time alone.
    window = ApiCall.objects.filter(started_at__gte=since, started_at__lte=now)
    times_back = window.order_by("-started_at").values_list("started_at", flat=True)
    last = list(times_back[MOST_CALLS - 1 : MOST_CALLS + 1])
    limited = len(last) > 1
    since = last[0] if limited else since
    # Equal durations are counted by the database: thousands of calls become a few hundred rows.
    rows = (
        calls.filter(started_at__gte=since, started_at__lte=now, finished_at__isnull=False)
        .order_by()
        .values_list("duration_ms")
        .annotate(
            calls=Count("pk"),
            answered=Count("pk", filter=Q(status__isnull=False)),
            refused=Count("pk", filter=Q(status__gte=400, status__lt=500)),
            failed=Count("pk", filter=Q(status__gte=500)),
        )
    )
    times: Counter[int] = Counter()
    total = refused = failed = unanswered = 0
    for duration, count, answered, count_refused, count_failed in rows:
        if duration is not None:
            times[duration] += answered
        total += count
        refused += count_refused
        failed += count_failed
        unanswered += count - answered
    return ApiFigures(
        calls=total,
        median_ms=percentile(times, 50),
        p95_ms=percentile(times, 95),
        refused=refused,
        failed=failed,
        unanswered=unanswered,
        since=since,
        limited=limited,
        made_at=now,
    )


def percentile(times: Counter[int], percent: int) -> int | None:
    """The smallest value that at least `percent` of 100 values do not exceed (nearest rank).

    Args:
        times: how often each value occurs.
        percent: 1 to 100.

    Returns:
        A value that occurs; None where there is none at all.
    """
    wanted = -(-sum(times.values()) * percent // 100)
    seen = 0
    for value in sorted(times):
        seen += times[value]
        if times[value] and seen >= wanted:
            return value
    return None
