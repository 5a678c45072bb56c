"""Verifying the hash chain, and where it breaks first."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from datetime import timedelta

from django.db import IntegrityError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from dashboard.db import triggers
from dashboard.db.concurrency import stood_still

from . import trail
from .models import Action, Anchor, AuditEvent, Verification
from .trail import ChainLink

CHUNK = 2_000  # events read at once
STALE_AFTER = timedelta(hours=1)  # then a reading that has not ended is begun anew
KEEP = 50  # verifications


@dataclass
class ChainReport:
    """What a reading of the chain came to.

    Attributes:
        first: number of the oldest event; 0 where there is none.
        last: number of the newest event that was found right.
        head: its hash.
        events: how many were found right.
        broken_at: number of the first that was not, or that is missing; None while intact.
        problem: what is wrong with it.
    """

    first: int = 0
    last: int = 0
    head: str = ""
    events: int = 0
    broken_at: int | None = None
    problem: str = ""
    masked_by: Counter[int] = field(default_factory=Counter, repr=False)

    def broke(self, sequence: int, problem: str) -> ChainReport:
        """Note the first break."""
        self.broken_at, self.problem = sequence, problem
        return self


def verify_chain(known: Sequence[ChainLink] = ()) -> ChainReport:
    """Verify every event from the anchor, or the very first, to the newest.

    Args:
        known: heads from earlier, as from the log or the verification before: each must still be
            there, which tells when the newest events were cut off or the chain made anew. Several
            may have one number. One whose event was deleted by retention cannot be checked, but for
            the last deleted, whose hash is kept.

    Returns:
        The range that is right and the first break. Events that are added or pruned meanwhile do
        not disturb it.
    """
    goal = trail.head()
    place = begun = trail.beginning()
    reading = ChainReport(first=place.sequence + 1 if goal.sequence else 0, last=place.sequence)
    wanted: defaultdict[int, set[str]] = defaultdict(set)
    for link in known:
        wanted[link.sequence].add(link.hash)
    while place.sequence < goal.sequence:
        events = AuditEvent.objects.filter(sequence__gt=place.sequence).order_by("sequence")
        chunk = list(events.filter(sequence__lte=goal.sequence)[:CHUNK])
        if not chunk or chunk[0].sequence != place.sequence + 1:
            anchor = trail.beginning()
            if anchor.sequence <= place.sequence:
                return reading.broke(place.sequence + 1, "The event is missing.")
            place = begun = anchor  # pruned while we read
            continue
        for event in chunk:
            if problem := _problem(event, place, wanted.get(event.sequence, set())):
                return reading.broke(place.sequence + 1, problem)
            place = ChainLink(event.sequence, event.hash)
            reading.last, reading.head = place.sequence, place.hash
            reading.events += 1
            if event.masked_by is not None:
                reading.masked_by[event.masked_by] += 1
    return _check_ends(reading, begun, known) if reading.broken_at is None else reading


def _problem(event: AuditEvent, before: ChainLink, known: Set[str]) -> str:
    """What is wrong with an event at its place; empty if nothing is."""
    if event.sequence != before.sequence + 1:
        return "The event is missing."
    if event.previous_hash != before.hash:
        return "It does not follow from the event before it."
    if event.content_hash() != event.hash:
        return "Its content is not what was hashed."
    if known - {event.hash}:
        return "Another event stood here when the chain was looked at earlier."
    if event.masked_by is None:
        if event.personal_digest() != event.personal:
            return "Its personal part is not what was hashed."
    elif any(event.personal_part().values()) or event.salt:
        return "It was masked and has a personal part all the same."
    return ""


def _check_ends(reading: ChainReport, begun: ChainLink, known: Sequence[ChainLink]) -> ChainReport:
    """What no single event tells: whether beginning, end and masking are accounted for."""
    for link in sorted(known, key=lambda each: each.sequence):
        if link.sequence > reading.last:
            return reading.broke(
                reading.last + 1,
                f"The chain ends here; it reached event {link.sequence} before.",
            )
    if any(link.sequence == begun.sequence and link.hash != begun.hash for link in known):
        return reading.broke(
            begun.sequence, "Another event stood here when the chain was looked at earlier."
        )
    anchor = Anchor.objects.filter(sequence=begun.sequence).first()
    if anchor is not None and not _is_recorded(anchor):
        return reading.broke(
            anchor.sequence + 1, "No retention run tells that the events before were deleted."
        )
    for sequence, masked in sorted(reading.masked_by.items()):
        told = AuditEvent.objects.filter(sequence=sequence, action=Action.PERSONAL_DATA_MASKED)
        details = told.values_list("details", flat=True).first() or {}
        if masked > details.get("events", 0):
            first = AuditEvent.objects.filter(masked_by=sequence).order_by("sequence").first()
            return reading.broke(
                first.sequence if first else sequence,
                f"More events were masked than event {sequence} tells of.",
            )
    return reading


def _is_recorded(anchor: Anchor) -> bool:
    """Whether the event of the retention run, which is in the chain, names this anchor's hash."""
    event = AuditEvent.objects.filter(
        sequence=anchor.recorded_by, action=Action.RETENTION_RUN
    ).first()
    details = event.details if event is not None else None
    return (
        details is not None
        and details.get("last") == anchor.sequence
        and details.get("hash") == anchor.hash
    )


