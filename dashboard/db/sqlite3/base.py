"""SQLite for many threads: waits for the write lock without holding the connection's mutex.

SQLite's own busy timeout sleeps while it holds the mutex of its connection. Another thread that
holds the write lock can need that mutex: Python's garbage collector frees cursors of any connection
in whatever thread it happens to run, and freeing one takes the mutex of its connection. The one
then waits for the mutex, the other for the lock, and everyone for them both, until the timeout of
many seconds is over.

So SQLite waits for a moment only, and this module asks again until the same timeout is over.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any, TypeVar

from django.db.backends.sqlite3 import base

T = TypeVar("T")

MOMENT = 0.1  # seconds that SQLite waits by itself, the mutex in its hand
PAUSE = 0.005  # seconds in which another thread can have the mutex
DEFAULT_TIMEOUT = 5.0  # seconds; sqlite3.connect's own


class CursorWrapper(base.SQLiteCursorWrapper):
    """A cursor that asks again while the database is locked.

    Outside a transaction only: there a statement that found the database locked has done nothing.
    Within one the write lock is held already, since transactions begin IMMEDIATE.
    """

    timeout = DEFAULT_TIMEOUT  # seconds

    def execute(self, query: Any, params: Any = None) -> Any:
        return self._patiently(lambda: super(CursorWrapper, self).execute(query, params))

    def executemany(self, query: Any, param_list: Any) -> Any:
        if self.connection.in_transaction:
            return super().executemany(query, param_list)
        # Each row would be a transaction of its own, and asking again would repeat those before.
        self.execute("BEGIN IMMEDIATE")
        try:
            result = super().executemany(query, param_list)
            self.connection.commit()
        except BaseException:
            self.connection.rollback()
            raise
        return result

    def _patiently(self, ask: Callable[[], T]) -> T:
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                return ask()
            except sqlite3.OperationalError as error:
                # what Python's module raises by itself has no code
                code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
                busy = code & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or self.connection.in_transaction or time.monotonic() >= deadline:
                    raise
            time.sleep(PAUSE)


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's SQLite connection with patient cursors; OPTIONS["timeout"] means what it meant."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        # After init_command: switching the journal's mode is no statement to repeat blindly.
        connection.execute(f"PRAGMA busy_timeout = {round(MOMENT * 1000)}")
        return connection

    def create_cursor(self, name: str | None = None) -> Any:
        cursor = self.connection.cursor(factory=CursorWrapper)
        cursor.timeout = float(self.settings_dict["OPTIONS"].get("timeout", DEFAULT_TIMEOUT))
        return cursor
