"""The pages that create and change a schedule, and say what it would do before it is saved."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from backups.choices import CatchUp, WhenNotReady
from backups.forms.schedules import CRON, INTERVAL, ScheduleForm
from backups.models import Schedule
from backups.services.batches import selecting
from backups.services.batches.selecting import Preview
from backups.services.schedules import manage
from backups.services.schedules.firing import selection_of, timing_of
from backups.services.schedules.manage import ScheduleProblem
from dashboard.accounts.access import Permission, require_somewhere, visible_q
from dashboard.accounts.models import User
from dashboard.audit.trail import Actor

from .common import PageRequest
from .presentation import local

NEXT = 5  # times that a preview shows


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a schedule would do.

    Attributes:
        words: when it fires.
        times: its next times, each with how the clock of its zone shows it.
        found: its clusters as of now.
    """

    words: str
    times: list[tuple[datetime, str]]
    found: Preview


def foresee(schedule: Schedule, user: User) -> Foreseen:
    """Say what a schedule would do now with the permissions of its owner.

    Args:
        schedule: stored or not.
        user: who looks at it: counts only clusters that they may see, and owns one without owner.
    """
    owner = schedule.owner or user
    selection = selection_of(schedule, owner)
    if owner != user:
        selection = replace(selection, clusters=selection.clusters.filter(visible_q(user)))
    timing = timing_of(schedule)
    slots = list(islice(timing.after(timezone.now()), NEXT))
    times = [(slot, local(slot, schedule.tz)) for slot in slots]
    return Foreseen(timing.words(), times, selecting.preview(selection))


def visible_schedule(request: PageRequest, pk: int, *, deleted: bool = False) -> Schedule:
    """Get a schedule that the user may see, also a deleted one if asked. Raises Http404."""
    found = Schedule.objects.visible_to(request.user).select_related("owner")
    return get_object_or_404(found if deleted else found.existing(), pk=pk)


# --- pages ---------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
def schedule_new(request: PageRequest) -> HttpResponse:
    """Create a schedule; the address may bring a filter or rows of the clusters page."""
    require_somewhere(request.user, Permission.RUN)
    if request.method == "POST":
        return _submitted(request, Schedule())
    query = request.GET.copy()
    clusters = query.pop("cluster", [])
    for name in ("work", "page", "sort"):
        query.pop(name, None)
    initial = {
        "every": CRON,
        "cron": "30 2 * * *",
        "zone": timezone.get_current_timezone_name(),
        "query": "" if clusters else query.urlencode()[:2000],
        "cluster": clusters[:100],
        "when_not_ready": WhenNotReady.SKIP,
        "catch_up": CatchUp.ONE,
        "jitter": 0,
    }
    return _page(request, Schedule(), ScheduleForm(initial=initial, user=request.user))


@require_http_methods(["GET", "HEAD", "POST"])
def schedule_edit(request: PageRequest, pk: int) -> HttpResponse:
    """Change a schedule."""
    schedule = visible_schedule(request, pk)
    manage.require_change(request.user, schedule)
    if request.method == "POST":
        return _submitted(request, schedule)
    initial = {
        **schedule.recorded(),
        "report_channel": schedule.report_channel_id,
        "every": INTERVAL if schedule.interval else CRON,
        "minutes": schedule.interval // 60 or None,
        "cluster": schedule.picked,
        "wait_minutes": schedule.wait_minutes or None,
        "seen": schedule.changed_at.isoformat(),
    }
    return _page(request, schedule, ScheduleForm(initial=initial, user=request.user))


def _submitted(request: PageRequest, schedule: Schedule) -> HttpResponse:
    form = ScheduleForm(request.POST, user=request.user)
    if not form.is_valid():
        return _page(request, schedule, form, status=422)
    wanted = Schedule(**form.values())
    if "preview" in request.POST:
        return _page(request, schedule, form, wanted=wanted)
    if schedule.pk and form.cleaned_data["seen"] != schedule.changed_at.isoformat():
        form.add_error(None, _("The schedule has changed since this page was loaded."))
        return _page(request, schedule, form, status=409)
    try:
        saved = manage.save(
            schedule,
            form.values(),
            request.user,
            Actor.of(request),
            named=form.named if not wanted.picked else None,
            ping_url=form.ping,
        )
    except ScheduleProblem as problem:
        form.add_error(None, str(problem))
        return _page(request, schedule, form, status=409)
    return redirect(saved)


def _page(
    request: PageRequest,
    schedule: Schedule,
    form: ScheduleForm,
    *,
    wanted: Schedule | None = None,
    status: int = 200,
) -> HttpResponse:
    context = {
        "form": form,
        "schedule": schedule,
        "foreseen": foresee(wanted, request.user) if wanted else None,
        "wanted": wanted,
        "becomes_owner": bool(schedule.pk) and schedule.owner_id != request.user.pk,
        "picked": form.picked(),
    }
    return render(request, "backups/schedule_form.html", context, status=status)
