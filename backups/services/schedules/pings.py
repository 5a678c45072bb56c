"""Dead man's pings: when a firing's batch has ended, its schedule's URL is requested."""

from __future__ import annotations

import logging

from django.db import transaction
from django.db.models import Q

from backups.choices import FiringResult, ScheduledWork
from backups.models import Batch, Firing
from backups.services.batches.progress import progress_of
from backups.services.notifications.queueing import queue_ping
from dashboard.encryption import Undecipherable, decrypt

logger = logging.getLogger(__name__)

MOST = 50  # firings of a tick


def queue_due() -> int:
    """Queue the pings of firings that have ended; called once a second by who ticks.

    Returns:
        Their number.
    """
    ended = Firing.objects.filter(
        Q(batch=None) | Q(batch__finished_at__isnull=False), awaits_ping=True
    )
    rows = list(ended.select_related("schedule", "batch").order_by("pk")[:MOST])
    for firing in rows:
        with transaction.atomic():
            if Firing.objects.filter(pk=firing.pk, awaits_ping=True).update(awaits_ping=False):
                _queue(firing)
    return len(rows)


def _queue(firing: Firing) -> None:
    try:
        url = decrypt(firing.schedule.ping_sealed).reveal() if firing.schedule.ping_sealed else ""
    except (Undecipherable, OSError) as error:
        logger.warning("schedule %d: its ping is not sent: %s", firing.schedule_id, error)
        return
    if url:  # else it was removed meanwhile
        problem = problem_of(firing)
        queue_ping(url, key=f"firing-{firing.pk}", failed=bool(problem), text=problem)


def problem_of(firing: Firing) -> str:
    """Say in English why a firing did not end well; "" if all its clusters were verified.

    Clusters that were skipped count as not verified: a ping that says all is well must not hide
    that a cluster has not been backed up for weeks.
    """
    batch: Batch | None = getattr(firing, "batch", None)
    sent = firing.result in (FiringResult.FIRED, FiringResult.CAUGHT_UP)
    if firing.schedule.work == ScheduledWork.REPORT and sent:
        return ""
    if batch is None:
        return firing.note or "It has no batch."
    progress = progress_of(batch, None)
    left = progress.total + sum(progress.skipped.values()) - progress.verified
    if not left:
        return ""
    return f"{left} of {progress.total + sum(progress.skipped.values())} clusters not verified."
