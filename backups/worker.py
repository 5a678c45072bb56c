"""How our Celery workers live and die: quick reconnects, heartbeats, ticks, a bounded shutdown."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import threading
import time
from typing import Any

from celery import signals
from celery.apps import worker as celery_worker
from celery.worker.consumer import Consumer
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from dashboard.db.concurrency import one_line, unapplied_migrations
from dashboard.logs import log_what_python_prints

from . import instance
from .heartbeats import Reporter
from .services.runs import sweeping
from .ticker import TickerThread
from .work import message_arrived

logger = logging.getLogger(__name__)

MIGRATION_PAUSE = 1.0  # seconds between two looks
RECONNECT_MOST = 4.0  # seconds; Celery's own limit is 30, too long for a broker that is back

_reporter: Reporter | None = None
_ticker: TickerThread | None = None


def _say(text: str, file: object = None) -> None:
    """Celery's words in a signal handler, where nothing may wait for a lock, so not by logging."""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime())
    with contextlib.suppress(OSError):
        os.write(2, f"{at},000 WARNING celery.worker {text.strip()}\n".encode())


celery_worker.safe_say = _say  # type: ignore[attr-defined]


class PlainWorker(celery_worker.Worker):
    """Celery's worker without its banner of 40 lines: each line of the log is an event."""

    app: Any
    hostname: str

    def on_before_init(self, *args: Any, **options: Any) -> None:
        log_what_python_prints()  # Celery is about to warn root, in nine lines
        super().on_before_init(*args, **options)

    def emit_banner(self) -> None:
        logger.info("worker %s is starting: %s", self.hostname, self.app.connection().as_uri())


class QuickConsumer(Consumer):
    """Celery's consumer, trying a broker that is away every few seconds."""

    def ensure_connected(self, conn: Any) -> Any:
        conn.ensure_connection = functools.partial(
            conn.ensure_connection, interval_start=1, interval_step=1, interval_max=RECONNECT_MOST
        )
        return super().ensure_connected(conn)


def wait_for_migrations() -> None:
    """Take no run before the database has this code's schema, however long that takes.

    Nothing else holds a worker back that starts together with the migrations, or before them: a
    supervisor's order ends when a container is restarted. A signal ends the wait, and the process.
    """
    told = ""
    while why := _not_migrated():
        if why != told:
            logger.warning("waiting before the start: %s", why)
            told = why
        time.sleep(MIGRATION_PAUSE)
    if told:
        logger.warning("starting: all migrations are applied")


def _not_migrated() -> str:
    try:
        missing = unapplied_migrations()
    except (DatabaseError, InterfaceError) as error:
        return f"the database cannot be asked ({one_line(error)})"
    finally:
        connection.close()
    return "migrations are not applied: run manage.py migrate" if missing else ""


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
