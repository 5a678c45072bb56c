"""SQLite: who waits for the write lock must not hold what its holder needs."""

from __future__ import annotations

import contextlib
import gc
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError

from dashboard.db.sqlite3.base import DatabaseWrapper

Connect = Any


@pytest.fixture
def connect(tmp_path: Path, django_db_blocker: Any) -> Iterator[Connect]:
    """Opens connections to one file as the product does, with a timeout of ten seconds."""
    opened = []

    def make(timeout: float = 10.0) -> DatabaseWrapper:
        options = {
            "transaction_mode": "IMMEDIATE",
            "timeout": timeout,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        }
        settings = {
            "ENGINE": "dashboard.db.sqlite3",
            "NAME": tmp_path / "file.sqlite3",
            "OPTIONS": options,
            "AUTOCOMMIT": True,
            "ATOMIC_REQUESTS": False,
            "CONN_MAX_AGE": 0,
            "CONN_HEALTH_CHECKS": False,
            "TIME_ZONE": None,
            "USER": "",
            "PASSWORD": "",
            "HOST": "",
            "PORT": "",
            "TEST": {"NAME": None},
        }
        connection = DatabaseWrapper(settings)
        connection.inc_thread_sharing()
        opened.append(connection)
        return connection

    with django_db_blocker.unblock():  # no test database: files of its own
        yield make
        for connection in opened:
            connection.close()


class Cycle:
    """Garbage that only the collector finds, as a traceback is that refers to itself."""

    def __init__(self, cursor: Any) -> None:
        self.cursor, self.me = cursor, self


def test_the_collector_in_the_lock_holders_thread_does_not_wait_for_a_waiter(
    connect: Connect,
) -> None:
    holder, waiter = connect(), connect()
    with holder.cursor() as cursor:
        cursor.execute("CREATE TABLE t (x)")
        cursor.execute("INSERT INTO t VALUES (1), (2)")
    gc.collect()
    gc.disable()
    try:
        raw = waiter.cursor().cursor
        raw.execute("SELECT x FROM t")
        raw.fetchone()  # its statement is under way, so that freeing it resets it
        Cycle(raw)
        del raw
        holder.cursor().execute("BEGIN IMMEDIATE")
        waiting = threading.Thread(
            target=lambda: waiter.cursor().execute("INSERT INTO t VALUES (3)")
        )
        waiting.start()
        time.sleep(3 * 0.1)  # the waiter is in SQLite's hands by then, again and again
        began = time.monotonic()
        gc.collect()
        collected = time.monotonic() - began
        holder.cursor().execute("COMMIT")
        waiting.join(10)
    finally:
        gc.enable()
    assert not waiting.is_alive()
    assert collected < 3  # with SQLite's own timeout it is all of the ten seconds
    with holder.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM t")
        assert cursor.fetchone() == (3,)


def test_a_lock_that_is_held_too_long_is_still_an_error_in_time(connect: Connect) -> None:
    holder, waiter = connect(), connect(timeout=0.5)
    holder.cursor().execute("CREATE TABLE t (x)")
    holder.cursor().execute("BEGIN IMMEDIATE")
    for statement in ("BEGIN IMMEDIATE", "INSERT INTO t VALUES (1)"):
        began = time.monotonic()
        with pytest.raises(OperationalError, match="locked"):
            waiter.cursor().execute(statement)
        assert 0.5 <= time.monotonic() - began < 5
    holder.cursor().execute("COMMIT")
    waiter.cursor().executemany("INSERT INTO t VALUES (%s)", [(n,) for n in range(3)])
    with holder.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM t")
        assert cursor.fetchone() == (3,)


class LockBetween:
    """A parameter; while it is bound, another connection takes the write lock if it can."""

    def __init__(self, other: DatabaseWrapper) -> None:
        self._other = other
        self.asked = 0

    def __conform__(self, _protocol: object) -> int:
        self.asked += 1
        if self.asked == 1:
            with contextlib.suppress(OperationalError):
                self._other.cursor().execute("BEGIN IMMEDIATE")
                threading.Timer(0.5, self._other.cursor().execute, ["COMMIT"]).start()
        return 2


def test_many_rows_are_stored_once_each_whoever_wants_the_lock_meanwhile(connect: Connect) -> None:
    other, writer = connect(timeout=0.2), connect()
    writer.cursor().execute("CREATE TABLE t (x)")
    between = LockBetween(other)
    writer.cursor().executemany("INSERT INTO t VALUES (%s)", [(1,), (between,), (3,)])
    assert between.asked
    with writer.cursor() as cursor:
        cursor.execute("SELECT x FROM t ORDER BY x")
        assert cursor.fetchall() == [(1,), (2,), (3,)]
    writer.cursor().execute("CREATE UNIQUE INDEX once ON t (x)")
    with pytest.raises(IntegrityError):
        writer.cursor().executemany("INSERT INTO t VALUES (%s)", [(4,), (4,)])
    other.cursor().execute("INSERT INTO t VALUES (5)")  # what failed has let go of the lock
    with writer.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM t")
        assert cursor.fetchone() == (4,)


def test_other_errors_are_raised_at_once(connect: Connect) -> None:
    began = time.monotonic()
    with pytest.raises(OperationalError, match="no such table"):
        connect().cursor().execute("INSERT INTO nowhere VALUES (1)")
    assert time.monotonic() - began < 5


def test_the_file_is_opened_in_wal_mode(connect: Connect, tmp_path: Path) -> None:
    connect().cursor().execute("CREATE TABLE t (x)")
    raw = sqlite3.connect(tmp_path / "file.sqlite3")
    assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    raw.close()
