"""Schedules: list, create or change, pause, resume, delete, run now, and their firings."""

from __future__ import annotations

from dataclasses import replace

from django.db import transaction
from django.db.models import Exists, F, OuterRef
from django.db.models.expressions import OrderBy
from django.http import Http404, JsonResponse, QueryDict
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext as _

from backups.choices import FiringResult, ScheduledWork, Trigger, WhenNotReady
from backups.forms.schedules import CRON, INTERVAL, ScheduleForm
from backups.models import Firing, Schedule
from backups.models.schedule import ScheduleQuerySet
from backups.serialize import Json
from backups.serialize_admin import firing_line, schedule_line
from backups.services.batches import selecting
from backups.services.schedules import manage
from backups.services.schedules.firing import run_now
from backups.services.schedules.manage import ScheduleProblem
from dashboard.accounts.access import Permission, require, require_somewhere
from dashboard.accounts.models import User
from dashboard.audit.trail import Actor

from . import answers
from .bodies import NoFields, ScheduleBody
from .clusters import requester_of
from .declare import Resource, answer
from .problems import Invalid, NotNow
from .queries import PAGED, page_of
from .token import MANAGE, ApiRequest

router = Resource("schedules")

_NEWEST = [OrderBy(F("pk"), descending=True)]
# of the form, where fields of the body have other names
_NAMES = {"query": "filter", "cluster": "clusters", "every": "cron", "no_ping": "ping_url"}


def _seen(request: ApiRequest) -> ScheduleQuerySet:
    """The schedules that a request may see.

    A token that is limited to projects sees those with clusters in these, its account's own ones
    too.
    """
    found = Schedule.objects.visible_to(request.user)
    if (limits := request.auth.project_ids) is None:
        return found
    projects = Schedule.projects.through.objects.filter(project__in=limits)
    return found.filter(Exists(projects.filter(schedule=OuterRef("pk"))))


def _visible(request: ApiRequest, pk: int, *, deleted: bool = False) -> Schedule:
    found = _seen(request)
    return get_object_or_404(found if deleted else found.existing(), pk=pk)


@router.read(
    "",
    answers.Page[answers.Schedule],
    name="schedules",
    summary="List schedules",
    parameters=PAGED,
)
def list_schedules(request: ApiRequest) -> Json:
    """A page of the schedules, newest first, without deleted ones."""
    found = _seen(request).existing()
    return page_of(request, found, _NEWEST, schedule_line, kind="schedules")


@router.read("/{int:pk}", answers.Schedule, name="schedule", summary="Get a schedule")
def get_schedule(request: ApiRequest, pk: int) -> Json:
    """A schedule, also a deleted one."""
    return schedule_line(_visible(request, pk, deleted=True))


@router.act(
    "",
    {201: answers.Schedule, 200: answers.Schedule},
    method="PUT",
    name="schedules",
    summary="Create or change a schedule by its name",
    auth=MANAGE,
    refusals={409: "Several schedules have this name, or it was changed at the same moment."},
)
def put_schedule(request: ApiRequest, body: ScheduleBody) -> JsonResponse:
    """Create a schedule, or change the one of this name. 200: there was one."""
    require_somewhere(request.user, Permission.RUN)
    with transaction.atomic():
        # names are not unique: two equal requests of an account must not make two schedules
        User.objects.select_for_update(no_key=True).get(pk=request.user.pk)
        named = list(_seen(request).existing().filter(name=body.name.strip())[:2])
        if len(named) > 1:
            raise NotNow("ambiguous-name", _("Several schedules have this name: use its number."))
        saved = _saved(request, named[0] if named else Schedule(), body)
    place = reverse("api:schedule", args=[saved.pk])
    return answer(schedule_line(saved), 200 if named else 201, location=place)


@router.act(
    "/{int:pk}",
    {200: answers.Schedule},
    method="PUT",
    name="schedule",
    summary="Change a schedule",
    auth=MANAGE,
    refusals={409: "It was changed at the same moment."},
)
def set_schedule(request: ApiRequest, pk: int, body: ScheduleBody) -> Json:
    """Change a schedule as a whole; whoever changes it becomes its owner."""
    found = _visible(request, pk)
    manage.require_change(request.user, found)
    return schedule_line(_saved(request, found, body))


def _saved(request: ApiRequest, schedule: Schedule, body: ScheduleBody) -> Schedule:
    form = _form(request, body)
    try:
        return manage.save(
            schedule,
            form.values(),
            request.user,
            Actor.of(request),
            named=None if body.clusters else form.named,
            ping_url=form.ping,
        )
    except ScheduleProblem as problem:
        raise NotNow("schedule-changed", str(problem)) from None


def _form(request: ApiRequest, body: ScheduleBody) -> ScheduleForm:
    """The body as the form of the page, valid. Raises Invalid."""
    if bool(body.filter) == bool(body.clusters):
        raise Invalid([("filter", _("Give either “filter” or “clusters”."))])
    if unused := _unused(body):
        raise Invalid([(name, _("Other fields say that this has no effect.")) for name in unused])
    if bool(body.cron) == (body.minutes is not None):
        raise Invalid([("cron", _("Give either “cron” or “minutes”."))])
    if body.filter:  # the form takes what was pasted from an address
        problem = selecting.filter_problem(QueryDict(body.filter))
        if problem := problem or selecting.vague(body.filter, request.user):
            raise Invalid([("filter", problem)])
    form = ScheduleForm(
        {
            **body.model_dump(exclude={"filter", "clusters"}),
            "every": CRON if body.cron else INTERVAL,
            "query": body.filter,
            "cluster": [str(pk) for pk in body.clusters],
            "wait_minutes": body.wait_minutes or None,
            "no_ping": body.ping_url == "",
        },
        user=request.user,
    )
    if not form.is_valid():
        wrong = Invalid.by_form(form).errors
        raise Invalid([(_NAMES.get(name, name), text) for name, text in wrong])
    _require_reach(request, body.filter, body.clusters)
    return form


