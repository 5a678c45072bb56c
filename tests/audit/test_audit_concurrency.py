"""Concurrent writers in threads and processes: one chain without gaps."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import DatabaseError, connection, transaction

from dashboard.accounts.models import User
from dashboard.audit import trail
from dashboard.audit.models import Action, AuditEvent
from dashboard.audit.trail import Actor, record
from dashboard.audit.verification import verify_chain
from dashboard.members.recording import not_recorded

pytestmark = pytest.mark.django_db(transaction=True)

PROCESSES, THREADS, EACH = 3, 3, 12
WRITER = """
import sys, threading
import django
django.setup()
from django.db import connection, transaction
from dashboard.audit.models import Action
from dashboard.audit.trail import Actor, record

name, threads, each = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
gate = threading.Barrier(threads + 1)

def write(thread):
    actor = Actor.process(f"{name}-{thread}")
    connection.ensure_connection()
    gate.wait()
    for number in range(each):
        record(Action.RUN_REQUESTED, actor=actor, details={"number": number})
        with transaction.atomic():
            record(Action.RUN_CANCELLED, actor=actor)
            transaction.set_rollback(True)
    connection.close()

writers = [threading.Thread(target=write, args=(n,)) for n in range(threads)]
for writer in writers:
    writer.start()
print("ready", flush=True)
sys.stdin.readline()
gate.wait()
for writer in writers:
    writer.join()
"""


def test_url() -> str:
    """The test database, for other processes."""
    values = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{quote(str(values['NAME']))}"
    host = f"{values['HOST'] or 'localhost'}:{values['PORT'] or 5432}"
    user = f"{quote(values['USER'])}:{quote(values['PASSWORD'])}"
    return f"postgres://{user}@{host}/{values['NAME']}"


test_url.__test__ = False  # type: ignore[attr-defined]


def test_writers_in_threads_and_processes_make_one_chain_without_a_gap() -> None:
    environment = {
        **os.environ,
        "DATABASE_URL": test_url(),
        "DATA_DIR": str(settings.DATA_DIR),
        "DJANGO_SETTINGS_MODULE": "dashboard.settings",
    }
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, f"writer-{n}", str(THREADS), str(EACH)],
            env=environment,
            cwd=settings.BASE_DIR,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for n in range(PROCESSES)
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        for writer in writers:
            _out, errors = writer.communicate(timeout=120)
            assert (writer.returncode, errors) == (0, "")
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    count = PROCESSES * THREADS * EACH
    assert list(AuditEvent.objects.order_by("sequence").values_list("sequence", flat=True)) == list(
        range(1, count + 1)
    )
    reading = verify_chain()
    assert (reading.first, reading.last, reading.broken_at) == (1, count, None)
    # the events of each writer are in the order in which it made them
    for name in set(AuditEvent.objects.values_list("actor_name", flat=True)):
        own = AuditEvent.objects.filter(actor_name=name).order_by("sequence")
        numbers = [details["number"] for details in own.values_list("details", flat=True)]
        assert numbers == list(range(EACH))


def in_thread(work: Callable[[], Any]) -> Any:
    """Run a function with its own connection, and close that."""

    def run() -> Any:
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result(timeout=60)


def test_a_writer_waits_for_the_transaction_before_and_follows_it() -> None:
    """A head that was read before taking the lock is not used."""
    recorded, waits = threading.Event(), threading.Event()

    def second() -> None:
        recorded.wait(60)
        waits.set()
        record(Action.RUN_JOINED, actor=Actor.process("second"))

    with ThreadPoolExecutor(1) as pool:
        follower = pool.submit(lambda: (second(), connection.close()))
        with transaction.atomic():
            record(Action.RUN_REQUESTED, actor=Actor.process("first"))
            recorded.set()
            assert waits.wait(60)
            record(Action.RUN_CANCELLED, actor=Actor.process("first"))
            assert not follower.done()
        follower.result(timeout=60)
    names = AuditEvent.objects.order_by("sequence").values_list("actor_name", flat=True)
    assert list(names) == ["first", "first", "second"]
    assert verify_chain().broken_at is None


def test_an_event_inside_a_transaction_is_seen_with_it_and_not_before() -> None:
    with transaction.atomic():
        with not_recorded():
            User.objects.create_user("ben")
        record(Action.GRANT_ADDED, actor=Actor.process("x"))
        assert in_thread(AuditEvent.objects.count) == 0
    assert in_thread(AuditEvent.objects.count) == 1


def test_a_transaction_with_an_old_snapshot_cannot_fork_the_chain() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer, and its transactions here begin with the write lock")
    record(Action.SIGN_IN, actor=Actor.process("before"))
    with pytest.raises(DatabaseError), transaction.atomic():  # noqa: PT012
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        assert trail.head().sequence == 1
        in_thread(lambda: record(Action.SIGN_IN, actor=Actor.process("other")))
        record(Action.SIGN_OUT, actor=Actor.process("old snapshot"))
    assert verify_chain().last == 2
    assert verify_chain().broken_at is None


def test_the_chain_cannot_be_locked_outside_a_transaction() -> None:
    with pytest.raises(transaction.TransactionManagementError):
        trail.lock()
