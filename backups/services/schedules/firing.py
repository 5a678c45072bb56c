"""Fire schedules: each slot once, whichever process ticks and whatever the clock does.

A slot is one transaction: it locks the schedule, moves its next slot on, and stores the firing and
its batch. A process that dies in between leaves nothing, and the next tick does it again.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from datetime import datetime, timedelta

from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Q
from django.http import QueryDict
from django.utils import timezone
from django.utils.translation import override

from backups import instance
from backups.choices import (
    CatchUp,
    Cause,
    FiringResult,
    NoticeKind,
    ScheduledWork,
    Trigger,
    WhenNotReady,
)
from backups.models import Batch, Firing, Project, Schedule
from backups.services.batches.making import BatchProblem, make_batch
from backups.services.batches.selecting import Preview, Selection, of_filter, of_rows, preview
from backups.services.notifications.outbox import announce
from backups.services.runs.requests import Requester
from dashboard.accounts.access import Permission, may, may_somewhere, permitted_q
from dashboard.accounts.models import User
from dashboard.audit.models import Action
from dashboard.audit.trail import Actor, record

from .reporting import ReadyReport, prepare_report, queue_report
from .timing import Timing

logger = logging.getLogger(__name__)

LATE = timedelta(minutes=10)  # a slot is on time until then; afterwards it is caught up or not
SLACK = timedelta(seconds=5)  # tolerated difference between the clocks of several machines
MOST = 20  # schedules of a tick


# --- when ----------------------------------------------------------------------------------------


def timing_of(schedule: Schedule) -> Timing:
    """When a schedule fires."""
    return Timing(schedule.tz, schedule.cron, schedule.interval, schedule.anchor)


def plan(schedule: Schedule, after: datetime) -> None:
    """Set the next slot of a schedule that is on, without storing it.

    Args:
        schedule: to change.
        after: the slot comes after this moment.
    """
    slot = timing_of(schedule).next(after)
    schedule.next_slot = slot
    schedule.next_at = slot + jitter(schedule, slot) if slot else None
    schedule.planned_at = timezone.now()


PLANNED = ("next_slot", "next_at", "planned_at")


def jitter(schedule: Schedule, slot: datetime) -> timedelta:
    """How long after a slot a schedule fires: always the same for the same slot."""
    if not schedule.jitter:
        return timedelta()
    chance = hashlib.sha256(f"{schedule.pk} {slot.isoformat()}".encode()).digest()
    return timedelta(seconds=int.from_bytes(chance[:4], "big") % (schedule.jitter + 1))


def fire_due() -> int:
    """Fire what is due; called once a second by the process that ticks.

    Returns:
        The number of firings.
    """
    now = timezone.now()
    # planned later than now: the clock was set back since, and what was planned may be hours away
    due = Schedule.objects.filter(
        Q(next_at__lte=now) | Q(planned_at__gt=now + SLACK), next_at__isnull=False
    )
    pks = list(due.order_by("next_at").values_list("pk", flat=True)[:MOST])
    if not pks or instance.problem():  # a copied database fires nothing
        return 0
    fired = 0
    unreachable: Exception | None = None
    for pk in pks:
        try:
            fired += _fire_slot(pk, ready=_report_of(pk))
        except (OperationalError, InterfaceError) as error:
            if not connection.is_usable():
                raise
            unreachable = error  # a lock of this row, or a timeout: the next tick tries it again
        except Exception as error:  # of one schedule: the others must not wait for it
            logger.exception("schedule %d: it cannot be fired", pk)
            fired += _note_failure(pk, error)
    if unreachable is not None:
        raise unreachable
    return fired


def _note_failure(pk: int, error: Exception) -> bool:
    """Store that a slot failed, and go on with the next; switch off what has no next slot."""
    try:
        return _fire_slot(pk, broken=error)
    except (OperationalError, InterfaceError):
        raise
    except Exception as again:  # its zone is not known any more, for example
        why = f"Its next time cannot be computed ({type(again).__name__})."
        off = {"is_on": False, "next_slot": None, "next_at": None, "stopped_reason": why}
        return bool(Schedule.objects.filter(pk=pk).update(**off))


def _report_of(pk: int) -> ReadyReport | str | None:
    """Make the report of a slot that is due, before the transaction in which it fires."""
    rows = Schedule.objects.select_related("owner", "report_channel")
    schedule = rows.filter(pk=pk, work=ScheduledWork.REPORT, next_at__lte=timezone.now()).first()
    if schedule is None or schedule.owner is None or schedule.next_slot is None:
        return None
    if owner_problem(schedule):
        return None
    slot = _newest_due(schedule, schedule.next_slot, timezone.now())
    return prepare_report(schedule, schedule.owner, slot)


def _fire_slot(
    pk: int, broken: Exception | None = None, ready: ReadyReport | str | None = None
) -> bool:
    with transaction.atomic():
        rows = Schedule.objects.select_for_update(of=("self",)).select_related("owner")
        schedule = rows.filter(pk=pk, next_at__isnull=False).first()
        # the clock is read when nobody else can fire it any more
        now = timezone.now()
        if schedule is None or schedule.next_slot is None or schedule.next_at is None:
            return False
        planned = schedule.next_at
        if schedule.planned_at is not None and schedule.planned_at > now + SLACK:
            _replan(schedule, now)
            return False
        if planned > now:
            return False
        slot = _newest_due(schedule, schedule.next_slot, now)
        first = schedule.next_slot
        plan(schedule, slot)
        moved = Schedule.objects.filter(pk=pk, next_at=planned).update(
            **{name: getattr(schedule, name) for name in PLANNED}
        )
        if not moved or Firing.objects.filter(schedule=schedule, slot=slot).exists():
            return False  # before the clock was set back
        firing = Firing(schedule=schedule, slot=slot, fired_at=now, result=FiringResult.FIRED)
        if slot != first:
            firing.note = f"Also for slots since {first:%Y-%m-%d %H:%M} UTC: nothing fired them."
        if broken is not None:
            firing.result = FiringResult.FAILED
            firing.note = f"{type(broken).__name__}: the worker's log has the details."
            _store(firing)
            return True
        if now - slot - jitter(schedule, slot) > LATE:
            firing.result = FiringResult.CAUGHT_UP
            if schedule.catch_up == CatchUp.NONE:
                _skip(firing, "No worker was running when it was due, and it does not catch up.")
                return True
        owner, why = schedule.owner, owner_problem(schedule)
        if owner is None or why:
            _stop(schedule, firing, why)
        else:
            name = owner.get_username()
            asks = Requester(name, Trigger.SCHEDULE, user=owner, reason=schedule.reason)
            _fire(firing, owner, asks, ready)
    return True


def _newest_due(schedule: Schedule, first: datetime, now: datetime) -> datetime:
    """The newest slot whose time has come, jitter included: earlier ones fire with it."""
    timing = timing_of(schedule)
    newest = timing.latest(first, now)
    if newest > first and newest + jitter(schedule, newest) > now:
        return timing.latest(first, newest - timedelta(microseconds=1))
    return newest


def _replan(schedule: Schedule, now: datetime) -> None:
    """Plan again after the clock was set back: the first slot from now on that has not fired.

    An interval is counted from now on, so that it does not wait until the clock has reached the
    slots that had fired before.
    """
    if schedule.interval:
        schedule.anchor = now
    plan(schedule, now)
    fired = set(schedule.firings.filter(slot__gt=now).values_list("slot", flat=True))
    while schedule.next_slot in fired:
        plan(schedule, schedule.next_slot)
    schedule.save(update_fields=["anchor", *PLANNED])
    logger.warning(
        "the clock was set back: schedule %d fires at %s next", schedule.pk, schedule.next_at
    )


# --- what ----------------------------------------------------------------------------------------


def selection_of(schedule: Schedule, user: User | None) -> Selection:
    """The clusters of a schedule that a user may see now.

    Args:
        schedule: whose filter, or clusters that were picked by hand.
        user: None for all; an invalid filter selects nothing.
    """
    if schedule.picked:
        return of_rows(schedule.picked, user)
    return of_filter(QueryDict(schedule.query), user)[0]


def projects_of(selection: Selection) -> set[int]:
    """The keys of the projects of a selection's clusters."""
    return set(selection.clusters.order_by().values_list("project_id", flat=True).distinct())