def is_due(interval: float) -> bool:
    """Whether no verification has ended within some time.

    Args:
        interval: seconds. One that ended further ahead of now than this was dated by a clock that
            has been set since, and does not count.
    """
    now, wide = timezone.now(), timedelta(seconds=interval)
    lately = (now - wide, now + wide)
    return not Verification.objects.filter(finished_at__range=lately).exists()


def request_verification() -> Verification:
    """The verification that waits; a new one where none does."""
    try:
        with transaction.atomic():
            return Verification.objects.create(requested_at=timezone.now())
    except IntegrityError:
        waiting = Verification.objects.filter(result=Verification.Result.WAITING).first()
        # it may have ended just now; then it has done what was asked for
        return waiting or Verification.objects.latest("pk")


def run_verification(verification: Verification, known: Sequence[ChainLink] = ()) -> bool:
    """Verify the chain for a verification that waits, unless somebody is at it.

    Args:
        verification: the waiting one; it is filled in.
        known: further heads, as for `verify_chain`. The last verified head is known in any case.

    Returns:
        Whether it was done here.
    """
    now = timezone.now()
    free = Q(started_at=None) | stood_still("started_at", STALE_AFTER)
    waiting = Verification.objects.filter(free, pk=verification.pk, result="waiting")
    if not waiting.update(started_at=now):
        return False
    before = Verification.objects.filter(result="intact").order_by("-pk").first()
    if before is not None and before.last and before.last > trail.beginning().sequence:
        known = [*known, ChainLink(before.last, before.head)]
    reading = verify_chain(known)
    verification.result = (
        Verification.Result.INTACT if reading.broken_at is None else Verification.Result.BROKEN
    )
    verification.started_at, verification.finished_at = now, timezone.now()
    verification.first, verification.last = reading.first, reading.last
    verification.head, verification.events = reading.head, reading.events
    verification.broken_at, verification.problem = reading.broken_at, reading.problem
    verification.guards_missing = ", ".join(sorted(triggers.missing(connection)))[:300]
    verification.save()
    _forget_old()
    return True


def _forget_old() -> None:
    """Keep the newest, and the newest intact one, whose head is known to the next reading."""
    ended = Verification.objects.exclude(result="waiting").order_by("-pk")
    kept = list(ended.values_list("pk", flat=True)[:KEEP])
    kept += list(ended.filter(result="intact").values_list("pk", flat=True)[:1])
    ended.exclude(pk__in=kept).delete()
