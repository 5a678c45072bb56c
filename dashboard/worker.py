"""Celery worker that logs one line per event, reconnects quickly and waits for migrations."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import time
from typing import Any

from celery.apps import worker as celery_worker
from celery.worker.consumer import Consumer
from django.db import DatabaseError, InterfaceError, connection

from .db.concurrency import one_line, unapplied_migrations
from .logs import log_warnings_and_exceptions, signal_line

logger = logging.getLogger(__name__)

MIGRATION_PAUSE = 1.0  # seconds between two checks
RECONNECT_MOST = 4.0  # seconds between attempts; Celery's default of 30 reconnects too late


def _say(text: str, file: object = None) -> None:
    """Write Celery's message from a signal handler; logging must not be used, as it can block."""
    with contextlib.suppress(OSError):
        os.write(2, signal_line("celery.worker", text.strip()))


celery_worker.safe_say = _say  # type: ignore[attr-defined]


class PlainWorker(celery_worker.Worker):
    """Celery's worker without its 40-line banner, so that each log line is an event."""

    app: Any
    hostname: str

    def on_before_init(self, *args: Any, **options: Any) -> None:
        log_warnings_and_exceptions()  # first: Celery's warning about root has nine lines
        super().on_before_init(*args, **options)

    def emit_banner(self) -> None:
        logger.info("worker %s is starting: %s", self.hostname, self.app.connection().as_uri())


class QuickConsumer(Consumer):
    """Celery's consumer that tries an unreachable broker every few seconds."""

    def ensure_connected(self, conn: Any) -> Any:
        conn.ensure_connection = functools.partial(
            conn.ensure_connection, interval_start=1, interval_step=1, interval_max=RECONNECT_MOST
        )
        return super().ensure_connected(conn)


def wait_for_migrations() -> None:
    """Wait without a time limit until all migrations of this code are applied.

    Without this, a worker that starts before or during the migrations would process runs on an old
    schema; the start order of a supervisor no longer applies when a container restarts. A signal
    ends the wait and the process.
    """
    told = ""
    while why := _not_migrated():
        if why != told:
            logger.warning("waiting to start: %s", why)
            told = why
        time.sleep(MIGRATION_PAUSE)
    if told:
        logger.warning("starting: all migrations are applied")


def _not_migrated() -> str:
    try:
        missing = unapplied_migrations()
    except (DatabaseError, InterfaceError) as error:
        return f"the database cannot be reached ({one_line(error)})"
    finally:
        connection.close()
    return "migrations are not applied: run manage.py migrate" if missing else ""
