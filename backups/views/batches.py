"""Batches: preview of a selection, the batch's page, and the list of batches."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import Case, Count, OuterRef, QuerySet, Subquery, When
from django.db.models.functions import Coalesce
from django.http import HttpResponse, JsonResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from backups.choices import PASSABLE, Cause, ItemState, Readiness, RunState, Trigger, Work
from backups.forms import STOP_AFTER, BatchForm, RetryForm, SelectedForm, form_problems
from backups.guide import READINESS, Text
from backups.lists.filtering import active_chips
from backups.models import BackupRun, Batch, BatchItem
from backups.rules.log_settings import CLUSTER
from backups.serialize import batch_document
from backups.services.batches import changing, making, other_work, selecting
from backups.services.batches.making import BatchKeyReused, BatchProblem
from backups.services.batches.progress import Progress, progress_of
from backups.services.batches.selecting import Selection
from backups.services.runs.requests import Requester, reason_required
from dashboard.accounts.access import Permission, may, may_somewhere, require_somewhere, visible_q
from dashboard.accounts.models import User
from dashboard.audit.trail import Actor

from .badges import RUN_STATES, Badge
from .common import PageRequest, bad_request, local_path, new_key, requester
from .live import Shown, live_response, live_view, token

MOST_LISTED = 50  # batches on a page
LONGEST_QUERY = 2000  # characters of a filter

_ADVICE: dict[Cause, Text] = {
    Cause.RUNNING: gettext_lazy("Nothing: a run is in progress. Anyway, they join it."),
    Cause.GONE: gettext_lazy("Nothing: there are no logs left to back up."),
    Cause.ARCHIVED: gettext_lazy("Restore them on their pages."),
    Cause.DISCONNECTED: gettext_lazy("Connect their cloud under Settings, Connections."),
    Cause.NOT_PERMITTED: gettext_lazy("Ask for a role in their projects that may do this."),
    Cause.IMPOSSIBLE: gettext_lazy("See below."),
}
_WAITING = Badge("busy", "clock", gettext_lazy("Waiting"))
_CANCELLED = Badge("muted", "stop-circle", gettext_lazy("Cancelled"))
_SKIPPED = Badge("muted", "minus-circle", gettext_lazy("Skipped"))
_DONE = Badge("ok", "check-circle", gettext_lazy("Done"))
_FAILED = Badge("bad", "x-circle", gettext_lazy("Failed"))
_OPEN = Badge("busy", "arrow-path", gettext_lazy("In progress"))
_ENDED_WELL = Badge("ok", "check-badge", gettext_lazy("Ended"))
_ENDED = Badge("warn", "exclamation-circle", gettext_lazy("Ended"))


@dataclass(frozen=True, slots=True)
class CauseRow:
    """Clusters that are skipped for one cause.

    Attributes:
        cause: why.
        count: how many.
        advice: what to do about it.
        passable: whether they can be backed up anyway.
    """

    cause: Cause
    count: int

    @property
    def advice(self) -> Text:
        if self.cause.value in Readiness.values:
            return READINESS[Readiness(self.cause.value)].next_step
        return _ADVICE.get(self.cause, "")

    @property
    def passable(self) -> bool:
        return self.cause in PASSABLE


# --- selecting -----------------------------------------------------------------------------------


@require_safe
def batch_new(request: PageRequest) -> HttpResponse:
    """Say what a batch of the selected rows, or of all that match the filter, would do."""
    form = SelectedForm(request.GET)
    if not form.is_valid():
        return bad_request(request, form)
    selection = _selection(request, form, request.GET)
    if isinstance(selection, HttpResponse):
        return selection
    return _preview(request, selection, form.cleaned_data["cluster"])


def _selection(
    request: PageRequest, form: SelectedForm, query: QueryDict
) -> Selection | HttpResponse:
    """The selection of a valid form; a 400 page if its filter is invalid.

    Raises:
        RoleRequired: the user may do this work nowhere.
    """
    work, pks = form.cleaned_data["work"], form.cleaned_data["cluster"]
    require_somewhere(request.user, selecting.permission_for(work))
    if pks:
        return replace(selecting.of_rows(pks, request.user), work=work)
    selection, found = selecting.of_filter(query, request.user)
    if not found.is_valid():
        return bad_request(request, found.form)
    # it is stored; a part of it would select other clusters
    if len(selection.query) > LONGEST_QUERY:
        text = _("The filter has more than %(most)d characters.") % {"most": LONGEST_QUERY}
        return bad_request(request, [text])
    return replace(selection, work=work)


@dataclass(frozen=True, slots=True)
class WorkTab:
    """A tab of the preview: the same selection for other work."""

    work: Work
    query: str
    current: bool


def _tabs(user: User, selection: Selection, pks: list[int]) -> list[WorkTab]:
    query = QueryDict(selection.query, mutable=True)
    query.setlist("cluster", [str(pk) for pk in pks])
    tabs = []
    for work in Work:
        if may_somewhere(user, selecting.permission_for(work)):
            query["work"] = work.value
            tabs.append(WorkTab(work, query.urlencode(), work is selection.work))
    return tabs


def _preview(
    request: PageRequest,
    selection: Selection,
    pks: list[int],
    *,
    problems: list[str] | None = None,
    status: int = 200,
    changes: dict[str, Any] | None = None,
) -> HttpResponse:
    """The preview; with `changes`, valid settings, also of what these make of the clusters."""
    found = selecting.preview(selection)
    query = QueryDict(selection.query)
    chips = []
    if not pks:
        chips = active_chips(selecting.of_filter(query, request.user)[1], query, drop=())
    is_backup = selection.work is Work.BACKUP
    context = {
        "found": found,
        "work": selection.work,
        "may_schedule": may_somewhere(request.user, Permission.RUN),
        "tabs": _tabs(request.user, selection, pks),
        "rows": [CauseRow(cause, count) for cause, count in found.skipped],
        "most": selecting.MOST,
        "pks": pks,
        "query": selection.query,
        "chips": chips,
        "key": new_key(),
        "typed": {name: request.POST.get(name, usual)[:6000] for name, usual in _TYPED.items()},
        "paths": changing.paths_of(selection, changes["base_path"]) if changes else None,
        "previewed": _fingerprint(changes) if changes else "",
        "reason_required": reason_required(Trigger.BULK) if is_backup else _needs(selection.work),
        "problems": problems or [],
        "back": f"{reverse('backups:clusters')}?{selection.query}".rstrip("?"),
    }
    return render(request, "backups/batch_new.html", context, status=status)


# fields, and what they contain at first
_TYPED = {
    "reason": "",
    "labels": "",
    "remove": "",
    "hours": "",
    "bucket": "",
    "base_path": f"css/log/{CLUSTER}",
    "agency": "",
    "stop_after": str(STOP_AFTER),
}


def _fingerprint(changes: dict[str, Any]) -> str:
    """Of settings whose preview was shown: others are not sent."""
    return hashlib.sha256(json.dumps(changes, sort_keys=True).encode()).hexdigest()[:32]


def _needs(work: Work) -> bool:
    """Whether other work needs a reason."""
    return work is Work.ARCHIVE


# --- the list, and a new one ---------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
def batches(request: PageRequest) -> HttpResponse:
    """GET: the batches, newest first. POST: make one, and go to its page."""
    return _make(request) if request.method == "POST" else _list(request)


def _list(request: PageRequest) -> HttpResponse:
    before = request.GET.get("before", "")
    if before and not (before.isascii() and before.isdigit() and len(before) < 19):
        return bad_request(request, [_("before: give the number of a batch.")])
    seen = BatchItem.objects.filter(visible_q(request.user), batch=OuterRef("pk"))
    number = seen.order_by().values("batch").annotate(n=Count("pk")).values("n")
    found = Batch.objects.visible_to(request.user).order_by("-pk")
    if before:
        found = found.filter(pk__lt=before)
    listed = list(found.annotate(clusters=Coalesce(Subquery(number), 0))[: MOST_LISTED + 1])
    rows, more = listed[:MOST_LISTED], len(listed) > MOST_LISTED
    context = {
        "rows": [(each, _OPEN if each.finished_at is None else _ENDED_WELL) for each in rows],
        "older": rows[-1].pk if more else None,
        "may_run": may_somewhere(request.user, Permission.RUN),
    }
    return render(request, "backups/batches.html", context)


def _make(request: PageRequest) -> HttpResponse:
    # the selection is shown again with what was wrong, so it is read first
    selected = SelectedForm(request.POST)
    if not selected.is_valid():
        return bad_request(request, selected)
    selection = _selection(request, selected, QueryDict(request.POST.get("query", "")))
    if isinstance(selection, HttpResponse):
        return selection
    pks: list[int] = selected.cleaned_data["cluster"]
    form = BatchForm(request.POST)
    if not form.is_valid():
        return _preview(request, selection, pks, problems=form_problems(form), status=422)
    values = form.values()
    if selection.work is Work.SETTINGS:
        if problems := other_work.settings_problems(values):
            return _preview(request, selection, pks, problems=problems, status=422)
        if request.POST.get("previewed") != _fingerprint(values):
            return _preview(request, selection, pks, changes=values)
    try:
        made = making.make_batch(
            selection,
            requester(request, form.cleaned_data["reason"], Trigger.BULK),
            anyway=form.cleaned_data["anyway"],
            idempotency_key=form.cleaned_data["idempotency_key"],
            values=values,
        )
    except (BatchProblem, BatchKeyReused) as error:
        return _preview(request, selection, pks, problems=[str(error)], status=409)
    if not made.created:
        messages.info(request, _("This form was already submitted: this is its batch."))
    return redirect(made.batch)


# --- a batch -------------------------------------------------------------------------------------


def visible_batch(request: PageRequest, pk: int) -> Batch:
    """Get a batch that the user may see. Raises Http404."""
    batches = Batch.objects.visible_to(request.user).select_related("retry_of", "firing__schedule")
    return get_object_or_404(batches, pk=pk)


@dataclass(frozen=True, slots=True)
class CountRow:
    """Clusters of a batch with the same result.

    Attributes:
        badge: the result.
        count: how many.
        query: of the history, which lists their runs; "" without runs.
    """

    badge: Badge
    count: int
    query: str = ""


def _counts(batch: Batch, progress: Progress) -> list[CountRow]:
    """What became of the clusters, in the order of their lives."""
    rows = [
        CountRow(_WAITING, progress.waiting),
        CountRow(_OPEN, progress.working),
        CountRow(_DONE, progress.worked),
        CountRow(_FAILED, progress.unworked),
    ]
    for state in RunState:
        query = f"batch={batch.pk}&window=all&state={state}"
        rows.append(CountRow(RUN_STATES[state], progress.states.get(state, 0), query))
    cancelled = replace(_CANCELLED, label=_("Cancelled while waiting"))
    rows.append(CountRow(cancelled, progress.cancelled))
    rows.append(CountRow(_SKIPPED, sum(progress.skipped.values())))
    deleted = replace(_SKIPPED, label=_("Run deleted by retention"))
    rows.append(CountRow(deleted, progress.forgotten))
    return [row for row in rows if row.count]


@dataclass(frozen=True, slots=True)
class RefusalRow:
    """Runs that ended badly in the same way.

    Attributes:
        run: the newest of them.
        count: how many.
        query: of the history, which lists them.
    """

    run: BackupRun
    count: int
    query: str


def _refusals(batch: Batch, progress: Progress) -> list[RefusalRow]:
    rows = []
    for each in progress.refusals:
        run = each.run
        facts = {"state": run.state, "outcome": run.outcome, "error_code": run.error_code}
        query = {"batch": batch.pk, "window": "all", **{k: v for k, v in facts.items() if v}}
        rows.append(RefusalRow(run, each.count, urlencode(query)))
    return rows


def _state(batch: Batch, progress: Progress) -> Badge:
    if batch.finished_at is None:
        return _OPEN
    return _ENDED_WELL if progress.verified + progress.worked == progress.total else _ENDED


def _context(request: PageRequest, pk: int) -> dict[str, object]:
    batch = visible_batch(request, pk)
    progress = progress_of(batch, request.user)
    may_run = _may_run(request.user, batch)
    return {
        "batch": batch,
        "progress": progress,
        "state": _state(batch, progress),
        "counts": _counts(batch, progress),
        "refusals": _refusals(batch, progress),
        "skipped": [CauseRow(cause, count) for cause, count in progress.skipped.items()],
        "query": f"batch={batch.pk}&window=all",
        "may_run": may_run,
        "may_cancel": may_run
        and batch.finished_at is None
        and (progress.waiting or progress.states.get(RunState.QUEUED)),
        "may_retry": may_run and progress.failed > 0,
        "is_backup": batch.work == Work.BACKUP,
        "answers": _answers(request.user, batch)[:MOST_LISTED],
        "stopped": _stopped(request.user, batch),
        "may_export": may_somewhere(request.user, Permission.EXPORT),
        "reason_required": reason_required(Trigger.BULK),
        "retries": batch.retries.visible_to(request.user).order_by("pk")[:20],
        "key": new_key(),
        "token": token(progress, batch.finished_at, batch.cancelled_at),
    }


def _may_run(user: User, batch: Batch) -> bool:
    work = Work(batch.work)
    permission = selecting.permission_for(work)
    if may(user, permission):
        return True
    if not may_somewhere(user, permission):
        return False
    return BatchItem.objects.filter(making.permitted(user, work), batch=batch).exists()


def _answers(user: User, batch: Batch) -> QuerySet[BatchItem]:
    """The clusters of which the batch says what became of them; what is not done comes first."""
    items = BatchItem.objects.filter(visible_q(user), batch=batch).exclude(note="")
    if batch.work == Work.BACKUP:
        return items.none()
    done = Case(When(state=ItemState.DONE, then=1), default=0)
    return items.select_related("cluster").order_by(done, "pk")


@dataclass(frozen=True, slots=True)
class Stopped:
    """Failures of one kind that ended a batch.

    Attributes:
        code: what they have in common.
        count: how many clusters were not begun because of them.
        after: the number of failures that ends the batch.
    """

    code: str
    count: int
    after: int


def _stopped(user: User, batch: Batch) -> Stopped | None:
    if batch.work != Work.SETTINGS:
        return None
    items = BatchItem.objects.filter(
        visible_q(user), batch=batch, state=ItemState.CANCELLED, cause=Cause.STOPPED
    )
    code = items.order_by("pk").values_list("code", flat=True).first()
    return Stopped(code, items.count(), batch.values["stop_after"]) if code else None


@require_safe
def batch_detail(request: PageRequest, pk: int) -> HttpResponse:
    """Page of a batch."""
    return render(request, "backups/batch.html", _context(request, pk))


@live_view
def batch_live(request: PageRequest, shown: Shown, pk: int) -> HttpResponse | None:
    """The batch's progress, if it has changed."""
    context = _context(request, pk)
    if {shown_token for _pk, shown_token in shown} == {context["token"]}:
        return None
    return live_response(request, context, parts=("backups/batch_state.html",))


