"""``manage.py schedules``: list, pause, resume and run schedules."""

from __future__ import annotations

from django.http import Http404
from django.shortcuts import get_object_or_404

from backups.api.problems import NotNow
from backups.api.schedules import list_schedules
from backups.api.token import ApiRequest
from backups.choices import FiringResult, Trigger
from backups.management.resources import Listing, OfOne, ResourceCommand
from backups.models import Schedule
from backups.serialize import Json
from backups.serialize_admin import firing_line, schedule_line
from backups.services.runs.requests import Requester
from backups.services.schedules import manage
from backups.services.schedules.firing import run_now
from dashboard.accounts.models import User
from dashboard.audit.trail import Actor
from dashboard.commands import shell_user


def _schedule(pk: int) -> Schedule:
    found: Schedule = get_object_or_404(Schedule.objects.existing().select_related("owner"), pk=pk)
    return found


def _owner(schedule: Schedule) -> User:
    """The account with whose permissions it runs. Raises NotNow."""
    if schedule.owner is None or not schedule.owner.is_active:
        raise NotNow("no-owner", "Its owner has no active account: save it on its page.")
    owner: User = schedule.owner
    return owner


def _switch(request: ApiRequest, pk: int, *, on: bool) -> Json:
    schedule = _schedule(pk)
    user = _owner(schedule) if on else request.user
    try:
        manage.switch(schedule, on=on, user=user, actor=Actor.of(request))
    except manage.ScheduleProblem as error:
        raise NotNow("schedule", str(error)) from None
    return schedule_line(_schedule(pk))


def _pause(request: ApiRequest, pk: int) -> Json:
    return _switch(request, pk, on=False)


def _resume(request: ApiRequest, pk: int) -> Json:
    return _switch(request, pk, on=True)


def _run(request: ApiRequest, pk: int) -> Json:
    schedule = _schedule(pk)
    requester = Requester(shell_user(), Trigger.SCHEDULE, reason=schedule.reason)
    owner = _owner(schedule)
    manage.require_run(owner, schedule)
    try:
        firing = run_now(schedule, owner, requester)
    except Schedule.DoesNotExist:
        raise Http404 from None
    if firing.result == FiringResult.SKIPPED:
        raise NotNow("skipped", f"Nothing was requested. {firing.note}")
    return firing_line(firing)


class Command(ResourceCommand):
    help = (
        "List schedules, pause or resume one, or run one now. A schedule is resumed and run with "
        "the permissions of its owner."
    )
    resource = "schedule"
    operations = {
        "list": Listing(
            "List schedules, newest first.",
            list_schedules,
            [
                ("SCHEDULE", "id"),
                ("NAME", "name"),
                ("ON", "on"),
                ("CRON", "cron"),
                ("MINUTES", "minutes"),
                ("NEXT (UTC)", "next_at"),
            ],
        ),
        "pause": OfOne("Pause a schedule; again changes nothing.", _pause, "paused"),
        "resume": OfOne("Resume a schedule; again changes nothing.", _resume, "resumed"),
        "run": OfOne("Run a schedule now, and print its batch.", _run),
    }
