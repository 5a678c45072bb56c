"""Create, change, pause, resume and delete schedules; each is one event of the audit trail."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from backups.models import Project, Schedule
from dashboard.accounts.access import Permission, may, may_somewhere, require, require_somewhere
from dashboard.accounts.models import User
from dashboard.audit.models import Action
from dashboard.audit.trail import Actor, record
from dashboard.encryption import Undecipherable, decrypt, encrypt

from .firing import only_project, plan, projects_of, selection_of


class ScheduleProblem(Exception):
    """The schedule cannot be changed; the message says why."""


def require_run(user: User, schedule: Schedule, named: Project | None = None) -> None:
    """Raise an error unless a user may back up in all projects of a schedule's clusters.

    Args:
        user: whose permissions count.
        schedule: stored or not; its selection is evaluated now, and its stored projects count too.
        named: a project that the filter names, which may have no cluster yet.

    Raises:
        RoleRequired: they may not.
    """
    require_somewhere(user, Permission.RUN)
    pks = projects_of(selection_of(schedule, user)) | ({named.pk} if named else set())
    if schedule.pk:
        pks |= set(schedule.projects.values_list("pk", flat=True))
    for project in Project.objects.visible_to(user).filter(pk__in=pks):
        require(user, Permission.RUN, project)
    if schedule.pk and not may_run(user, schedule):  # in a project that they may not see
        require(user, Permission.RUN)


def may_run(user: User, schedule: Schedule) -> bool:
    """Whether a user may fire it now; as `require_run`, by its stored projects."""
    return _in_all(user, schedule, Permission.RUN)


def may_change(user: User, schedule: Schedule) -> bool:
    """Whether a user may change a schedule: `require_change` without an error."""
    return _in_all(user, schedule, _needed(user, schedule))


def require_change(user: User, schedule: Schedule) -> None:
    """Raise an error unless a user may change a schedule.

    In all projects of its clusters, the owner may back up, and anybody else may configure.

    Raises:
        RoleRequired: they may not.
    """
    needed = _needed(user, schedule)
    if _in_all(user, schedule, needed):
        return
    for project in schedule.projects.all():
        if may(user, Permission.SEE, project):
            require(user, needed, project)
    require(user, needed)


def _needed(user: User, schedule: Schedule) -> Permission:
    return Permission.RUN if schedule.owner_id == user.pk else Permission.CONFIGURE


def _in_all(user: User, schedule: Schedule, permission: Permission) -> bool:
    projects = list(schedule.projects.all())
    if not projects:
        own = schedule.owner_id == user.pk
        return may_somewhere(user, permission) if own else may(user, permission)
    return all(may(user, permission, project) for project in projects)


def save(
    schedule: Schedule,
    values: dict[str, Any],
    user: User,
    actor: Actor,
    *,
    named: Project | None = None,
    ping_url: str | None = None,
) -> Schedule:
    """Create or change a schedule; whoever saves it becomes its owner.

    What changes nothing is not recorded.

    Args:
        schedule: a new one, or one as it was read; `changed_at` tells whether it still is.
        values: columns to set.
        user: whose permissions it fires with from now on.
        actor: for the audit trail.
        named: a project that its filter names.
        ping_url: the new dead man's URL, "" for none; None keeps the stored one.

    Returns:
        The stored schedule.

    Raises:
        RoleRequired: the user may not back up in all of its projects.
        ScheduleProblem: it was changed or deleted meanwhile.
    """
    new = schedule.pk is None
    with transaction.atomic():
        before = None
        if not new:
            seen = schedule.changed_at
            schedule = _locked(schedule)
            if schedule.changed_at != seen:
                raise ScheduleProblem(
                    _("The schedule has changed since this page was loaded. Load it again.")
                )
            require_change(user, schedule)
            before = schedule.recorded()
        owner, pinged = schedule.owner_id, False
        timing, planned = _timing(schedule), (_timing(schedule), schedule.jitter)
        for name, value in values.items():
            setattr(schedule, name, value)
        schedule.owner, schedule.owner_name = user, user.get_username()[:255]
        if ping_url is not None and ping_url != _ping_url(schedule):
            schedule.ping_sealed, pinged = encrypt(ping_url) if ping_url else "", True
        require_run(user, _unstored(schedule), named)
        if before == schedule.recorded() and owner == user.pk and not pinged:
            return schedule
        if new or _timing(schedule) != timing:
            schedule.anchor = timezone.now().replace(second=0, microsecond=0)
        if new:
            schedule.save(force_insert=True)  # the jitter depends on the key
        # a slot that is due this very moment is not lost because a name was changed
        _store(schedule, keep=not new and planned == (_timing(schedule), schedule.jitter))
        matching = projects_of(selection_of(schedule, user)) | ({named.pk} if named else set())
        if matching or not new:
            schedule.projects.set(Project.objects.visible_to(user).filter(pk__in=matching))
        _record(
            Action.SCHEDULE_CREATED if before is None else Action.SCHEDULE_CHANGED,
            schedule,
            actor,
            before,
        )
    return schedule


def switch(schedule: Schedule, *, on: bool, user: User, actor: Actor) -> None:
    """Pause a schedule, or resume it, from the next slot on.

    Raises:
        RoleRequired: the user may not change it, or, to resume it, not back up its clusters.
        ScheduleProblem: it was deleted meanwhile.
    """
    with transaction.atomic():
        schedule = _locked(schedule)
        require_change(user, schedule)
        if schedule.is_on == on:
            return
        before = schedule.recorded()
        schedule.is_on = on
        if on:
            schedule.stopped_reason = ""
            # who resumes a schedule of somebody else answers for it
            schedule.owner, schedule.owner_name = user, user.get_username()[:255]
            require_run(user, schedule)
        _store(schedule)
        action = Action.SCHEDULE_RESUMED if on else Action.SCHEDULE_PAUSED
        _record(action, schedule, actor, before)


def delete(schedule: Schedule, *, user: User, actor: Actor) -> None:
    """Delete a schedule: its firings and batches stay, its ping URL goes.

    Raises:
        RoleRequired: the user may not change it.
        ScheduleProblem: it was deleted meanwhile.
    """
    with transaction.atomic():
        schedule = _locked(schedule)
        require_change(user, schedule)
        before = schedule.recorded()
        schedule.is_on, schedule.deleted_at, schedule.ping_sealed = False, timezone.now(), ""
        _store(schedule)
        _record(Action.SCHEDULE_DELETED, schedule, actor, before)


def _ping_url(schedule: Schedule) -> str | None:
    """The stored URL, "" for none; None if no key opens it."""
    try:
        return decrypt(schedule.ping_sealed).reveal() if schedule.ping_sealed else ""
    except Undecipherable:
        return None


def _locked(schedule: Schedule) -> Schedule:
    rows = Schedule.objects.existing().select_for_update(of=("self",))
    found = rows.filter(pk=schedule.pk).first()
    if found is None:
        raise ScheduleProblem(_("The schedule was deleted."))
    return found


def _unstored(schedule: Schedule) -> Schedule:
    """The selection of a schedule without the projects that it had before."""
    return Schedule(query=schedule.query, picked=schedule.picked)


def _timing(schedule: Schedule) -> tuple[object, ...]:
    return schedule.cron, schedule.interval, schedule.zone


def _store(schedule: Schedule, *, keep: bool = False) -> None:
    """Store a schedule, with its next slot unless that is to be kept."""
    now = timezone.now()
    if not keep:
        schedule.next_slot = schedule.next_at = None
        if schedule.is_on:
            plan(schedule, now)
    # never equal, so that a form that was loaded before notices it
    schedule.changed_at = now
    schedule.save()


def _record(
    action: Action, schedule: Schedule, actor: Actor, before: dict[str, Any] | None
) -> None:
    record(
        action,
        actor=actor,
        target=schedule,
        project=only_project(schedule),
        reason=schedule.reason,
        before=before,
        after=schedule.recorded(),
    )
