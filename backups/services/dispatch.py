"""Handing runs to the broker. What cannot be handed over is picked up by the sweeper."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from enum import IntEnum

from celery import current_app
from django.conf import settings
from django.db.models import F
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError

from backups.choices import RunState
from backups.models import BackupRun
from backups.work import refusal

logger = logging.getLogger(__name__)

TOGETHER = 25  # runs whose records one task reads
SENDS = 5  # runs that one task sends, at most
MANY = 10  # messages into which runs are divided before one carries several


class Priority(IntEnum):
    """What goes first; each has a list of its own in Redis."""

    CLICK = 0
    FOLLOW = 3
    BATCH = 6
    CHECK = 9


def _publish(
    task: str, *args: int | list[int], priority: Priority, expires: float | None = None
) -> None:
    # by its name: tasks call services, so no service imports them
    current_app.send_task(
        f"backups.tasks.{task}", args, expires=expires, priority=priority.value, ignore_result=True
    )


def dispatch_send(run_ids: Iterable[int], *, priority: Priority = Priority.BATCH) -> None:
    """Queue runs for sending; called after their rows are committed.

    One run a message; of many, a few, which a thread sends one after another: a message costs a
    worker as much as a request. A broker that is away costs one short try: the runs stay queued,
    say so, and are dispatched by the sweeper as soon as the broker is back.

    Args:
        run_ids: primary keys of queued runs.
        priority: whether somebody waits for them.
    """
    ids = list(run_ids)
    # Written before publishing: a worker may be faster than this process.
    BackupRun.objects.filter(pk__in=ids, state=RunState.QUEUED).update(dispatched_at=timezone.now())
    size = min(max(len(ids) // MANY, 1), SENDS) if priority is Priority.BATCH else 1
    for start in range(0, len(ids), size):
        try:
            if size == 1:
                _publish("send_run", ids[start], priority=priority)
            else:
                _publish("send_runs", ids[start : start + size], priority=priority)
        except (BrokerError, OSError) as error:
            words = refusal(error)
            note = words or "The queue is unreachable"
            logger.warning("broker: %s; %d runs wait", words or error, len(ids) - start)
            BackupRun.objects.filter(pk__in=ids[start:], state=RunState.QUEUED).update(
                dispatched_at=None,
                note=f"{note}. The run is stored and is sent when it is back.",
                version=F("version") + 1,
            )
            return


def dispatch_follow(run_ids: Iterable[int]) -> None:
    """Queue ``tasks.follow_runs`` for runs whose records are to be read now, a few each.

    The tasks expire when the sweeper asks again, so a cloud that hangs fills no queue.

    Args:
        run_ids: primary keys of accepted or unknown runs.
    """
    ids, worth = list(run_ids), settings.BACKUP_REDISPATCH_AFTER
    for start in range(0, len(ids), TOGETHER):
        some = ids[start : start + TOGETHER]
        try:
            _publish("follow_runs", some, priority=Priority.FOLLOW, expires=worth)
        except (BrokerError, OSError) as error:
            logger.warning("broker unreachable, the sweeper asks again: %s", error)
            return


def dispatch_sync(connection_ids: Iterable[int]) -> None:
    """Queue ``tasks.sync_connection`` for connections whose sync is leased or asked for.

    Args:
        connection_ids: primary keys.
    """
    for connection_id in connection_ids:
        try:
            _publish("sync_connection", connection_id, priority=Priority.CHECK, expires=60)
        except (BrokerError, OSError) as error:
            logger.warning("broker unreachable, the sweeper asks again: %s", error)
            return


def dispatch_check(cluster_ids: Iterable[int], *, worth: float) -> None:
    """Queue ``tasks.check_cluster`` for clusters whose check is leased.

    A broker that is away is given nothing: the leases run out, and the sweeper asks again.

    Args:
        cluster_ids: primary keys.
        worth: seconds after which a message that no worker took is dropped.
    """
    for cluster_id in cluster_ids:
        try:
            _publish("check_cluster", cluster_id, priority=Priority.CHECK, expires=worth)
        except (BrokerError, OSError) as error:
            logger.warning("broker unreachable, the sweeper asks again: %s", error)
            return


def dispatch_retention() -> None:
    """Queue ``tasks.continue_retention`` for what was announced; else the schedule does it."""
    try:
        _publish("continue_retention", priority=Priority.CHECK, expires=60)
    except (BrokerError, OSError) as error:
        logger.warning("broker unreachable, retention waits for the schedule: %s", error)