def owner_problem(schedule: Schedule) -> str:
    """Say in English why a schedule must stop: its owner may not back up its clusters; or "".

    Without names of people, which nothing could mask there, or of projects, which not everybody
    who sees the schedule may see.
    """
    owner = schedule.owner
    if owner is None:
        return "The account of its owner was deleted."
    if not owner.is_active:
        return "The account of its owner was deactivated."
    matching = projects_of(selection_of(schedule, None))
    for project in schedule.projects.filter(pk__in=matching):
        if not may(owner, Permission.RUN, project):
            return "Its owner may no longer back up clusters of one of its projects."
    if not may_somewhere(owner, Permission.RUN):
        return "Its owner may no longer back up any cluster."
    return ""


def _remember_projects(schedule: Schedule, selection: Selection, owner: User) -> None:
    """Store in which projects the clusters of a schedule are, as far as its owner may back up."""
    matching = projects_of(selection)
    if matching:  # none: those that it had are kept
        permitted = permitted_q(owner, Permission.RUN, "")
        schedule.projects.set(Project.objects.filter(permitted, pk__in=matching))


def run_now(schedule: Schedule, user: User, requester: Requester) -> Firing:
    """Fire a schedule now, on or off, with the permissions of the one who asks for it.

    Its clusters are those of the projects that it had when it was saved or fired last.

    Args:
        schedule: not deleted; its timing is not changed.
        user: who asks.
        requester: the same with what the batch stores of them.

    Returns:
        The firing, which may be skipped.

    Raises:
        Schedule.DoesNotExist: it was deleted meanwhile.
    """
    slot, ready = timezone.now(), None
    with override("en"):  # stored texts are English
        if schedule.work == ScheduledWork.REPORT and not instance.problem():
            ready = prepare_report(schedule, user, slot)
    with transaction.atomic(), override("en"):
        rows = Schedule.objects.existing().select_for_update(of=("self",))
        schedule = rows.get(pk=schedule.pk)
        firing = Firing(
            schedule=schedule,
            slot=slot,
            result=FiringResult.FIRED,
            by_hand=True,
            by_name=requester.name[:255],
        )
        if why := instance.problem():
            _skip(firing, why)
        else:
            _fire(firing, user, requester, ready)
    return firing


