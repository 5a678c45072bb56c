"""Writing to the audit trail: events, and their place in the hash chain."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection, models, transaction
from django.http import HttpRequest
from django.utils.timezone import now

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


@dataclass(frozen=True)
class Actor:
    """Who did something, and from where.

    Attributes:
        name: copied into the event, which outlives the account.
        user: the account; None for a process, or for somebody who has not signed in.
        ip: address of the peer, or what trusted proxies say of it; None where there is none.
        user_agent: as the browser says; proves nothing.
        request_id: of our own middleware; also in the answer and in the log.
        token: the API token that a program used, as its label has it; "" for a person.
    """

    name: str
    user: User | None = None
    ip: str | None = None
    user_agent: str = ""
    request_id: str = ""
    token: str = ""

    @classmethod
    def of(cls, request: HttpRequest) -> Actor:
        """Whoever sent a request."""
        user = getattr(request, "user", None)
        if user is not None and not user.is_authenticated:
            user = None
        return cls(
            name=user.get_username() if user is not None else ANONYMOUS,
            user=user,
            ip=client_ip(request),
            user_agent=request.headers.get("User-Agent", ""),
            request_id=getattr(request, "request_id", ""),
            token=getattr(request, "token_label", ""),
        )

    @classmethod
    def process(cls, name: str) -> Actor:
        """A process or command that acts by itself, as in “retention”."""
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
    """Add an event to the trail, in the caller's transaction where there is one.

    The change and its event commit together or not at all. From here to the end of the transaction
    no other process can add an event, so this is the transaction's **last** statement: whoever
    changes or locks rows after it makes others wait, and two who do can deadlock.

    Names and addresses of people belong into `actor`, or into a `target` that is an account: there
    they can be masked. What stands in `reason`, `before`, `after` and `details` stays.

    Args:
        action: what was done.
        actor: by whom.
        target: on what; its type and primary key are kept, no foreign key. An account as target
            is personal data.
        target_label: the target's name at this time; `str(target)` without it. Also for a target
            that is no row.
        project: of the target; anything with a primary key and a name.
        reason: why, in the words of whoever did it.
        before: what was changed, as it was.
        after: what was changed, as it is.
        details: what else belongs to it. The token that was used is added as `program`.

    Returns:
        The stored event.

    Raises:
        django.db.Error: it could not be stored; the transaction is then rolled back as a whole.
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
    # Without a savepoint: a caller must not go on with a change whose event was not stored.
    with transaction.atomic(savepoint=False):
        append(event)
    return event


def _is_account(target: models.Model) -> bool:
    return target._meta.label_lower == settings.AUTH_USER_MODEL.lower()


# PostgreSQL's advisory locks are numbers of one database; this one is "cssaudit" in ASCII.
LOCK = int.from_bytes(b"cssaudit", "big")


@dataclass(frozen=True, slots=True)
class ChainLink:
    """A place in the chain: an event's number and hash."""

    sequence: int
    hash: str


def head() -> ChainLink:
    """The newest event; number 0 with the genesis hash where there is none."""
    newest = AuditEvent.objects.order_by("-sequence").values_list("sequence", "hash").first()
    return ChainLink(*newest) if newest else ChainLink(0, GENESIS)


def beginning() -> ChainLink:
    """The place before the oldest event that is kept: the newest anchor, or the genesis."""
    anchor = Anchor.objects.order_by("-sequence").values_list("sequence", "hash").first()
    return ChainLink(*anchor) if anchor else ChainLink(0, GENESIS)


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
