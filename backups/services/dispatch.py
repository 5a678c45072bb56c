"""Publish tasks to the broker. If that fails, the sweeper or the schedule does it later."""

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
SENDS = 5  # maximum number of runs that one task sends
MANY = 10  # minimum number of messages before one contains several runs


class Priority(IntEnum):
    """Priority of a message, the lowest value first; each has its own list in Redis."""

    CLICK = 0
    FOLLOW = 3
    BATCH = 6
    CHECK = 9


def _publish(
    task: str, *args: int | list[int], priority: Priority, expires: float | None = None
) -> None:
    # By name, because tasks import services and no service imports tasks.
    current_app.send_task(
        f"backups.tasks.{task}", args, expires=expires, priority=priority.value, ignore_result=True
    )


def dispatch_send(
    run_ids: Iterable[int], *, priority: Priority = Priority.BATCH, noted: bool = False
) -> None:
    """Queue runs for sending; called after their rows are committed.

    A message contains one run, or a few if a batch has many, which a thread sends one after
    another, because a message costs a worker as much as a request. If the broker is unavailable,
    only one short try is made. The runs stay queued, with a note, and the sweeper dispatches them
    as soon as the broker is back.

    Args:
        run_ids: primary keys of queued runs.
        priority: CLICK if a user waits for them, otherwise BATCH.
        noted: they were stored with a new `dispatched_at`.
    """
    ids = list(run_ids)
    if not ids:
        return
    if not noted:  # before publishing: a worker may be faster than this process
        queued = BackupRun.objects.filter(pk__in=ids, state=RunState.QUEUED)
        queued.update(dispatched_at=timezone.now())
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


def dispatch_batches() -> None:
    """Queue ``tasks.start_batches``, when a batch is stored and once a second while items wait."""
    try:
        _publish("start_batches", priority=Priority.CLICK, expires=5)
    except (BrokerError, OSError) as error:
        logger.warning("broker unreachable, batches wait: %s", error)


def dispatch_follow(run_ids: Iterable[int]) -> None:
    """Queue ``tasks.follow_runs`` for runs whose records are due, several per task.

    Tasks expire when the sweeper dispatches the runs again, so a slow cloud does not fill the
    queue.

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


def dispatch_files(run_ids: Iterable[int]) -> None:
    """Queue ``tasks.check_files`` for runs whose check of files is leased.

    If the broker is unavailable, the leases expire and the sweeper dispatches again.

    Args:
        run_ids: primary keys of verified runs.
    """
    ids = list(run_ids)
    for start in range(0, len(ids), SENDS):
        try:
            _publish("check_files", ids[start : start + SENDS], priority=Priority.CHECK)
        except (BrokerError, OSError) as error:
            logger.warning("broker unreachable, the sweeper asks again: %s", error)
            return


def dispatch_sync(connection_ids: Iterable[int]) -> None:
    """Queue ``tasks.sync_connection`` for connections whose sync is leased or requested.

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

    If the broker is unavailable, the leases expire and the sweeper dispatches again.

    Args:
        cluster_ids: primary keys.
        worth: seconds after which a message that no worker has taken expires.
    """
    for cluster_id in cluster_ids:
        try:
            _publish("check_cluster", cluster_id, priority=Priority.CHECK, expires=worth)
        except (BrokerError, OSError) as error:
            logger.warning("broker unreachable, the sweeper asks again: %s", error)
            return


def dispatch_retention() -> None:
    """Queue ``tasks.continue_retention`` for open retention runs.

    If the broker is unavailable, they wait for the schedule.
    """
    try:
        _publish("continue_retention", priority=Priority.CHECK, expires=60)
    except (BrokerError, OSError) as error:
        logger.warning("broker unreachable, retention waits for the schedule: %s", error)
