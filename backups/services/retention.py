"""Retention: deletes old history and masks names as the policy says, in small steps.

Each deletion or masking begins with an audit event and a `RetentionRun`, which stores its progress.
The database allows runs to be deleted only while such a row is open for them (backups/guards.py).
If the process dies, another process continues the open row.
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
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from backups import heartbeats
from backups.choices import ACTIVE, TERMINAL, RunState, Trigger
from backups.models import (
    BackupRun,
    Batch,
    BatchItem,
    Export,
    Firing,
    Handling,
    RetentionKind,
    RetentionPolicy,
    RetentionRun,
    RunEvent,
    Schedule,
)
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
from dashboard.db import leases
from dashboard.db.prepared import Param, Prepared

from .runs import sealing
from .runs.posts import skew

logger = logging.getLogger(__name__)

CHUNK = 200  # runs per transaction: short, because on SQLite other writers wait for it
MOST_COUNTED = 10_000  # limit of the count in a preview
# Names are masked first: an interrupted masking is continued soon.
ORDER = (
    RetentionKind.PERSONAL,
    RetentionKind.SUCCESSES,
    RetentionKind.FAILURES,
    RetentionKind.AUDIT,
)
_STATES: dict[RetentionKind, list[RunState]] = {
    RetentionKind.SUCCESSES: [RunState.SUCCEEDED],
    RetentionKind.FAILURES: sorted(TERMINAL - {RunState.SUCCEEDED}),
}


@dataclass(frozen=True, slots=True)
class Preview:
    """What a retention run would do now.

    Attributes:
        kind: what it deletes or masks.
        days: the policy; None: keep forever.
        cutoff: older runs or events are affected; None where the policy has no days.
        count: runs or events that would be deleted or masked, at most MOST_COUNTED.
        more: there are more than that.
    """

    kind: RetentionKind
    days: int | None = None
    cutoff: datetime | None = None
    count: int = 0
    more: bool = False


def preview(policy: RetentionPolicy, now: datetime | None = None) -> list[Preview]:
    """Preview what a policy would delete or mask, for each kind.

    Args:
        policy: the policy in force, or a draft.
        now: the time from which days count back.
    """
    now = now or timezone.now()
    return [_preview(kind, policy.days(kind), now) for kind in RetentionKind]


def _preview(kind: RetentionKind, days: int | None, now: datetime) -> Preview:
    if days is None:
        return Preview(kind)
    cutoff = _cutoff(days, now)
    if kind is RetentionKind.AUDIT:
        return Preview(kind, days, cutoff, prunable(cutoff).events)
    if kind is RetentionKind.PERSONAL:
        runs = _up_to_limit(_maskable_runs(cutoff).filter(requested_at__gte=_masked_until()))
        return Preview(kind, days, cutoff, runs + maskable(cutoff), runs >= MOST_COUNTED)
    count = 0
    for state in _STATES[kind]:
        count += _up_to_limit(_deletable(state, cutoff))
    return Preview(kind, days, cutoff, min(count, MOST_COUNTED), count > MOST_COUNTED)


def fingerprint(policy: RetentionPolicy) -> str:
    """A short hash of a policy, with which a form says which version it was made from."""
    return hashlib.sha256(repr(sorted(policy.as_dict().items())).encode()).hexdigest()[:16]


def change(days: dict[str, int | None], *, actor: Actor, reason: str = "") -> bool:
    """Change the policy, and record that in the audit trail.

    Args:
        days: by the names of RetentionPolicy's columns.
        actor: for the audit trail.
        reason: free text.

    Returns:
        False if nothing changed.
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
    kind: RetentionKind, policy: RetentionPolicy, *, actor: Actor, automatic: bool = False
) -> RetentionRun | None:
    """Announce a retention run; `work` carries it out.

    Args:
        kind: what to delete or mask.
        policy: the policy in force.
        actor: for the audit trail.
        automatic: started by the schedule.

    Returns:
        The run; None if there is nothing to do, or one of the same kind is open.
    """
    found = _preview(kind, policy.days(kind), timezone.now())
    if found.cutoff is None or not found.count:
        return None
    if RetentionRun.objects.filter(kind=kind, finished_at=None).exists():
        return None
    action = Action.PERSONAL_DATA_MASKED if kind is RetentionKind.PERSONAL else Action.RETENTION_RUN
    details: dict[str, Any] = {"class": kind.value, "before": found.cutoff, "days": found.days}
    details["about"] = f"{found.count}+" if found.more else str(found.count)
    run = RetentionRun(kind=kind, cutoff=found.cutoff, automatic=automatic)
    try:
        with transaction.atomic():
            if kind is RetentionKind.AUDIT:
                return _announce_pruning(run, actor, details)
            run.told = record(action, actor=actor, details=details).sequence
            run.save()
    except IntegrityError:  # another process was faster
        return None
    return run


def work(run: RetentionRun) -> bool:
    """Carry out an announced retention run, or continue one whose process died.

    Returns:
        False if another process holds it.
    """
    now = timezone.now()
    free = Q(claimed_by="") | leases.expired("changed_at", RetentionRun.LOST_AFTER)
    mark = {"claimed_by": heartbeats.process_name()}
    lease = leases.claim(_unfinished(run), free, mark, changed_at=now)
    if lease is None:
        return False
    try:
        if run.kind == RetentionKind.PERSONAL:
            _mask(run, lease)
        elif run.kind == RetentionKind.AUDIT:
            delete_anchored()
        else:
            _delete(run, lease)
        ended = timezone.now()
        lease.release(finished_at=ended, changed_at=ended)
    except leases.LeaseLost:
        return False
    run.refresh_from_db()
    logger.info("retention: %s before %s: %d", run.kind, run.cutoff, run.done)
    return True


