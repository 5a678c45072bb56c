"""The outbox: what happened, stored in the transaction in which it happened."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction

from backups.choices import NoticeKind
from backups.models import Cluster, Notice, Project, Rule
from dashboard.http.redact import one_line, redact

logger = logging.getLogger(__name__)

FRESH = 3.0  # seconds for which a process knows the rules
LONGEST_FACT = 500  # characters

_lock = threading.Lock()
_known: tuple[float, frozenset[tuple[str, int | None]]] | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something to announce; the arguments of `announce`."""

    kind: NoticeKind
    key: str
    project: Project | int | None = None
    cluster: Cluster | int | None = None
    cause: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def announce(
    kind: NoticeKind,
    *,
    key: str,
    project: Project | int | None = None,
    cluster: Cluster | int | None = None,
    cause: str = "",
    facts: Mapping[str, Any],
) -> bool:
    """Write a notice, in the caller's transaction, if a rule subscribes to it.

    Costs nothing unless an enabled channel has a rule for the kind and the project: each process
    knows the rules for FRESH seconds, so a new rule takes that long to have an effect everywhere.
    Rules for a label are applied later, when the notice is routed. An error is logged and the
    caller's transaction goes on, because a notification must not cost a run.

    Args:
        kind: what happened.
        key: which event it is, unique in its kind: a second call with it does nothing.
        project: the project, or its primary key; None: the instance.
        cluster: the cluster, or its primary key.
        cause: notices of one kind, cause and project are sent in one message; a sentence in
            English of at most 200 characters that says it for all of them.
        facts: what the message says, without secrets. Known names: `cluster`, `project`, `text` (a
            sentence in English about this one), `path` (of its page, from `reverse`). Others are
            passed on to webhooks.

    Returns:
        Whether a rule subscribes to it.

    Raises:
        DatabaseError, InterfaceError: the caller's transaction can no longer be committed.
    """
    return announce_all([Event(kind, key, project, cluster, cause, facts)]) > 0


def announce_all(events: Iterable[Event]) -> int:
    """Write notices like `announce`, with one statement; returns how many are subscribed to."""
    try:
        wanted = [event for event in events if is_subscribed(event.kind, _pk(event.project))]
        if wanted:
            with transaction.atomic():  # a savepoint: an error must not break the caller's
                Notice.objects.bulk_create(map(_row, wanted), 500, ignore_conflicts=True)
        return len(wanted)
    except Exception:
        if connection.in_atomic_block and connection.needs_rollback:
            raise  # the connection broke: the caller's transaction is lost, and must be repeated
        logger.exception("a notification was not stored")
        return 0


def is_subscribed(kind: NoticeKind, project_id: int | None = None) -> bool:
    """Return whether an enabled rule wants this kind for this project, as known for FRESH seconds.

    Args:
        kind: what happened.
        project_id: primary key; None asks for rules of any project.
    """
    wanted = _subscriptions()
    if project_id is None:
        return any(each == kind.value for each, _project in wanted)
    return (kind.value, None) in wanted or (kind.value, project_id) in wanted


def forget_rules() -> None:
    """Have this process read the rules again, after a change that it has made itself."""
    global _known
    _known = None


def _subscriptions() -> frozenset[tuple[str, int | None]]:
    global _known
    known = _known
    if known is None or time.monotonic() - known[0] >= FRESH:
        # a savepoint within a transaction only: elsewhere it would lock SQLite for a reading
        guard = transaction.atomic() if connection.in_atomic_block else nullcontext()
        with _lock, guard:
            rules = Rule.objects.filter(channel__enabled=True).values_list("kinds", "project_id")
            pairs = frozenset((kind, project) for kinds, project in rules for kind in kinds)
        _known = known = (time.monotonic(), pairs)
    return known[1]


def _row(event: Event) -> Notice:
    return Notice(
        kind=event.kind,
        key=event.key[:200],
        project_id=_pk(event.project),
        cluster_id=_pk(event.cluster),
        cause=one_line(redact(event.cause), 200),
        facts={name: _fact(value) for name, value in event.facts.items()},
    )


def _fact(value: Any) -> Any:
    """A fact as JSON: numbers and None as they are, everything else as a redacted line."""
    if value is None or isinstance(value, bool | int | float):
        return value
    return one_line(redact(str(value)), LONGEST_FACT)


def _pk(row: Project | Cluster | int | None) -> int | None:
    return row if row is None or isinstance(row, int) else row.pk
