"""Writing to the audit trail: recording events and appending them to the hash chain."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection, models, transaction
from django.http import HttpRequest
from django.utils.timezone import now

from dashboard.db.prepared import insert
from dashboard.web.client_ip import client_ip

from .models import Action, Anchor, AuditEvent
from .values import GENESIS, line, storable

if TYPE_CHECKING:
    from dashboard.accounts.models import User

__all__ = [
    "Action",
    "Actor",
    "record",
]

ANONYMOUS = "anonymous"
# number of a PostgreSQL advisory lock: "cssaudit" in ASCII
LOCK = int.from_bytes(b"cssaudit", "big")


@dataclass(frozen=True)
class Actor:
    """Who did something, and from where.

    Attributes:
        name: copied into the event, which outlives the account.
        user: the account; None for a process or without a sign-in.
        ip: client address, as reported by trusted proxies; None for a process.
        user_agent: as sent by the client.
        request_id: as in the response and in the log.
        token: label of the API token; "" without a token.
    """

    name: str
    user: User | None = None
    ip: str | None = None
    user_agent: str = ""
    request_id: str = ""
    token: str = ""

    @classmethod
    def of(cls, request: HttpRequest) -> Actor:
        """Return the actor of a request."""
        user = getattr(request, "user", None)
        if user is not None and not user.is_authenticated:
            user = None
        return cls(
            name=user.get_username() if user is not None else ANONYMOUS,
            user=user if user is not None and user.pk else None,  # a command has no account
            ip=client_ip(request),
            user_agent=request.headers.get("User-Agent", ""),
            request_id=getattr(request, "request_id", ""),
            token=getattr(request, "token_label", ""),
        )

    @classmethod
    def process(cls, name: str) -> Actor:
        """Return the actor of a process or command, as in “retention”."""
        return cls(name=name)


def record(
    action: Action,
    *,
    actor: Actor,
    target: models.Model | None = None,
    target_label: str = "",
    project: models.Model | None = None,
    reason: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    details: Mapping[str, Any] | None = None,
) -> AuditEvent:
    """Record an event, in the transaction of the caller if there is one.

    The change and its event commit together. No other process can record an event until the
    transaction ends, so call this **last**: changing or locking rows afterwards makes other
    processes wait and can deadlock.

    Names and addresses of people belong in `actor`, or in a `target` that is an account, where they
    can be masked. `reason`, `before`, `after` and `details` are kept unchanged.

    Args:
        action: what was done.
        actor: who did it.
        target: the object. Its type and primary key are stored, without a foreign key. An account
            is stored as personal data.
        target_label: the name of the object at this time; default: `str(target)`. Also for objects
            that are not rows.
        project: the project of the object; any model with a primary key and a name.
        reason: why, as the actor wrote it.
        before: changed values before the change.
        after: changed values after the change.
        details: further facts. The token that was used is added as `program`.

    Returns:
        The stored event.

    Raises:
        django.db.Error: the event could not be stored; the whole transaction is rolled back.
    """
    if actor.token:
        details = {**(details or {}), "program": actor.token}
    event = AuditEvent(
        action=action.value,
        request_id=line(actor.request_id, 64),
        actor_name=line(actor.name, 255),
        actor_user_id=actor.user.pk if actor.user else None,
        ip=line(actor.ip or "", 45),
        user_agent=line(actor.user_agent, 300),
        salt=secrets.token_hex(16),
        target_type=target._meta.label_lower if target is not None else "",
        target_is_person=target is not None and _is_account(target),
        target_id=line(target.pk, 64) if target is not None else "",
        target_label=line(target_label or ("" if target is None else target), 255),
        project_id=project.pk if project is not None else None,
        project_label=line(project, 255) if project is not None else "",
        reason=line(reason, 1000),
        before=storable(before),
        after=storable(after),
        details=storable(details),
    )
    # No savepoint: the caller cannot commit a change without its event.
    with transaction.atomic(savepoint=False):
        append(event)
    return event


def _is_account(target: models.Model) -> bool:
    return target._meta.label_lower == settings.AUTH_USER_MODEL.lower()


@dataclass(frozen=True, slots=True)
class ChainLink:
    """The number and hash of an event."""

    sequence: int
    hash: str


def head() -> ChainLink:
    """Return the newest event; number 0 with the genesis hash if there is none."""
    newest = AuditEvent.objects.order_by("-sequence").values_list("sequence", "hash").first()
    return ChainLink(*newest) if newest else ChainLink(0, GENESIS)


def beginning() -> ChainLink:
    """Return the event before the oldest stored one: the newest anchor, or the genesis."""
    anchor = Anchor.objects.order_by("-sequence").values_list("sequence", "hash").first()
    return ChainLink(*anchor) if anchor else ChainLink(0, GENESIS)


def lock() -> None:
    """Lock the chain until the end of the transaction. Must be called within a transaction.

    PostgreSQL: a separate statement takes the lock, so that the next one, which reads the head,
    sees what the previous transaction committed (READ COMMITTED). With an older snapshot, the
    number is already used and the database rejects the event; the chain never forks.

    SQLite: there is only one writer, and transactions are IMMEDIATE.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError(
            "the chain can only be locked within a transaction"
        )
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


def append(event: AuditEvent) -> None:
    """Set the number, time and hashes of an event, and store it. Other fields must be set."""
    event.personal = event.personal_digest()
    lock()
    last = head()
    event.sequence = last.sequence + 1
    event.previous_hash = last.hash
    moment = now()
    # to the millisecond, the precision of Django's dumpdata
    event.at = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    event.hash = event.content_hash()
    insert(event)
