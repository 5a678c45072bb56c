"""SQLite backend for many threads: waits for the write lock without holding a connection's mutex.

SQLite's busy timeout sleeps while it holds the mutex of its connection. The thread that holds the
write lock can need that mutex: Python's garbage collector frees cursors of any connection in the
thread in which it happens to run, and freeing a cursor acquires the mutex of its connection. One
thread then waits for the mutex and the other for the write lock, and both block all other writers
until the timeout of many seconds expires.

Therefore SQLite waits only briefly, and this module retries until the same timeout expires.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any, TypeVar

from django.db.backends.sqlite3 import base

T = TypeVar("T")

MOMENT = 0.1  # seconds that SQLite waits while it holds the mutex
PAUSE = 0.005  # seconds between retries, in which another thread can acquire the mutex
DEFAULT_TIMEOUT = 5.0  # seconds; the default of sqlite3.connect


class CursorWrapper(base.SQLiteCursorWrapper):
    """Cursor that retries while the database is locked.

    It retries only outside a transaction, where a statement that found the database locked has had
    no effect. Within a transaction the write lock is already held, because transactions begin
    IMMEDIATE.
    """

    timeout = DEFAULT_TIMEOUT  # seconds

    def execute(self, query: Any, params: Any = None) -> Any:
        return self._patiently(lambda: super(CursorWrapper, self).execute(query, params))

    def executemany(self, query: Any, param_list: Any) -> Any:
        if self.connection.in_transaction:
            return super().executemany(query, param_list)
        # Otherwise each row would be its own transaction, and a retry would repeat earlier rows.
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
                # errors raised by Python's module itself have no code
                code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
                busy = code & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or self.connection.in_transaction or time.monotonic() >= deadline:
                    raise
            time.sleep(PAUSE)


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's SQLite connection with retrying cursors.

    OPTIONS["timeout"] keeps its meaning: the maximum wait for a lock, in seconds.
    """

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        # After init_command, which switches the journal mode and cannot simply be retried.
        connection.execute(f"PRAGMA busy_timeout = {round(MOMENT * 1000)}")
        return connection

    def create_cursor(self, name: str | None = None) -> Any:
        cursor = self.connection.cursor(factory=CursorWrapper)
        cursor.timeout = float(self.settings_dict["OPTIONS"].get("timeout", DEFAULT_TIMEOUT))
        return cursor
