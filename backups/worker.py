"""What a worker does from its start to its end: heartbeats, ticks, a bounded shutdown."""

from __future__ import annotations

import logging
import os
import threading

from celery import signals
from django.conf import settings

from dashboard.worker import wait_for_migrations

from . import instance
from .heartbeats import Reporter
from .services.runs import sweeping
from .ticker import TickerThread
from .work import message_arrived

logger = logging.getLogger(__name__)

_reporter: Reporter | None = None
_ticker: TickerThread | None = None


def belong_to_an_instance(**_: object) -> None:
    """Before the first connection to the broker, whose keys are named after the instance."""
    wait_for_migrations()  # the instance's id is in a table
    instance.serve()
    instance.wait_for_uid()


@signals.worker_ready.connect
def _worker_is_up(**_: object) -> None:
    global _reporter, _ticker
    _reporter, _ticker = Reporter("worker"), TickerThread()
    _reporter.start()
    _ticker.start()


@signals.task_prerun.connect
@signals.task_revoked.connect  # expired, by a clock that may differ from the publisher's
def _message_arrived(**_: object) -> None:
    if _reporter is not None:  # in a worker, that is
        message_arrived()


@signals.worker_shutting_down.connect
def _worker_is_leaving(**_: object) -> None:
    """Runs in a signal handler: only start the clock."""
    threading.Thread(target=_end_in_bounded_time, name="shutdown-clock", daemon=True).start()


@signals.worker_shutdown.connect
def _worker_is_down(**_: object) -> None:
    # the ticker first: it takes nobody over while this process withdraws its own heartbeat
    for thread in (_ticker, _reporter):
        if thread is not None:
            thread.stop()


def _end_in_bounded_time() -> None:
    """Give what is in flight its time, then hand its runs over and end this process.

    A warm shutdown waits for every task. A cloud that does not answer may hold one for
    CSS_TOTAL_TIMEOUT, longer than an init system waits before it kills, so after
    WORKER_SHUTDOWN_GRACE seconds the runs are released: unsent ones are queued again, those in
    flight become unknown and are settled by the cloud's records.
    """
    threading.Event().wait(settings.WORKER_SHUTDOWN_GRACE)
    try:
        released = sweeping.release_claims()
        logger.warning("shutdown: %d runs in flight were handed over", released)
        _worker_is_down()
    finally:
        os._exit(0)
