"""The history: every run, filtered and a page at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import QuerySet
from django.db.models.functions import Left
from django.forms import Form
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.html import escape
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from backups.lists.filtering import active_chips, without_empty
from backups.lists.history import RUN_KEYSET, Group, HistoryFilter, HistoryWindow, pinned
from backups.models import BackupRun, Listing, Project, SavedView
from dashboard.accounts.access import Permission, may_somewhere
from dashboard.db.keyset import BadCursor, Cursor, PageQuery, count_up_to
from dashboard.web.display import PAGE_SIZES, display_of

from . import presentation
from .common import PageRequest, bad_request
from .live import Shown, live_view

_BOXES = ("state", "outcome", "trigger")


def choice_boxes(form: Form) -> list[dict[str, object]]:
    """Each filter that takes several values, for its check boxes; the form must be valid."""
    fields = [(name, HistoryFilter.base_filters[name]) for name in _BOXES]
    return [
        {
            "name": name,
            "label": field.label,
            "choices": field.extra["choices"],
            "chosen": form.cleaned_data[name] or (),
        }
        for name, field in fields
    ]


def project_options(projects: Iterable[Project], chosen: Project | None) -> SafeString:
    """Options of the project filter, without a template: there may be hundreds."""
    key = chosen.pk if chosen else None
    lines = [
        f'<option value="{project.pk}"{" selected" if project.pk == key else ""}>'
        f"{escape(project)}</option>"
        for project in projects
    ]
    return SafeString("".join(lines))


MOST_NEW = 100  # beyond that the hint says "99+"
MOST_COUNTED = 10_000
MOST_OFFERED = 500  # projects in the filter
_BAD_SORT = gettext_lazy("sort: runs are sorted by time, “newest” or “oldest” first.")
_BAD_CURSOR = gettext_lazy("The address names a position in the history that cannot be read.")
_PLACE = ("older", "newer", "end")  # of the URL; the rest of it is the filter
_NOT_FILTERS = (*_PLACE, "sort", "shown", "newest")


def listed_runs(runs: QuerySet[BackupRun] | None = None) -> QuerySet[BackupRun]:
    """Runs as the table shows them; only the start of long texts is read."""
    return (
        (BackupRun.objects.all() if runs is None else runs)
        .order_by("-requested_at", "-id")
        .defer("message", "failed_message", "conflict_holder", "log_path")
        .annotate(message_start=Left("message", 161), failed_start=Left("failed_message", 161))
    )


def filter_query(query: QueryDict) -> str:
    """The filter in a URL's query: without the page, sorting and empty fields."""
    kept = without_empty(query)
    for name in _NOT_FILTERS:
        kept.pop(name, None)
    return kept.urlencode()


def _without(query: str, *names: str) -> str:
    rest = QueryDict(query, mutable=True)
    for name in names:
        rest.pop(name, None)
    return rest.urlencode()


@dataclass(frozen=True, slots=True)
class GroupTab:
    """A tab that shows a group of states with the same filter."""

    label: str
    query: str
    current: bool


def _tabs(query: QueryDict) -> list[GroupTab]:
    current = query.get("group", "")
    tabs = [("", _("All")), *Group.choices]
    made = []
    for value, label in tabs:
        other = query.copy()
        for name in (*_PLACE, "group"):
            other.pop(name, None)
        if value:
            other["group"] = value
        made.append(GroupTab(str(label), other.urlencode(), value == current))
    return made


def _page_query(query: QueryDict) -> PageQuery:
    """The position in the list that the URL names. Raises BadCursor."""
    older, newer = query.get("older", ""), query.get("newer", "")
    end = query.get("end", "")
    if end not in ("", "oldest", "newest") or bool(older) + bool(newer) + bool(end) > 1:
        raise BadCursor(end)
    start_at_oldest = end == "oldest" or (query.get("sort") == "oldest" and not end)
    return PageQuery(
        older=Cursor.decode(older) if older else None,
        newer=Cursor.decode(newer) if newer else None,
        oldest=start_at_oldest and not older and not newer,
    )


