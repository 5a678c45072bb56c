"""Retries while the database is unavailable, advisory locks, missing migrations."""

from __future__ import annotations

import functools
import hashlib
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

logger = logging.getLogger(__name__)
T = TypeVar("T")


def retry_while_unavailable(work: Callable[[], T], *, seconds: float = 60.0) -> T:
    """Run a transaction, and retry it while the database is unreachable or locked.

    Args:
        work: performs the writes. It runs inside `transaction.atomic`, so a failed attempt leaves
            no changes.
        seconds: how long to retry before raising the error.

    Returns:
        The return value of `work`.

    Raises:
        DatabaseError: the last error once the time is up, or immediately if it is not about the
            availability of the database.
    """
    deadline = time.monotonic() + seconds
    pause = 0.1
    while True:
        try:
            with transaction.atomic():
                return work()
        except (OperationalError, InterfaceError) as error:
            if connection.in_atomic_block or time.monotonic() + pause > deadline:
                raise
            logger.warning("database unavailable, will retry: %s", one_line(error))
            connection.close()
            time.sleep(pause)
            pause = min(pause * 2, 2.0)


def several_reads() -> AbstractContextManager[object]:
    """Return a context in which queries share one transaction on PostgreSQL.

    Without it, each query is a transaction. It does nothing on SQLite, where transactions begin by
    acquiring the write lock.
    """
    return transaction.atomic() if connection.vendor == "postgresql" else nullcontext()


def one_line(error: DatabaseError | InterfaceError) -> str:
    """Return the first line of a database error, at most 200 characters, for the log."""
    return str(error).strip().partition("\n")[0][:200]


@functools.cache
def _migrations_of_the_code() -> frozenset[tuple[str, str]]:
    """Return (app, name) of every migration of this code; read once per process."""
    return frozenset(MigrationLoader(None).disk_migrations)


def unapplied_migrations(database: BaseDatabaseWrapper | None = None) -> list[str]:
    """List the migrations of this code that are not applied to the database.

    It takes one query, so health probes can call it. Unknown applied migrations are ignored: during
    an upgrade, the old code runs on the new schema.

    Args:
        database: the connection to query; None for the default connection.

    Returns:
        "app.name" of each missing migration, sorted; all migrations if the database is empty.

    Raises:
        DatabaseError: the query failed.
    """
    applied = MigrationRecorder(database or connection).applied_migrations()
    missing = _migrations_of_the_code() - applied.keys()
    return sorted(f"{app}.{name}" for app, name in missing)


def advisory_lock(name: str) -> None:
    """Serialize transactions that check the same rule; the lock is held until the transaction ends.

    A rule such as “keep at least one admin” or “at most twenty” counts rows and then writes. On
    PostgreSQL, concurrent transactions do not see each other's writes, so both would count the old
    rows. Call this first: later statements see what the previous holder has committed (READ
    COMMITTED). SQLite needs no such lock: it has one writer, and transactions begin by acquiring
    its write lock.

    Call it before recording anything in the audit trail, whose lock must be acquired last.

    Args:
        name: name of the rule, including the row it applies to, if any.

    Raises:
        TransactionManagementError: there is no transaction.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("a rule is locked within a transaction")
    if connection.vendor == "postgresql":
        number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])
