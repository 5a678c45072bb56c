"""Deleting and masking old events, the two changes that the triggers allow."""

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

CHUNK = 5_000  # events per transaction


@dataclass(frozen=True, slots=True)
class Prunable:
    """Events that can be deleted.

    Attributes:
        events: their number; if 0, the other attributes are unset.
        first: number of the oldest event.
        last: number of the last event to delete.
        hash: hash of the last event.
    """

    events: int = 0
    first: int = 0
    last: int = 0
    hash: str = ""


def prunable(before: datetime) -> Prunable:
    """Return the oldest events, up to the first one that is not older than `before`.

    Only a prefix of the chain can be deleted. If the clock was set back, a later event can have an
    earlier time; it stays as long as an event before it does.
    """
    first = trail.beginning().sequence + 1
    kept = AuditEvent.objects.filter(at__gte=before, sequence__gte=first)
    first_kept = _first(kept)
    last = trail.head().sequence if first_kept is None else first_kept - 1
    newest = AuditEvent.objects.filter(sequence=last, sequence__gte=first).first()
    if newest is None:
        return Prunable()
    # the chain has no gaps, so no COUNT is needed
    return Prunable(last - first + 1, first, last, newest.hash)


def move_anchor(before: datetime, record_run: Callable[[Prunable], AuditEvent]) -> int:
    """Move the anchor, so that `delete_anchored` can delete the events up to it.

    Args:
        before: as for `prunable`.
        record_run: records the retention run; called in the transaction of the anchor.

    Returns:
        Number of events that can now be deleted.
    """
    with transaction.atomic():
        trail.lock()
        found = prunable(before)
        if found.events:
            event = record_run(found)
            last = AuditEvent.objects.get(sequence=found.last)
            Anchor.objects.create(
                sequence=last.sequence, hash=last.hash, at=last.at, recorded_by=event.sequence
            )
    return found.events


def delete_anchored() -> None:
    """Delete the events up to the anchor, including those that an interrupted run left."""
    last = trail.beginning().sequence
    for chunk in _chunks(AuditEvent.objects.filter(sequence__lte=last)):
        chunk.delete()


def maskable(before: datetime, person: User | None = None) -> int:
    """Return the number of events that `mask_events` would change."""
    return _unmasked(before, person).count()


def mask_events(
    before: datetime, person: User | None, record_masking: Callable[[int], AuditEvent]
) -> int:
    """Empty the personal data and the salt of events.

    Without the salt, nobody can guess the data from the remaining digest.

    Args:
        before: mask only older events.
        person: mask only events by or about this account.
        record_masking: records the masking, given the number of events; it commits first.

    Returns:
        Number of masked events.
    """
    # up to the current head: mask no more events than the recorded number
    todo = _unmasked(before, person).filter(sequence__lte=trail.head().sequence)
    events = todo.count()
    if not events:
        return 0
    recorded = record_masking(events)
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
    """Yield the events in parts, oldest first, each for a short transaction."""
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