@require_safe
def batch_json(request: PageRequest, pk: int) -> JsonResponse:
    """Download the batch as JSON, with everything that its page shows."""
    batch = visible_batch(request, pk)
    document = batch_document(batch, progress_of(batch, request.user))
    if batch.work != Work.BACKUP:
        answers = _answers(request.user, batch)
        columns = ("cluster__cluster_id", "cluster__name", "state", "code", "note")
        names = ("cluster_id", "cluster", "state", "code", "note")
        rows = answers.values_list(*columns)
        document["answers"] = [dict(zip(names, row, strict=True)) for row in rows]
    return JsonResponse(
        document,
        json_dumps_params={"indent": 2, "ensure_ascii": False},
        headers={
            "Content-Disposition": f'attachment; filename="batch-{batch.pk}.json"',
            "Cache-Control": "no-store",
        },
    )


@require_POST
def batch_cancel(request: PageRequest, pk: int) -> HttpResponse:
    """Cancel what has not been sent."""
    batch = visible_batch(request, pk)
    try:
        count = making.cancel_batch(batch, request.user, actor=Actor.of(request))
    except BatchProblem as error:
        messages.error(request, _("Not cancelled. %(why)s") % {"why": error})
    else:
        text = ngettext(
            "%(n)d cluster was cancelled before its request was sent.",
            "%(n)d clusters were cancelled before their requests were sent.",
            count,
        )
        messages.info(request, text % {"n": count})
    return redirect(local_path(request, request.POST.get("back", ""), batch.get_absolute_url()))


@require_POST
def batch_retry(request: PageRequest, pk: int) -> HttpResponse:
    """Request what failed again, as a new batch, and go to its page."""
    batch = visible_batch(request, pk)
    making.require_in_batch(batch, request.user)
    form = RetryForm(request.POST)
    if not form.is_valid():
        for problem in form_problems(form):
            messages.error(request, problem)
        return redirect(batch)
    asks: Requester = requester(request, form.cleaned_data["reason"], Trigger.BULK)
    try:
        made = making.retry_batch(
            batch,
            asks,
            anyway=form.cleaned_data["anyway"],
            idempotency_key=form.cleaned_data["idempotency_key"],
        )
    except (BatchProblem, BatchKeyReused) as error:
        messages.error(request, str(error))
        return redirect(batch)
    return redirect(made.batch)
