"""What needs attention and was handled, and the report."""

from __future__ import annotations

from django.db.models import F
from django.db.models.expressions import OrderBy
from django.http import JsonResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.translation import gettext as _

from backups.choices import AttentionCause
from backups.forms.handling import HandledScopeForm, HandleForm
from backups.lists.report import ReportForm
from backups.models import Handling
from backups.serialize import Json
from backups.serialize_admin import handling_line
from backups.services import handling as service
from backups.services.report import make_report
from backups.services.report_csv import report_document
from dashboard.accounts.access import Permission, require_somewhere
from dashboard.audit.trail import Actor

from . import answers
from .bodies import HandlingBody, NoFields
from .clusters import cluster_for
from .declare import Resource, answer
from .problems import Invalid, NotNow
from .queries import PAGED, described, page_of, valid
from .token import ApiRequest

handlings_router = Resource("handlings")
report_router = Resource("report")


@handlings_router.read(
    "",
    answers.Page[answers.Handling],
    name="handlings",
    summary="List handlings",
    parameters=PAGED,
)
def list_handlings(request: ApiRequest) -> Json:
    """What is handled now, newest first."""
    found = Handling.objects.visible_to(request.user).holding(timezone.now())
    newest = [OrderBy(F("pk"), descending=True)]
    return page_of(request, found, newest, handling_line, kind="handlings")


@handlings_router.act(
    "",
    {201: answers.Handlings},
    name="handlings",
    summary="Handle what needs attention",
    refusals={409: "The cluster needs attention for another cause, or for none."},
)
def handle(request: ApiRequest, body: HandlingBody) -> JsonResponse:
    """Let a cluster, or a cause, count no longer until an end. It replaces an earlier handling."""
    require_somewhere(request.user, Permission.RUN)
    if (body.cluster is not None) == ("project" in body.model_fields_set):
        raise Invalid([("cluster", _("Give “cluster” or “project”; null for all projects."))])
    data = body.model_dump()
    scope, form = HandledScopeForm(data, user=request.user), HandleForm(data, user=request.user)
    valid(scope)
    valid(form)
    cause, ends = AttentionCause(body.cause), form.cleaned_data["ends"]
    reason, actor = form.cleaned_data["reason"], Actor.of(request)
    try:
        if body.cluster is not None:
            found = cluster_for(request, body.cluster, Permission.RUN)
            made = [service.handle_cluster(found, cause, reason, ends, actor)]
        else:
            project = scope.cleaned_data["project"]
            made = service.handle_cause(cause, project, reason, ends, actor)
    except service.CannotHandle as error:
        raise NotNow("cannot-handle", str(error)) from None
    return answer({"items": [handling_line(each) for each in made]}, 201)


@handlings_router.act(
    "/{int:pk}/end",
    {200: answers.Handling},
    name="handling-end",
    summary="End a handling",
    refusals={409: "It has ended."},
)
def end_handling(request: ApiRequest, pk: int, body: NoFields | None = None) -> Json:
    """Let what it covers count again."""
    found = get_object_or_404(Handling.objects.visible_to(request.user), pk=pk)
    try:
        service.end(found, "By hand.", Actor.of(request))
    except service.CannotHandle as error:
        raise NotNow("cannot-handle", str(error)) from None
    found.refresh_from_db()
    return handling_line(found)


@report_router.read(
    "",
    answers.Report,
    name="report",
    summary="Get the report",
    parameters=described(ReportForm),
)
def get_report(request: ApiRequest) -> Json:
    """The figures and tables of the report's CSV; without a range those of the last month."""
    now = timezone.now()
    form = ReportForm(request.GET, user=request.user, now=now)
    valid(form)
    found = make_report(request.user, form.cleaned_data["range"], form.cleaned_data["project"], now)
    made = report_document(found, request.user)
    # as `at`, which is no change for the entity tag
    return {"at": made["figures"].pop("as_of"), **made}