@require_safe
def history(request: PageRequest) -> HttpResponse:
    """A page of the runs that match the filter."""
    if request.GET.get("sort", "") not in ("", "newest", "oldest"):
        return bad_request(request, [_BAD_SORT])
    found = HistoryFilter(request.GET, user=request.user)
    if not found.is_valid():
        return bad_request(request, found.form)
    if (address := pinned(request.GET, found.form.cleaned_data)) != request.GET:
        return redirect(f"{request.path}?{address.urlencode()}")
    try:
        wanted = _page_query(request.GET)
    except BadCursor:
        return bad_request(request, [_BAD_CURSOR])
    display = display_of(request)
    page = RUN_KEYSET.read(found.branches(), wanted, display.rows, listed_runs)
    oldest_first = request.GET.get("sort") == "oldest"
    query = filter_query(request.GET)
    at_newest = not page.has_newer
    runs = page.rows
    newest = RUN_KEYSET.cursor(runs[0]).encode() if runs else ""
    return render(
        request,
        "backups/history.html",
        {
            "runs": runs[::-1] if oldest_first else runs,
            "page": page,
            "older": RUN_KEYSET.cursor(runs[-1]).encode() if runs else "",
            "newer": newest,
            "newest": newest if at_newest else "",
            "is_newest": at_newest,
            "oldest_first": oldest_first,
            "query": query,
            "sorted_query": f"sort=oldest&{query}" if oldest_first else query,
            "form": found.form,
            "chips": active_chips(found, request.GET, drop=_PLACE, moment_words=presentation.local),
            "window": found.window_in_force,
            "query_without_window": _without(query, "window", "since", "until"),
            "project_options": project_options(
                Project.objects.visible_to(request.user)[:MOST_OFFERED],
                found.form.cleaned_data["project"],
            ),
            "choice_boxes": choice_boxes(found.form),
            "windows": HistoryWindow.choices,
            "chosen_window": None if found.has_range else found.window_in_force,
            "may_export": may_somewhere(request.user, Permission.EXPORT),
            "tabs": _tabs(request.GET),
            "saved_views": SavedView.objects.offered_to(request.user, Listing.HISTORY),
            "listing": Listing.HISTORY,
            "has_active": any(run.is_active for run in runs),
            "sizes": PAGE_SIZES,
            "columns": display.columns("history"),
            "hidden": display.classes("history"),
            "back": request.get_full_path(),
        },
    )


@require_safe
def history_count(request: PageRequest) -> HttpResponse:
    """Number of matching runs, up to a cap; loaded after the page."""
    found = HistoryFilter(request.GET, user=request.user)
    if not found.is_valid():
        return bad_request(request, found.form)
    count = count_up_to(found.branches(), MOST_COUNTED)
    return render(
        request,
        "backups/history_count.html",
        {"count": min(count, MOST_COUNTED), "capped": count > MOST_COUNTED},
    )


@live_view
def history_live(request: PageRequest, shown: Shown) -> HttpResponse | None:
    """Shown runs that have changed, by their version, and the number of new ones.

    Key 0 stands for the link "N new runs"; its token is the number.
    """
    tokens = dict(shown)
    visible = listed_runs().filter(
        pk__in=BackupRun.objects.visible_to(request.user).filter(pk__in=tokens).values("pk")
    )
    changed = [run for run in visible if str(run.version) != tokens[run.pk]]
    count = None
    if 0 in tokens:
        found = HistoryFilter(request.GET, user=request.user, now=timezone.now())
        if not found.is_valid():
            return bad_request(request, found.form)
        branches = found.branches()
        try:
            if text := request.GET.get("newest", ""):
                cursor = Cursor.decode(text)
                branches = [RUN_KEYSET.newer_than(branch, cursor) for branch in branches]
        except BadCursor:
            return bad_request(request, [_BAD_CURSOR])
        count = len(RUN_KEYSET.cursors(branches, PageQuery(), MOST_NEW))
        if str(count) == tokens[0]:
            count = None
    if not changed and count is None:
        return None
    context = {
        "runs": changed,
        "new_count": count,
        "most_new": MOST_NEW,
        "query": filter_query(request.GET),
    }
    return render(request, "backups/history_live.html", context)
