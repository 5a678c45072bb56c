"""One cluster's last 90 days: what each day brought, and how long its backups took."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from backups.choices import RunState
from backups.models import Cluster
from backups.services.attention import BAD_ENDS
from backups.services.statistics import last_days, start_of_day

DAYS = 90
# A backup every ten minutes makes 12,960 runs in 90 days; of more the newest count.
MOST_RUNS = 15_000


class Mark(StrEnum):
    """What a day brought: a verified backup counts more than a bad end on the same day."""

    VERIFIED = "verified"
    FAILED = "failed"
    NONE = "none"


@dataclass(slots=True)
class ClusterDay:
    """One UTC day of a cluster; a run belongs to the day on which it was requested.

    Attributes:
        verified: runs that ended as verified backups.
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
        days: the oldest first, every day present; the last one is today.
        verified_runs: how many backups were verified.
        median, longest: from request to verification; None where none was verified.
        limited: there were more than MOST_RUNS runs; the newest were counted.
    """

    days: list[ClusterDay]
    verified_runs: int
    median: timedelta | None
    longest: timedelta | None
    limited: bool

    def count(self, mark: Mark) -> int:
        """How many days have a mark."""
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
        if day is None:  # requested in the future, by a clock that was set back
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
        median=timedelta(seconds=statistics.median(durations)) if durations else None,
        longest=timedelta(seconds=max(durations)) if durations else None,
        limited=len(runs) > MOST_RUNS,
    )
