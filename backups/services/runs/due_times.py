"""Repair due times after the wall clock was set back: none lies further ahead than its interval.

Due times and leases are stored as wall-clock times, so that people and the database can read them.
If the clock is set back by hours, each of them lies that far in the future, and nothing would be
followed, checked or synchronised until then. So sweeps look for times that are later than their
writer can have meant (`ticker.ClockWatch` says when), and make those rows due now. A clock that is
set ahead makes everything due at once, which does no harm.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Exists, F, OuterRef, QuerySet
from django.utils import timezone

from backups.choices import RunState
from backups.models import ApiCall, BackupRun, Cluster, Connection, FileCheck
from backups.services.clusters import checks
from backups.services.connections import sync
from backups.services.jitter import SPREAD

from . import files, following, posts

logger = logging.getLogger(__name__)

SLACK = 5.0  # seconds; tolerated difference between the clocks of several machines


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of due times.

    Attributes:
        name: its name in the log.
        rows: rows of the table that have such a time.
        column: column with the due time or the end of the lease.
        limit: maximum number of seconds that it can lie ahead of now.
        changes: other columns to write.
    """

    name: str
    rows: QuerySet[Any]
    column: str
    limit: float
    changes: dict[str, Any]


def pull_in() -> int:
    """Make rows due that lie further ahead than their interval allows.

    Returns:
        The number of such rows.
    """
    return sum(_pull_in(column) for column in _columns())


def _pull_in(column: _Column) -> int:
    now = timezone.now()
    beyond = {f"{column.column}__gt": now + timedelta(seconds=column.limit + SLACK)}
    late = column.rows.filter(**beyond)
    if not late.exists():  # an UPDATE without rows would still wait for SQLite's lock
        return 0
    found: int = late.update(**{column.column: now, **column.changes})
    logger.warning(
        "the clock was set back: %d %s were due in more than %.0f s, and are due now",
        found,
        column.name,
        column.limit,
    )
    return found


def _columns() -> list[_Column]:
    changed = {"version": F("version") + 1}
    queued = BackupRun.objects.filter(state=RunState.QUEUED)
    calls = ApiCall.objects.filter(run=OuterRef("pk"), attempt=OuterRef("attempt"))
    asked = Exists(calls.filter(retry_after__isnull=False))
    check = longest_check_pause()
    return [
        _Column(
            "readings of records",
            BackupRun.objects.filter(state__in=following.FOLLOWED),
            "next_check_at",
            max(following.LONGEST_PAUSE, settings.BACKUP_REDISPATCH_AFTER),
            {},
        ),
        _Column("retries", queued.filter(~asked), "not_before", longest_retry_pause(), changed),
        _Column(
            "retries that the cloud had put off",
            queued.filter(asked),
            "not_before",
            settings.BACKUP_RETRY_AFTER_CAP + longest_retry_pause(),
            changed,
        ),
        _Column("checks", Cluster.objects.watched(), "check_due_at", check, {}),
        _Column(
            "checks under way",
            Cluster.objects.filter(check_leased_until__isnull=False),
            "check_leased_until",
            max(checks.MESSAGE_LIFETIME, checks.longest_check()),
            {"check_leased_until": None, "check_leased_by": "", "check_due_at": timezone.now()},
        ),
        _Column(
            "checks of files",
            FileCheck.objects.filter(due_at__isnull=False),
            "due_at",
            max(settings.FILE_CHECK_DELAY, files.LEASE, *files.PAUSES),
            {},
        ),
        _Column(
            "synchronisations",
            Connection.objects.connected(),
            "next_sync_at",
            max(
                settings.SYNC_INTERVAL * 1.1,
                sync.lease_time().total_seconds(),
                sync.MESSAGE_LIFETIME.total_seconds(),
            ),
            {},
        ),
    ]


def longest_check_pause() -> float:
    """Maximum number of seconds until the next check of a cluster."""
    pauses = (checks.MESSAGE_LIFETIME, checks.OUT_OF_REACH_PAUSE, checks.longest_check())
    longest: float = max(settings.CHECK_INTERVAL * SPREAD, *pauses)
    return longest


def longest_retry_pause() -> float:
    """Maximum number of seconds until a run's next attempt, if the cloud asked for no delay."""
    backoff = settings.BACKUP_RETRY_BASE * 2 ** max(settings.BACKUP_MAX_ATTEMPTS - 1, 0)
    longest: float = max(
        min(backoff, settings.BACKUP_RETRY_CAP) * SPREAD,
        settings.BACKUP_CONFLICT_RETRY * SPREAD,
        settings.BACKUP_REDISPATCH_AFTER,
        posts.longest_late().total_seconds(),
    )
    return longest
