"""The history: every run, newest first."""

from __future__ import annotations

from django.db.models import QuerySet
from django.db.models.functions import Left
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from backups.forms import LiveForm
from backups.models import BackupRun

from .common import PageRequest, bad_request, mark_live, unchanged
from .paging import BadCursor, Cursor, newer_than, older_than

PAGE_SIZE = 50
MOST_NEW = 100  # beyond that the hint says "99+"
_BAD_CURSOR = "The address names a place in the history that cannot be read."


def _listed() -> QuerySet[BackupRun]:
    """Runs as the table shows them: of long texts the start only, however long they are."""
    return (
        BackupRun.objects.order_by("-requested_at", "-id")
        .defer("message", "failed_message", "conflict_holder", "log_path")
        .annotate(message_start=Left("message", 161), failed_start=Left("failed_message", 161))
    )


def run_token(run: BackupRun) -> str:
    """How a row of the history looks, in short."""
    return f"{run.version}"


@require_GET
def history(request: PageRequest) -> HttpResponse:
    """A page of runs; `before` is the cursor of the next one."""
    text = request.GET.get("before", "")
    runs = _listed()
    if text:
        try:
            runs = older_than(runs, Cursor.decode(text))
        except BadCursor:
            return bad_request(request, [_BAD_CURSOR])
    page = list(runs[: PAGE_SIZE + 1])
    more = len(page) > PAGE_SIZE
    page = page[:PAGE_SIZE]
    return render(
        request,
        "backups/history.html",
        {
            "runs": page,
            "next": Cursor.of(page[-1]).encode() if more else "",
            "newest": "" if text or not page else Cursor.of(page[0]).encode(),
            "is_first": not text,
            "has_active": any(run.is_active for run in page),
        },
    )


@require_GET
def history_live(request: PageRequest) -> HttpResponse:
    """Shown runs that have changed, and how many new ones there are; 204 when nothing changed.

    Number 0 among the shown stands for the hint "N new runs".
    """
    form = LiveForm(request.GET)
    if not form.is_valid():
        return bad_request(request, form)
    shown = dict(form.cleaned_data["shown"])
    changed = [run for run in _listed().filter(pk__in=shown) if run_token(run) != shown[run.pk]]
    count = None
    if 0 in shown:
        newer = BackupRun.objects.order_by()
        try:
            if text := request.GET.get("newest", ""):
                newer = newer_than(newer, Cursor.decode(text))
        except BadCursor:
            return bad_request(request, [_BAD_CURSOR])
        count = newer[:MOST_NEW].count()
        if str(count) == shown[0]:
            count = None
    if not changed and count is None:
        return unchanged()
    context = {"runs": changed, "new_count": count, "most_new": MOST_NEW}
    return mark_live(render(request, "backups/history_live.html", context))
