"""Holding on to a result while the database is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction

logger = logging.getLogger(__name__)
T = TypeVar("T")


def hold_and_retry(work: Callable[[], T], *, seconds: float = 60.0) -> T:
    """Run a database transaction, again and again while the database is unreachable or locked.

    Args:
        work: does its writes and returns; it is run inside `transaction.atomic`, so a broken
            try leaves nothing behind.
        seconds: how long to hold on before the error is raised.

    Returns:
        What `work` returned.

    Raises:
        DatabaseError: the last error, when time is up, or at once when it is not about reaching
            the database.
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
            logger.warning("database unavailable, holding the result: %s", one_line(error))
            connection.close()
            time.sleep(pause)
            pause = min(pause * 2, 2.0)


def one_line(error: DatabaseError | InterfaceError) -> str:
    """The first line of a database error, for the log."""
    return str(error).strip().partition("\n")[0][:200]