def _fire(
    firing: Firing, user: User, requester: Requester, ready: ReadyReport | str | None
) -> None:
    """Store a firing with its batch, or why it is skipped; the user's permissions apply."""
    schedule = firing.schedule
    if schedule.work == ScheduledWork.REPORT:
        _store(firing)
        if why := queue_report(firing, user, ready):
            _skip(firing, why)
        return
    still = Batch.objects.open().filter(firing__schedule=schedule).order_by("pk").first()
    if still is not None and not schedule.overlap:
        _skip(firing, f"Batch {still.pk} of an earlier firing is still open.")
        return
    selection = selection_of(schedule, user)
    if firing.by_hand:  # of somebody who may see more than its owner
        within = selection.clusters.filter(project__in=schedule.projects.order_by().values("pk"))
        selection = replace(selection, clusters=within)
    else:
        _remember_projects(schedule, selection, user)
    found = preview(selection)
    policy = WhenNotReady(schedule.when_not_ready)
    wait = schedule.wait_minutes if policy is WhenNotReady.WAIT else 0
    anyway = policy is WhenNotReady.ANYWAY
    firing.matched = found.total
    firing.requested = found.requested(anyway=anyway, wait=wait > 0)
    _store(firing)
    try:
        with transaction.atomic():
            make_batch(selection, requester, anyway=anyway, wait_minutes=wait, firing=firing)
    except BatchProblem as problem:
        _skip(firing, _why_not(found) or str(problem))


def _why_not(found: Preview) -> str:
    """Why nothing of a selection can be requested; "" for other reasons."""
    if found.is_too_large:
        return ""
    if not found.total:
        return "No cluster matches its selection."
    causes = [f"{Cause(cause).label} ({n})" for cause, n in found.skipped]
    return f"None of its {found.total} clusters can be backed up: {', '.join(causes)}."


def _store(firing: Firing) -> None:
    firing.awaits_ping = bool(firing.schedule.ping_sealed)
    firing.note = firing.note[:500]
    firing.save()


def _skip(firing: Firing, why: str) -> None:
    firing.result, firing.requested = FiringResult.SKIPPED, 0
    firing.note = why
    _store(firing)
    _announce(NoticeKind.SCHEDULE_SKIPPED, firing, f"“{firing.schedule}” was skipped. {why}")


def _stop(schedule: Schedule, firing: Firing, why: str) -> None:
    """Switch off a schedule whose owner may not have it any more."""
    _skip(firing, why)
    switch_off(schedule, why, Actor.process("schedules"))
    _announce(NoticeKind.SCHEDULE_STOPPED, firing, f"“{schedule}” has stopped. {why}")


def switch_off(schedule: Schedule, why: str, actor: Actor) -> None:
    """Switch off a schedule for a reason that its page shows; in the caller's transaction.

    Args:
        schedule: that is on; changed and stored.
        why: a sentence in English without names of people or projects.
        actor: for the audit trail.
    """
    before = schedule.recorded()
    schedule.is_on, schedule.next_slot, schedule.next_at = False, None, None
    schedule.stopped_reason = why[:500]
    schedule.save(update_fields=["is_on", "stopped_reason", *PLANNED])
    record(
        Action.SCHEDULE_STOPPED,
        actor=actor,
        target=schedule,
        project=only_project(schedule),
        reason=why,
        before=before,
        after=schedule.recorded(),
    )


def only_project(schedule: Schedule) -> Project | None:
    """The project of a schedule's clusters; None for several."""
    projects = list(schedule.projects.all()[:2])
    return projects[0] if len(projects) == 1 else None


def _announce(kind: NoticeKind, firing: Firing, text: str) -> None:
    announce(
        kind,
        key=f"firing-{firing.pk}",
        project=only_project(firing.schedule),
        cause=text[:200],
        facts={"text": text, "path": firing.schedule.get_absolute_url()},
    )
