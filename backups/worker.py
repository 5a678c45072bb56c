"""The life of a worker process: heartbeats, the ticker, a bounded shutdown."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

from celery import signals
from django.conf import settings

from dashboard.worker import wait_for_migrations

from . import instance
from .heartbeats import Reporter
from .services import rate
from .services.runs import sweeping
from .services.runs.lanes import LANES
from .ticker import TickerThread
from .work import message_arrived

logger = logging.getLogger(__name__)

SEND_RUN = "backups.tasks.send_run"
_reporter: Reporter | None = None
_ticker: TickerThread | None = None


def belong_to_an_instance(**_: object) -> None:
    """Read the instance's id, which prefixes all keys, before the first broker connection."""
    wait_for_migrations()  # the instance's id is in a table
    instance.serve()
    instance.wait_for_uid()


@signals.worker_ready.connect
def _worker_is_up(sender: Any = None, **_: object) -> None:
    global _reporter, _ticker
    LANES.threads = sender.controller.concurrency if sender is not None else None
    _reporter, _ticker = Reporter("worker"), TickerThread()
    _reporter.start()
    _ticker.start()


@signals.task_prerun.connect
@signals.task_postrun.connect
@signals.task_revoked.connect  # an expired message has arrived, too
def _message_arrived(signal: object = None, sender: Any = None, **_: object) -> None:
    # A request that somebody waits for is sent first. Where all threads hang in such requests, no
    # other message arrives either.
    sends = getattr(sender, "name", "") == SEND_RUN
    if signal is (signals.task_prerun if sends else signals.task_postrun):
        return
    if _reporter is not None:  # only in a worker process
        message_arrived()


@signals.worker_shutting_down.connect
def _worker_is_leaving(**_: object) -> None:
    """Start the countdown; this runs in a signal handler, so it does nothing else."""
    threading.Thread(target=_end_in_bounded_time, name="shutdown-clock", daemon=True).start()


@signals.worker_shutdown.connect
def _worker_is_down(**_: object) -> None:
    # the ticker first: it must not take claims over while the heartbeat is being withdrawn
    for thread in (_ticker, _reporter):
        if thread is not None:
            thread.stop()
    rate.close()


def _end_in_bounded_time() -> None:
    """Wait for tasks in flight, then release their runs and end the process.

    A warm shutdown waits for every task. A cloud that does not answer can hold one for
    CSS_TOTAL_TIMEOUT, longer than init systems wait before they kill. So the runs are released
    after WORKER_SHUTDOWN_GRACE seconds: unsent ones are queued again, those in flight become
    unknown and are settled by the cloud's records.
    """
    threading.Event().wait(settings.WORKER_SHUTDOWN_GRACE)
    try:
        released = sweeping.release_claims()
        logger.warning("shutdown: %d runs in flight were handed over", released)
        _worker_is_down()
    finally:
        os._exit(0)
