"""Making old events fewer or less personal, through the two doors that the guards leave open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from django.db.models import Case, F, Q, Value, When

from . import trail
from .models import Anchor, AuditEvent, AuditEventQuerySet

if TYPE_CHECKING:
    from dashboard.accounts.models import User

CHUNK = 5_000  # events of one transaction


@dataclass(frozen=True, slots=True)
class Prunable:
    """What would be deleted.

    Attributes:
        events: how many; the other attributes mean nothing where it is 0.
        first: number of the oldest event.
        last: number of the last one that would go.
        hash: its hash.
    """

    events: int = 0
    first: int = 0
    last: int = 0
    hash: str = ""


def prunable(before: datetime) -> Prunable:
    """The oldest events, all those up to the first that is not older than `before`.

    A clock that was set back may have given a later event an earlier time: it stays as long as an
    event in front of it stays, since only a prefix of the chain can go.
    """
    first = trail.beginning().sequence + 1
    kept = AuditEvent.objects.filter(at__gte=before, sequence__gte=first)
    first_kept = _first(kept)
    last = trail.head().sequence if first_kept is None else first_kept - 1
    newest = AuditEvent.objects.filter(sequence=last, sequence__gte=first).first()
    if newest is None:
        return Prunable()
    # there are no gaps, so nothing has to be counted
    return Prunable(last - first + 1, first, last, newest.hash)


def move_anchor(before: datetime, tell: Callable[[Prunable], AuditEvent]) -> int:
    """Say up to where events go. They go with `delete_anchored`.

    Args:
        before: as for `prunable`.
        tell: records the retention run; called in the transaction of the anchor.

    Returns:
        How many events the anchor was moved over.
    """
    with transaction.atomic():
        trail.lock()
        found = prunable(before)
        if found.events:
            event = tell(found)
            last = AuditEvent.objects.get(sequence=found.last)
            Anchor.objects.create(
                sequence=last.sequence, hash=last.hash, at=last.at, recorded_by=event.sequence
            )
    return found.events


def delete_anchored() -> None:
    """Delete what stands before the anchor, also what an interrupted run has left."""
    last = trail.beginning().sequence
    for chunk in _chunks(AuditEvent.objects.filter(sequence__lte=last)):
        chunk.delete()


def maskable(before: datetime, person: User | None = None) -> int:
    """How many events `mask_events` would change."""
    return _unmasked(before, person).count()


def mask_events(before: datetime, person: User | None, tell: Callable[[int], AuditEvent]) -> int:
    """Empty the personal part of events, and with it the salt: nothing can be guessed from the
    digest that stays.

    Args:
        before: only older events.
        person: only events of or about this account.
        tell: records the masking, given how many events there are; it commits first.

    Returns:
        How many were masked.
    """
    # up to the present end: no more are masked than the event tells of
    todo = _unmasked(before, person).filter(sequence__lte=trail.head().sequence)
    events = todo.count()
    if not events:
        return 0
    recorded = tell(events)
    return sum(
        chunk.update(
            actor_name="",
            actor_user_id=None,
            ip="",
            user_agent="",
            salt="",
            target_id=_unless_person("target_id"),
            target_label=_unless_person("target_label"),
            masked_by=recorded.sequence,
        )
        for chunk in _chunks(todo)
    )


def _chunks(events: AuditEventQuerySet) -> Iterator[AuditEventQuerySet]:
    """Parts of what matches, oldest first, each for a short transaction of its own."""
    start = 0
    while (first := _first(events.filter(sequence__gte=start))) is not None:
        start = first + CHUNK
        yield events.filter(sequence__gte=first, sequence__lt=start)


def _first(events: AuditEventQuerySet) -> int | None:
    return events.order_by("sequence").values_list("sequence", flat=True).first()


def _unmasked(before: datetime, person: User | None) -> AuditEventQuerySet:
    found = AuditEvent.objects.filter(at__lt=before, masked_by=None)
    if person is None:
        return found
    about = Q(
        target_is_person=True,
        target_type=settings.AUTH_USER_MODEL.lower(),
        target_id=str(person.pk),
    )
    return found.filter(Q(actor_user_id=person.pk) | about)


def _unless_person(column: str) -> Case:
    return Case(When(target_is_person=True, then=Value("")), default=F(column))
