"""Schedules: the list, a schedule with its firings, and what can be done with it."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.db.models import OuterRef, Subquery
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from backups.choices import FiringResult, Trigger
from backups.models import Firing, Schedule
from backups.services.schedules import firing as service
from backups.services.schedules import manage
from backups.services.schedules.manage import ScheduleProblem
from dashboard.accounts.access import Permission, may_somewhere
from dashboard.audit.trail import Actor

from .badges import Badge
from .common import PageRequest, bad_request, requester
from .schedule_form import foresee, visible_schedule

MOST_LISTED = 50  # schedules, or firings, on a page

_RESULTS = {
    FiringResult.FIRED.value: Badge("ok", "check-circle", FiringResult.FIRED.label),
    FiringResult.CAUGHT_UP.value: Badge("ok", "clock", FiringResult.CAUGHT_UP.label),
    FiringResult.SKIPPED.value: Badge("warn", "minus-circle", FiringResult.SKIPPED.label),
    FiringResult.FAILED.value: Badge("bad", "x-circle", FiringResult.FAILED.label),
}
_ON = Badge("ok", "play-circle", gettext_lazy("On"))
_OFF = Badge("muted", "pause-circle", gettext_lazy("Paused"))
_STOPPED = Badge("bad", "no-symbol", gettext_lazy("Stopped"))
_DELETED = Badge("muted", "trash", gettext_lazy("Deleted"))


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A schedule of the list, with the result of its last firing."""

    schedule: Schedule
    words: str
    state: Badge
    last: Firing | None
    result: Badge | None


def _state(schedule: Schedule) -> Badge:
    if schedule.deleted_at:
        return _DELETED
    if schedule.is_on:
        return _ON
    return _STOPPED if schedule.stopped_reason else _OFF


def _before(request: PageRequest) -> int | None:
    """The cursor of a list. Raises ValueError."""
    text = request.GET.get("before", "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ValueError(text)
    return int(text) if text else None


@require_safe
def schedules(request: PageRequest) -> HttpResponse:
    """The schedules, newest first."""
    try:
        before = _before(request)
    except ValueError:
        return bad_request(request, [_("before: give the number of a schedule.")])
    newest = Firing.objects.filter(schedule=OuterRef("pk")).order_by("-pk").values("pk")[:1]
    found = Schedule.objects.visible_to(request.user).existing().order_by("-pk")
    if before:
        found = found.filter(pk__lt=before)
    listed = list(found.annotate(last=Subquery(newest))[: MOST_LISTED + 1])
    firings = Firing.objects.in_bulk([last for each in listed if (last := vars(each)["last"])])
    rows = []
    for each in listed[:MOST_LISTED]:
        last = firings.get(vars(each)["last"])
        result = _RESULTS[last.result] if last else None
        rows.append(ScheduleRow(each, service.timing_of(each).words(), _state(each), last, result))
    context = {
        "rows": rows,
        "older": rows[-1].schedule.pk if len(listed) > MOST_LISTED else None,
        "may_run": may_somewhere(request.user, Permission.RUN),
    }
    return render(request, "backups/schedules.html", context)


@require_safe
def schedule_detail(request: PageRequest, pk: int) -> HttpResponse:
    """A schedule, deleted or not: when it fires, what it selects, and its firings."""
    schedule = visible_schedule(request, pk, deleted=True)
    try:
        before = _before(request)
    except ValueError:
        return bad_request(request, [_("before: give the number of a firing.")])
    firings = Firing.objects.filter(schedule=schedule).select_related("batch").order_by("-pk")
    if before:
        firings = firings.filter(pk__lt=before)
    listed = list(firings[: MOST_LISTED + 1])
    rows = [(each, _RESULTS[each.result]) for each in listed[:MOST_LISTED]]
    exists = schedule.deleted_at is None
    context = {
        "schedule": schedule,
        "state": _state(schedule),
        "foreseen": foresee(schedule, request.user),
        "picked": len(schedule.picked),
        "rows": rows,
        "older": rows[-1][0].pk if len(listed) > MOST_LISTED else None,
        "may_change": exists and manage.may_change(request.user, schedule),
        "may_run": exists and manage.may_run(request.user, schedule),
    }
    return render(request, "backups/schedule.html", context)


@require_POST
def schedule_run(request: PageRequest, pk: int) -> HttpResponse:
    """Fire it now, and go to the batch."""
    schedule = visible_schedule(request, pk)
    manage.require_run(request.user, schedule)
    asks = requester(request, schedule.reason, Trigger.SCHEDULE)
    try:
        firing = service.run_now(schedule, request.user, asks)
    except Schedule.DoesNotExist as deleted:
        raise Http404 from deleted
    if firing.result == FiringResult.SKIPPED:
        messages.error(request, _("Nothing was requested. %(why)s") % {"why": firing.note})
        return redirect(schedule)
    return redirect(firing.batch)


@require_POST
def schedule_switch(request: PageRequest, pk: int) -> HttpResponse:
    """Pause it, or resume it."""
    schedule = visible_schedule(request, pk)
    if (on := request.POST.get("on", "")) not in ("0", "1"):
        return bad_request(request, [_("on: give 0 or 1.")])
    try:
        manage.switch(schedule, on=on == "1", user=request.user, actor=Actor.of(request))
    except ScheduleProblem as problem:
        messages.error(request, str(problem))
    return redirect(schedule)


@require_POST
def schedule_delete(request: PageRequest, pk: int) -> HttpResponse:
    """Delete it; its firings remain on its page."""
    schedule = visible_schedule(request, pk)
    try:
        manage.delete(schedule, user=request.user, actor=Actor.of(request))
    except ScheduleProblem as problem:
        messages.error(request, str(problem))
    else:
        messages.info(request, _("The schedule was deleted. Its firings are kept."))
    return redirect("backups:schedules")
