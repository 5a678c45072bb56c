"""Deleting what is older than the policy says, and masking names: announced, in small steps.

Each deletion or masking begins with an event of the audit trail and a row that tells how far it
came. The database lets runs go only while such a row is open for them (backups/guards.py). A
process that dies in between leaves an open row, and whoever comes next continues it.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.utils import timezone

from backups import heartbeats
from backups.choices import ACTIVE, TERMINAL, RunState, Trigger
from backups.models import BackupRun, Export, Kind, RetentionPolicy, RetentionRun, RunEvent
from backups.models.run import BackupRunQuerySet
from dashboard.audit.models import Action, AuditEvent
from dashboard.audit.retention import (
    delete_anchored,
    mask_events,
    maskable,
    move_anchor,
    prunable,
)
from dashboard.audit.trail import Actor, record
from dashboard.db.concurrency import stood_still

from .runs.posts import skew

logger = logging.getLogger(__name__)

CHUNK = 200  # runs of one transaction: short, since on SQLite everybody else waits for it
MOST_COUNTED = 10_000  # a preview counts no further
# Names go first: what is deleted afterwards needs no masking, and an interrupted masking is soon
# continued.
ORDER = (Kind.PERSONAL, Kind.SUCCESSES, Kind.FAILURES, Kind.AUDIT)
_STATES: dict[Kind, list[RunState]] = {
    Kind.SUCCESSES: [RunState.SUCCEEDED],
    Kind.FAILURES: sorted(TERMINAL - {RunState.SUCCEEDED}),
}


@dataclass(frozen=True, slots=True)
class Preview:
    """What a retention run would do now.

    Attributes:
        kind: what it is about.
        days: the policy; None: nothing ever goes.
        cutoff: what is older goes; None where the policy has no days.
        count: how many runs or events would be deleted or masked, at most MOST_COUNTED.
        more: there are more than were counted.
    """

    kind: Kind
    days: int | None = None
    cutoff: datetime | None = None
    count: int = 0
    more: bool = False


def preview(policy: RetentionPolicy, now: datetime | None = None) -> list[Preview]:
    """What would go by a policy, one for each kind.

    Args:
        policy: the one in force, or one that somebody thinks of.
        now: the moment that days count back from.
    """
    now = now or timezone.now()
    return [_preview(kind, policy.days(kind), now) for kind in Kind]


def _preview(kind: Kind, days: int | None, now: datetime) -> Preview:
    if days is None:
        return Preview(kind)
    cutoff = _cutoff(days, now)
    if kind is Kind.AUDIT:
        return Preview(kind, days, cutoff, prunable(cutoff).events)
    if kind is Kind.PERSONAL:
        runs = _up_to_limit(_maskable_runs(cutoff).filter(requested_at__gte=_masked_until()))
        return Preview(kind, days, cutoff, runs + maskable(cutoff), runs >= MOST_COUNTED)
    count = 0
    for state in _STATES[kind]:
        count += _up_to_limit(_deletable(state, cutoff))
    return Preview(kind, days, cutoff, min(count, MOST_COUNTED), count > MOST_COUNTED)


def fingerprint(policy: RetentionPolicy) -> str:
    """Tells two policies apart: a form says with it which one it was made from."""
    return hashlib.sha256(repr(sorted(policy.as_dict().items())).encode()).hexdigest()[:16]


def change(days: dict[str, int | None], *, actor: Actor, reason: str = "") -> bool:
    """Store another policy, with who, before and after in the audit trail.

    Args:
        days: by the names of RetentionPolicy's columns.
        actor: who wants it.
        reason: why.

    Returns:
        False where nothing is different.
    """
    with transaction.atomic():
        policy = RetentionPolicy.objects.select_for_update().filter(pk=1).first()
        before = (policy or RetentionPolicy(pk=1)).as_dict()
        if before == days:
            return False
        RetentionPolicy.objects.update_or_create(pk=1, defaults=days)
        record(Action.RETENTION_CHANGED, actor=actor, reason=reason, before=before, after=days)
    return True


def start(
    kind: Kind, policy: RetentionPolicy, *, actor: Actor, automatic: bool = False
) -> RetentionRun | None:
    """Announce a retention run; `work` then does it.

    Returns:
        The announced one; None where there is nothing to do, or one of the kind is under way.
    """
    found = _preview(kind, policy.days(kind), timezone.now())
    if found.cutoff is None or not found.count:
        return None
    if RetentionRun.objects.filter(kind=kind, finished_at=None).exists():
        return None
    action = Action.PERSONAL_DATA_MASKED if kind is Kind.PERSONAL else Action.RETENTION_RUN
    details: dict[str, Any] = {"class": kind.value, "before": found.cutoff, "days": found.days}
    details["about"] = f"{found.count}+" if found.more else str(found.count)
    run = RetentionRun(kind=kind, cutoff=found.cutoff, automatic=automatic)
    try:
        with transaction.atomic():
            if kind is Kind.AUDIT:
                return _announce_pruning(run, actor, details)
            run.told = record(action, actor=actor, details=details).sequence
            run.save()
    except IntegrityError:  # somebody was faster
        return None
    return run


def work(run: RetentionRun) -> bool:
    """Do an announced retention run, or continue one whose process died.

    Returns:
        False where another process is at it.
    """
    me, now = heartbeats.process_name(), timezone.now()
    free = Q(claimed_by="") | stood_still("changed_at", RetentionRun.LOST_AFTER)
    if not _mine(run).filter(free).update(claimed_by=me, changed_at=now):
        return False
    run.claimed_by = me
    if run.kind == Kind.PERSONAL:
        done = _mask(run)
    elif run.kind == Kind.AUDIT:
        delete_anchored()
        done = True
    else:
        done = _delete(run)
    if done:
        ended = timezone.now()
        _mine(run).filter(claimed_by=me).update(finished_at=ended, changed_at=ended)
        run.refresh_from_db()
        logger.info("retention: %s before %s: %d", run.kind, run.cutoff, run.done)
    return done


def continue_open() -> int:
    """Do whatever was announced and is not under way; returns how many were done."""
    return sum(work(run) for run in RetentionRun.objects.filter(finished_at=None).order_by("pk"))


def run_due() -> int:
    """What the schedule does: continue what is open, then start what is due.

    A kind is due when its last retention run is `RETENTION_INTERVAL` seconds old.

    Returns:
        How many were done.
    """
    done = continue_open()
    if settings.RETENTION_INTERVAL <= 0:
        return done
    policy = RetentionPolicy.current()
    recent = timezone.now() - timedelta(seconds=settings.RETENTION_INTERVAL)
    for kind in ORDER:
        if RetentionRun.objects.filter(kind=kind, started_at__gt=recent).exists():
            continue
        run = start(kind, policy, actor=Actor.process("retention"), automatic=True)
        if run is not None:
            done += work(run)
    return done


def deleted_before(kind: Kind) -> datetime | None:
    """Up to where runs of a class were deleted, or are being deleted; None: nowhere."""
    newest = RetentionRun.objects.filter(kind=kind).order_by("-cutoff").first()
    return newest.cutoff if newest else None


def _cutoff(days: int, now: datetime) -> datetime:
    return (now - timedelta(days=days)).replace(microsecond=0)


def _up_to_limit(found: BackupRunQuerySet) -> int:
    return found.order_by().values("pk")[: MOST_COUNTED + 1].count()


def _mine(run: RetentionRun) -> Any:
    return RetentionRun.objects.filter(pk=run.pk, finished_at=None)


def _deletable(state: RunState, cutoff: datetime) -> BackupRunQuerySet:
    # A run that is not settled yet may still look among the jobs of that time: as long as its
    # neighbours hold theirs, it cannot take one of them for its own.
    unsettled = BackupRun.objects.filter(state__in=ACTIVE, requested_at__lt=cutoff + 2 * skew())
    return BackupRun.objects.filter(
        Q(job_finished_at=None) | Q(job_finished_at__lt=cutoff),
        state=state,
        requested_at__lt=cutoff,
        finished_at__lt=cutoff,
    ).exclude(cluster__in=unsettled.values("cluster"))


def _maskable_runs(cutoff: datetime) -> BackupRunQuerySet:
    return BackupRun.objects.filter(
        requested_at__lt=cutoff, masked_by=None, state__in=TERMINAL
    ).exclude(trigger=Trigger.CLOUD)


def _masked_until() -> datetime:
    """Before this all but a few runs are masked; only for counting."""
    masked = RetentionRun.objects.filter(kind=Kind.PERSONAL).exclude(finished_at=None)
    newest = masked.order_by("-cutoff").first()
    longest = timedelta(days=30)
    return newest.cutoff - longest if newest else datetime.min.replace(tzinfo=UTC)


def _announce_pruning(
    run: RetentionRun, actor: Actor, details: dict[str, Any]
) -> RetentionRun | None:
    """The audit trail has a door of its own: the event, its anchor and our row go together."""

    def tell(found: Any) -> AuditEvent:
        facts = {"first": found.first, "last": found.last, "hash": found.hash}
        event = record(Action.RETENTION_RUN, actor=actor, details=details | facts)
        run.told = event.sequence
        run.save()
        return event

    run.done = move_anchor(run.cutoff, tell)
    if not run.done:
        return None
    _mine(run).update(done=run.done)
    return run


def _delete(run: RetentionRun) -> bool:
    def chunk() -> list[int]:
        for state in _STATES[Kind(run.kind)]:  # one state after the other, each by its index
            oldest = _deletable(state, run.cutoff).order_by("requested_at", "pk")
            if pks := list(oldest.values_list("pk", flat=True)[:CHUNK]):
                return pks
        return []

    return _in_chunks(run, chunk, lambda pks: BackupRun.objects.filter(pk__in=pks).delete())


def _mask(run: RetentionRun) -> bool:
    place: list[Any] = [None]

    def chunk() -> list[int]:
        todo = _maskable_runs(run.cutoff).order_by("requested_at", "pk")
        if place[0] is not None:  # what was masked is not read again and again
            todo = todo.filter(requested_at__gte=place[0])
        rows = list(todo.values_list("pk", "requested_at")[:CHUNK])
        if rows:
            place[0] = rows[-1][1]
        return [pk for pk, _at in rows]

    if not _in_chunks(run, chunk, lambda pks: _mask_runs(run, pks)):
        return False
    Export.objects.filter(started_at__lt=run.cutoff).exclude(finished_at=None).update(
        owner=None, owner_name=""
    )
    told = AuditEvent.objects.get(sequence=run.told)
    events = mask_events(run.cutoff, None, lambda _count: told)
    _mine(run).update(done=F("done") + events)
    return True


def _mask_runs(run: RetentionRun, pks: list[int]) -> None:
    BackupRun.objects.filter(pk__in=pks).update(
        requested_by=None, requested_by_name="", source_ip=None, masked_by=run.told
    )
    told = RunEvent.objects.filter(run__in=pks).exclude(actor="").values_list("pk", "actor")
    people = [pk for pk, actor in told if not heartbeats.is_process(actor)]
    RunEvent.objects.filter(pk__in=people).update(actor="")


def _in_chunks(
    run: RetentionRun, chunk: Callable[[], list[int]], do: Callable[[list[int]], Any]
) -> bool:
    """Do something with one chunk after the other; False where the claim was lost on the way."""
    while pks := chunk():
        began = time.monotonic()
        with transaction.atomic():
            now = timezone.now()
            held = _mine(run).filter(claimed_by=run.claimed_by)
            if not held.update(done=F("done") + len(pks), changed_at=now):
                return False
            do(pks)
        # as long as it took: others have their turn, also where there is one writer
        time.sleep(min(time.monotonic() - began, 1.0))
    return True
