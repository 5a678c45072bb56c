"""Verification of the hash chain."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.module_loading import import_string

from dashboard.db import leases, triggers
from dashboard.db.leases import expired

from . import trail
from .hashing import RowHashes, read_rows
from .models import Action, Anchor, AuditEvent, Verification
from .trail import ChainLink

CHUNK = 2_000  # events per query
STALE_AFTER = timedelta(hours=1)  # an unfinished verification is then started again
KEEP = 50  # verifications that are stored


@dataclass
class ChainReport:
    """The result of verifying the chain.

    Attributes:
        first: number of the oldest event; 0 if there is none.
        last: number of the last intact event.
        head: hash of the last intact event.
        events: number of intact events.
        broken_at: number of the first broken or missing event; None if the chain is intact.
        problem: what is wrong with that event.
        masked_by: number of masked events for each event that records a masking.
    """

    first: int = 0
    last: int = 0
    head: str = ""
    events: int = 0
    broken_at: int | None = None
    problem: str = ""
    masked_by: Counter[int] = field(default_factory=Counter, repr=False)

    def broke(self, sequence: int, problem: str) -> ChainReport:
        """Record where the chain is broken."""
        self.broken_at, self.problem = sequence, problem
        return self


@dataclass(frozen=True, slots=True)
class RecordsReport:
    """The result of comparing records with their seals in the chain.

    Attributes:
        records: number of compared records.
        problems: sentences, each of which names the record.
        more: number of further problems.
        pending: number of records that have been waiting for their seal for over a minute.
    """

    records: int = 0
    problems: list[str] = field(default_factory=list)
    more: int = 0
    pending: int = 0

    @property
    def in_words(self) -> str:
        """All problems; "" if there are none."""
        more = [f"{self.more} more"] if self.more else []
        return "; ".join([*self.problems, *more])


def verify_records(after: int | None = None) -> RecordsReport:
    """Compare records with their seals: the checks in AUDIT_RECORD_CHECKS.

    Args:
        after: number of the last event that was verified before: what was sealed until then is not
            compared again. None: compare everything.
    """
    reports = [import_string(path)(after) for path in settings.AUDIT_RECORD_CHECKS]
    return RecordsReport(
        sum(each.records for each in reports),
        [problem for each in reports for problem in each.problems],
        sum(each.more for each in reports),
        sum(each.pending for each in reports),
    )


def verify_chain(known: Sequence[ChainLink] = (), *, after: ChainLink | None = None) -> ChainReport:
    """Verify every event from the anchor, or the first event, to the newest.

    Args:
        after: an event that was verified before: it and newer ones are verified. None: all.
        known: earlier heads, as from the log or the last verification. Each must still be in the
            chain; this detects that the newest events were removed or the chain was rebuilt.
            Several can have the same number. Heads of events that retention deleted cannot be
            checked, except the last deleted one, whose hash is stored.

    Returns:
        The intact range and the first break. Events added or deleted meanwhile do not affect it.
    """
    goal = trail.head()
    place = begun = trail.beginning()
    if after is not None and after.sequence > place.sequence:
        if (link := _link_before(after)) is None:
            return ChainReport().broke(after.sequence, "The event is missing.")
        place = begun = link
    reading = ChainReport(first=place.sequence + 1 if goal.sequence else 0, last=place.sequence)
    wanted: defaultdict[int, set[str]] = defaultdict(set)
    for link in known:
        wanted[link.sequence].add(link.hash)
    while place.sequence < goal.sequence:
        chunk = read_rows(place.sequence, goal.sequence, CHUNK)
        if not chunk or chunk[0].sequence != place.sequence + 1:
            anchor = trail.beginning()
            if anchor.sequence <= place.sequence:
                return reading.broke(place.sequence + 1, "The event is missing.")
            place = begun = anchor  # retention deleted events meanwhile
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


def _link_before(link: ChainLink) -> ChainLink | None:
    event = AuditEvent.objects.filter(sequence=link.sequence).first()
    return None if event is None else ChainLink(link.sequence - 1, event.previous_hash)


def _problem(event: RowHashes, before: ChainLink, known: Set[str]) -> str:
    """Return what is wrong with an event at its place; "" if nothing is."""
    if event.sequence != before.sequence + 1:
        return "The event is missing."
    if event.previous_hash != before.hash:
        return "Its previous hash does not match the event before it."
    if event.content_hash != event.hash:
        return "Its content does not match its hash."
    if known - {event.hash}:
        return "An earlier head recorded a different event here."
    if event.masked_by is None:
        if event.personal_digest != event.personal:
            return "Its personal data does not match its digest."
    elif event.has_personal:
        return "It is marked as masked but has personal data."
    return ""


def _check_ends(reading: ChainReport, begun: ChainLink, known: Sequence[ChainLink]) -> ChainReport:
    """Check what no single event shows: the start and the end of the chain, and the masking."""
    for link in sorted(known, key=lambda each: each.sequence):
        if link.sequence > reading.last:
            return reading.broke(
                reading.last + 1,
                f"The chain ends here; earlier it reached event {link.sequence}.",
            )
    if any(link.sequence == begun.sequence and link.hash != begun.hash for link in known):
        return reading.broke(begun.sequence, "An earlier head recorded a different event here.")
    anchor = Anchor.objects.filter(sequence=begun.sequence).first()
    if anchor is not None and not _is_recorded(anchor):
        return reading.broke(
            anchor.sequence + 1, "No retention run records the deletion of the events before."
        )
    for sequence, masked in sorted(reading.masked_by.items()):
        told = AuditEvent.objects.filter(sequence=sequence, action=Action.PERSONAL_DATA_MASKED)
        details = told.values_list("details", flat=True).first() or {}
        if masked > details.get("events", 0):
            first = AuditEvent.objects.filter(masked_by=sequence).order_by("sequence").first()
            return reading.broke(
                first.sequence if first else sequence,
                f"More events are masked than event {sequence} records.",
            )
    return reading


def _is_recorded(anchor: Anchor) -> bool:
    """Return whether the event of the retention run records the hash of this anchor."""
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
    """Return whether no verification has ended within an interval.

    Args:
        interval: seconds. A verification that ended further in the future was dated by a wrong
            clock and is ignored.
    """
    now, wide = timezone.now(), timedelta(seconds=interval)
    lately = (now - wide, now + wide)
    return not Verification.objects.filter(finished_at__range=lately).exists()


def request_verification() -> Verification:
    """Return the waiting verification, or a new one."""
    try:
        with transaction.atomic():
            return Verification.objects.create(requested_at=timezone.now())
    except IntegrityError:
        waiting = Verification.objects.filter(result=Verification.Result.WAITING).first()
        # it may have just ended, which is as good
        return waiting or Verification.objects.latest("pk")


def run_verification(
    verification: Verification, known: Sequence[ChainLink] = (), *, complete: bool = True
) -> bool:
    """Run a waiting verification, unless another process is running it.

    Args:
        verification: the waiting one; its result is stored.
        known: further heads, as for `verify_chain`. The last verified head is always checked.
        complete: verify everything. False: only what is new, if the last verification found
            everything intact.

    Returns:
        False if another process is running it.
    """
    now = timezone.now()
    free = Q(started_at=None) | expired("started_at", STALE_AFTER)
    waiting = Verification.objects.filter(pk=verification.pk, result="waiting")
    if leases.claim(waiting, free, {"started_at": now}) is None:
        return False
    before = Verification.objects.filter(result="intact").order_by("-pk").first()
    if before is not None and before.last and before.last > trail.beginning().sequence:
        known = [*known, ChainLink(before.last, before.head)]
    after = None if complete else _intact_until(before)
    reading = verify_chain(known, after=after)
    records = verify_records(None if after is None else after.sequence)
    intact = reading.broken_at is None and not records.problems
    verification.result = Verification.Result.INTACT if intact else Verification.Result.BROKEN
    verification.complete = after is None
    verification.records, verification.pending = records.records, records.pending
    verification.started_at, verification.finished_at = now, timezone.now()
    verification.first, verification.last = reading.first, reading.last
    verification.head, verification.events = reading.head, reading.events
    verification.broken_at = reading.broken_at
    verification.problem = (reading.problem or records.in_words)[:2000]
    verification.guards_missing = ", ".join(sorted(triggers.missing(connection)))[:300]
    verification.save()
    _forget_old()
    return True


def _intact_until(before: Verification | None) -> ChainLink | None:
    """Return the last verified event, if the last verification found everything intact."""
    ended = Verification.objects.exclude(result="waiting").order_by("-pk").first()
    if before is None or before != ended or not before.last:
        return None
    return ChainLink(before.last, before.head)


def _forget_old() -> None:
    """Delete old verifications, except the newest and the last intact one, whose head is needed."""
    ended = Verification.objects.exclude(result="waiting").order_by("-pk")
    kept = list(ended.values_list("pk", flat=True)[:KEEP])
    kept += list(ended.filter(result="intact").values_list("pk", flat=True)[:1])
    ended.exclude(pk__in=kept).delete()