def _unused(body: ScheduleBody) -> list[str]:
    """Fields with a value that nothing would look at: a “work” or a policy was forgotten."""
    unused = []
    if body.work != ScheduledWork.REPORT:
        unused += [each for each in ("report_channel", "report_span") if getattr(body, each)]
    if body.wait_minutes and body.when_not_ready != WhenNotReady.WAIT:
        unused.append("wait_minutes")
    return unused


def _require_reach(request: ApiRequest, query: str, clusters: list[int]) -> None:
    """Require that a schedule stays in a limited token's projects. Raises Invalid.

    It fires with the permissions of the account, which are more than those of the token.
    """
    if request.auth.project_ids is None:
        return
    if clusters:
        reached = selecting.of_rows(clusters, request.user).clusters.count()
        if reached == len(set(clusters)):
            return
    else:
        found = selecting.of_filter(QueryDict(query), request.user)[1]
        if found.is_valid() and found.form.cleaned_data["project"] is not None:
            return
    text = _("The token is limited to projects: give “project” in the filter, or its clusters.")
    raise Invalid([("filter", text)])


@router.act(
    "/{int:pk}/pause",
    {200: answers.Schedule},
    name="schedule-pause",
    summary="Pause a schedule",
    auth=MANAGE,
    refusals={409: "It was deleted at the same moment."},
)
def pause_schedule(request: ApiRequest, pk: int, body: NoFields | None = None) -> Json:
    """Fire it no longer until it is resumed; changes nothing if it is paused."""
    return _switched(request, pk, on=False)


@router.act(
    "/{int:pk}/resume",
    {200: answers.Schedule},
    name="schedule-resume",
    summary="Resume a schedule",
    auth=MANAGE,
    refusals={409: "It was deleted at the same moment."},
)
def resume_schedule(request: ApiRequest, pk: int, body: NoFields | None = None) -> Json:
    """Fire it from its next slot on; changes nothing if it is on. Who resumes it owns it."""
    return _switched(request, pk, on=True)


def _switched(request: ApiRequest, pk: int, *, on: bool) -> Json:
    try:
        with transaction.atomic():
            # locked: nobody gives it another filter between the look at it and the switch
            rows = _seen(request).existing().select_for_update(of=("self",))
            found = get_object_or_404(rows, pk=pk)
            if on:
                _require_reach(request, found.query, found.picked)
            manage.switch(found, on=on, user=request.user, actor=Actor.of(request))
    except ScheduleProblem as problem:
        raise NotNow("schedule-changed", str(problem)) from None
    found.refresh_from_db()
    return schedule_line(found)


@router.act(
    "/{int:pk}",
    {200: answers.Schedule},
    method="DELETE",
    name="schedule",
    summary="Delete a schedule",
    auth=MANAGE,
    refusals={409: "It was deleted at the same moment."},
)
def delete_schedule(request: ApiRequest, pk: int) -> Json:
    """Delete a schedule; its firings and batches stay."""
    found = _visible(request, pk)
    try:
        manage.delete(found, user=request.user, actor=Actor.of(request))
    except ScheduleProblem as problem:
        raise NotNow("schedule-changed", str(problem)) from None
    found.refresh_from_db()
    return schedule_line(found)


@router.act(
    "/{int:pk}/run",
    {202: answers.Firing},
    name="schedule-run",
    summary="Run a schedule now",
    refusals={409: "Nothing was requested."},
)
def run_schedule(request: ApiRequest, pk: int, body: NoFields | None = None) -> JsonResponse:
    """Fire a schedule now, on or paused. The firing has the number of its batch."""
    found = _visible(request, pk)
    manage.require_run(request.user, found)
    if found.work == ScheduledWork.REPORT:
        require(request.user, Permission.CONFIGURE)  # as it is created
    requester = replace(requester_of(request, found.reason), trigger=Trigger.SCHEDULE)
    try:
        firing = run_now(found, request.user, requester)
    except Schedule.DoesNotExist:
        raise Http404 from None
    if firing.result == FiringResult.SKIPPED:
        raise NotNow("nothing-to-back-up", firing.note, firing_id=firing.pk)
    return answer(firing_line(Firing.objects.select_related("batch").get(pk=firing.pk)), 202)


@router.read(
    "/{int:pk}/firings",
    answers.Page[answers.Firing],
    name="schedule-firings",
    summary="List a schedule's firings",
    parameters=PAGED,
)
def list_firings(request: ApiRequest, pk: int) -> Json:
    """A page of the firings, newest first, also of a deleted schedule."""
    found = Firing.objects.filter(schedule=_visible(request, pk, deleted=True))
    return page_of(
        request,
        found,
        _NEWEST,
        firing_line,
        kind="firings",
        prepare=lambda rows: rows.select_related("batch"),
    )
