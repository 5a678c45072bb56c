"""The sweeper: once a second, recover what the broker, a worker or the network has lost."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Q
from django.utils import timezone

from backups import heartbeats, uptime
from backups.choices import RunState
from backups.css_api.errors import NotSent, TransportKind
from backups.models import ApiCall, BackupRun
from backups.services.clusters.checks import dispatch_checks
from backups.services.connections.sync import connect_new_entries, due_for_sync
from backups.services.dispatch import (
    dispatch_files,
    dispatch_follow,
    dispatch_send,
    dispatch_sync,
)
from dashboard.db.leases import expired
from dashboard.db.prepared import Param, Prepared

from .call_log import stored_result
from .due_times import pull_in
from .files import due_for_files
from .following import due_for_check
from .lanes import is_sending_here
from .requests import IN_BATCHES
from .sending import apply_result
from .transitions import transition

logger = logging.getLogger(__name__)

BATCH = 500
# Cheap looks, once a second, that decide whether the costly queries are worth making.
_SENDING = Prepared(
    lambda: BackupRun.objects.filter(state=RunState.SENDING).order_by().values_list("pk")[:1]
)
_WAITING = Prepared(
    lambda: (
        BackupRun.objects.filter(state=RunState.QUEUED, not_before__lte=Param("now"))
        .order_by()
        .values_list("pk")[:1]
    )
)
_CLAIMED = Prepared(
    lambda: (
        BackupRun.objects.filter(state=RunState.SENDING, claimed_by=Param("worker"))
        .order_by()
        .values_list("pk")
    )
)


def sweep(*, clocks: bool = True) -> None:
    """Dispatch work that is due and take over runs of dead workers.

    Any number of sweeps can run at once, because each step is a conditional UPDATE.

    Args:
        clocks: also repair due times, because a wall clock may have been set back.
    """
    take_over_lost_claims()
    if clocks:
        pull_in()
    take_over_dead_claims()
    dispatch_send(due_for_sending(BATCH))
    dispatch_follow(due_for_check(BATCH))
    dispatch_checks()
    connect_new_entries()
    dispatch_sync(due_for_sync(BATCH))
    dispatch_files(due_for_files(BATCH))


def due_for_sending(limit: int) -> list[int]:
    """Queued runs that are due and have, as far as is known, no message in the broker.

    A long queue of batch runs must not cause second messages. While the queue moves, messages are
    consumed in the order in which they were published, so the message of a batch run counts as
    lost only if one that was published later has been consumed, or none has been for a while.

    Args:
        limit: maximum number of runs.

    Returns:
        Their primary keys.
    """
    now, worth = timezone.now(), timedelta(seconds=settings.BACKUP_REDISPATCH_AFTER)
    if not _WAITING.fetch(now=now):
        return []
    lost = expired("dispatched_at", worth)
    consumed = BackupRun.objects.filter(
        state__in=[RunState.SENDING, RunState.ACCEPTED, RunState.UNKNOWN],
        trigger__in=IN_BATCHES,
        sent_at__gte=now - worth / 2,  # so that both waits together do not double the first
    ).aggregate(latest=Max("dispatched_at"))["latest"]
    if consumed is not None:
        lost &= ~Q(trigger__in=IN_BATCHES) | Q(dispatched_at__lt=consumed)
    due = BackupRun.objects.filter(state=RunState.QUEUED, not_before__lte=now).filter(
        Q(dispatched_at__isnull=True) | lost
    )
    return list(due.order_by("not_before").values_list("pk", flat=True)[:limit])


def take_over_dead_claims() -> None:
    """Settle runs in SENDING whose worker has not been seen for HEARTBEAT_STALE_AFTER seconds."""
    if not heartbeats.may_judge_silence() or not _SENDING.fetch():
        return
    # A new worker may have claimed or sent the run before its first heartbeat.
    old = Q(step_uptime__lt=uptime.stamp() - settings.HEARTBEAT_STALE_AFTER) | Q(step_uptime=None)
    dead = BackupRun.objects.filter(
        old, ~heartbeats.alive("claimed_by"), state=RunState.SENDING
    ).order_by("claimed_at")
    for run in dead[:BATCH]:
        take_over(run, why="The worker is gone")


def take_over_lost_claims() -> None:
    """Settle runs that this process has claimed but that none of its threads is sending.

    A claim outlives its task if the database is unavailable for longer than results are retried,
    or if the connection breaks during the claim's COMMIT, which can succeed although the worker
    sees an error. The worker's heartbeat would keep such a claim forever.
    """
    # Read the rows first: a run is marked as in hand before its claim becomes visible.
    claimed = _CLAIMED.fetch(worker=heartbeats.process_name())
    lost = [pk for (pk,) in claimed if not is_sending_here(pk)]
    mine = BackupRun.objects.filter(state=RunState.SENDING, claimed_by=heartbeats.process_name())
    for run in mine.filter(pk__in=lost) if lost else ():
        if not is_sending_here(run.pk):
            take_over(run, why="The worker lost hold of it")


def take_over(run: BackupRun, *, why: str) -> bool:
    """Move a run out of SENDING according to what its dead attempt provably did.

    Args:
        run: a run in SENDING whose worker will not move it any more.
        why: start of the sentence in the timeline.

    Returns:
        True if this call moved it.
    """
    actor = heartbeats.process_name()
    if run.sent_at is None:
        return transition(
            run,
            RunState.QUEUED,
            actor=actor,
            note=f"{why}; nothing had been sent, so it is queued again",
            # A worker that only seemed dead may have sent the request since the run was read.
            only_if=Q(sent_at=None),
            not_before=timezone.now(),
            dispatched_at=None,
        )
    call = ApiCall.objects.filter(run=run, attempt=run.attempt, purpose="collect").last()
    if call is not None and call.finished_at is not None:
        if (answer := stored_result(call)) is not None:
            return apply_result(run, answer, actor=actor, answered_at=call.finished_at)
        if not call.sent:
            error = NotSent(TransportKind(call.transport_error), call.message)
            return apply_result(run, error, actor=actor, answered_at=call.finished_at)
    ended = call.finished_at if call is not None else None
    with transaction.atomic():
        moved = transition(
            run,
            RunState.UNKNOWN,
            actor=actor,
            note=f"{why} while the request was under way; the cloud's records decide",
            outcome="unanswered",
            next_check_at=timezone.now(),
            checks=0,
        )
        if moved and ended is not None:
            run.posts.filter(attempt=run.attempt, answered_at=None).update(
                answered_at=ended, step_uptime=uptime.stamp()
            )
        return moved


def release_claims() -> int:
    """Move every run that this process has claimed out of SENDING; called when it must stop.

    Returns:
        The number of moved runs.
    """
    mine = BackupRun.objects.filter(state=RunState.SENDING, claimed_by=heartbeats.process_name())
    return sum(take_over(run, why="The worker was told to stop") for run in mine)
