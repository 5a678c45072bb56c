"""The one place where an event is put at the end of the chain."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection, transaction
from django.utils.timezone import now

from .canonical import GENESIS
from .models import Anchor, AuditEvent

# PostgreSQL's advisory locks are numbers of one database; this one is "cssaudit" in ASCII.
LOCK = int.from_bytes(b"cssaudit", "big")


@dataclass(frozen=True, slots=True)
class Link:
    """A place in the chain: an event's number and hash."""

    sequence: int
    hash: str


def head() -> Link:
    """The newest event; number 0 with the genesis hash where there is none."""
    newest = AuditEvent.objects.order_by("-sequence").values_list("sequence", "hash").first()
    return Link(*newest) if newest else Link(0, GENESIS)


def beginning() -> Link:
    """The place before the oldest event that is kept: the newest anchor, or the genesis."""
    anchor = Anchor.objects.order_by("-sequence").values_list("sequence", "hash").first()
    return Link(*anchor) if anchor else Link(0, GENESIS)


def lock() -> None:
    """Let one transaction at a time add to the chain, until its end. Needs a transaction.

    PostgreSQL: the lock is taken by a statement of its own, so that the next statement, which
    reads the head, sees what the transaction before has committed (READ COMMITTED). Where a
    transaction reads an older snapshot, the head's number is taken already and the database
    refuses the second event; the chain never forks.

    SQLite: there is one writer. Our transactions are IMMEDIATE, and so it is this one.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("the chain is locked within a transaction")
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


def append(event: AuditEvent) -> None:
    """Give an event its number, time and hashes, and store it. All else of it must be there."""
    event.personal = event.personal_digest()
    lock()
    last = head()
    event.sequence = last.sequence + 1
    event.previous_hash = last.hash
    moment = now()
    # To the millisecond, which is all that Django's dumpdata carries to another database.
    event.at = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    event.hash = event.content_hash()
    event.save(force_insert=True)