def continue_open() -> int:
    """Carry out the open retention runs that no process holds; returns the number completed."""
    return sum(work(run) for run in RetentionRun.objects.filter(finished_at=None).order_by("pk"))


def run_due() -> int:
    """The scheduled task: continue open retention runs, then start those that are due.

    A kind is due when its last retention run is `RETENTION_INTERVAL` seconds old.

    Returns:
        The number completed.
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


def deleted_before(kind: RetentionKind) -> datetime | None:
    """The cutoff up to which runs of a kind have been or are being deleted; None: none."""
    newest = _NEWEST.fetch(kind=kind.value)
    return newest[0].cutoff if newest else None


_NEWEST = Prepared(lambda: RetentionRun.objects.filter(kind=Param("kind")).order_by("-cutoff")[:1])


def _cutoff(days: int, now: datetime) -> datetime:
    return (now - timedelta(days=days)).replace(microsecond=0)


def _up_to_limit(found: BackupRunQuerySet) -> int:
    return found.order_by().values("pk")[: MOST_COUNTED + 1].count()


def _unfinished(run: RetentionRun) -> Any:
    return RetentionRun.objects.filter(pk=run.pk, finished_at=None)


def _deletable(state: RunState, cutoff: datetime) -> BackupRunQuerySet:
    # An active run may still be matched with a job of that time. Its neighbours are kept until
    # then, so that it is not matched with one of their jobs.
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
    """A time before which nearly all runs are masked; used only for counting."""
    masked = RetentionRun.objects.filter(kind=RetentionKind.PERSONAL).exclude(finished_at=None)
    newest = masked.order_by("-cutoff").first()
    longest = timedelta(days=30)
    return newest.cutoff - longest if newest else datetime.min.replace(tzinfo=UTC)


def _announce_pruning(
    run: RetentionRun, actor: Actor, details: dict[str, Any]
) -> RetentionRun | None:
    """Store audit event, anchor and retention run in one transaction."""

    def tell(found: Any) -> AuditEvent:
        facts = {"first": found.first, "last": found.last, "hash": found.hash}
        event = record(Action.RETENTION_RUN, actor=actor, details=details | facts)
        run.told = event.sequence
        run.save()
        return event

    run.done = move_anchor(run.cutoff, tell)
    if not run.done:
        return None
    _unfinished(run).update(done=run.done)
    return run


def _delete(run: RetentionRun, lease: leases.Lease) -> None:
    def chunk() -> list[int]:
        for state in _STATES[RetentionKind(run.kind)]:  # one state at a time, each by its index
            oldest = _deletable(state, run.cutoff).order_by("requested_at", "pk")
            if pks := list(oldest.values_list("pk", flat=True)[:CHUNK]):
                return pks
        return []

    sealing.seal_all()  # a run that was gone before its seal would look like one that was altered
    _in_chunks(lease, chunk, lambda pks: BackupRun.objects.filter(pk__in=pks).delete())
    kept = BatchItem.objects.filter(batch=OuterRef("pk"), run__isnull=False)
    Batch.objects.filter(~Exists(kept), finished_at__lt=run.cutoff).delete()


def _mask(run: RetentionRun, lease: leases.Lease) -> None:
    place: list[Any] = [None]

    def chunk() -> list[int]:
        todo = _maskable_runs(run.cutoff).order_by("requested_at", "pk")
        if place[0] is not None:  # skip rows that are masked already
            todo = todo.filter(requested_at__gte=place[0])
        rows = list(todo.values_list("pk", "requested_at")[:CHUNK])
        if rows:
            place[0] = rows[-1][1]
        return [pk for pk, _at in rows]

    _in_chunks(lease, chunk, lambda pks: _mask_runs(run, pks))
    Export.objects.filter(started_at__lt=run.cutoff).exclude(finished_at=None).update(
        owner=None, owner_name=""
    )
    Batch.objects.filter(requested_at__lt=run.cutoff).exclude(finished_at=None).update(
        requested_by=None, requested_by_name="", source_ip=None, cancelled_by_name=""
    )
    Handling.objects.filter(made_at__lt=run.cutoff).update(made_by_name="", ended_by_name="")
    Firing.objects.filter(fired_at__lt=run.cutoff).exclude(by_name="").update(by_name="")
    # who owns a schedule that still exists is no history
    Schedule.objects.filter(deleted_at__lt=run.cutoff).update(owner=None, owner_name="")
    told = AuditEvent.objects.get(sequence=run.told)
    events = mask_events(run.cutoff, None, lambda _count: told)
    _unfinished(run).update(done=F("done") + events)


def _mask_runs(run: RetentionRun, pks: list[int]) -> None:
    BackupRun.objects.filter(pk__in=pks).update(
        requested_by=None, requested_by_name="", source_ip=None, masked_by=run.told
    )
    told = RunEvent.objects.filter(run__in=pks).exclude(actor="").values_list("pk", "actor")
    people = [pk for pk, actor in told if not heartbeats.is_process(actor)]
    RunEvent.objects.filter(pk__in=people).update(actor="")


def _in_chunks(
    lease: leases.Lease, chunk: Callable[[], list[int]], do: Callable[[list[int]], Any]
) -> None:
    """Process one chunk after the other. Raises LeaseLost."""
    while pks := chunk():
        began = time.monotonic()
        with transaction.atomic():
            lease.renew(done=F("done") + len(pks), changed_at=timezone.now())
            do(pks)
        # pause for as long as it took, so that others can write where there is one writer
        time.sleep(min(time.monotonic() - began, 1.0))
