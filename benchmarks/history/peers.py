"""The peers that the history page is compared with."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template import Context, Engine

from backups.lists.history import RUN_KEYSET, HistoryFilter, HistoryWindow
from backups.views.history import choice_boxes, listed_runs
from dashboard.db.keyset import Cursor, Page, PageQuery
from dashboard.web.display import PAGE_SIZE


def offset_page(request: HttpRequest) -> HttpResponse:
    """The product's page and filters with the usual paging: COUNT(*) and OFFSET."""
    found = HistoryFilter(request.GET, user=request.user)  # type: ignore[arg-type]
    found.is_valid()
    runs = listed_runs(found.runs())
    if text := request.GET.get("q"):
        from django.db.models import Q

        runs = runs.filter(
            Q(cluster_name__icontains=text)
            | Q(cluster_cloud_id__icontains=text)
            | Q(message__icontains=text)
            | Q(failed_message__icontains=text)
            | Q(request_id__icontains=text)
        )
    page = Paginator(runs, PAGE_SIZE).get_page(request.GET.get("p", 1))
    rows = list(page.object_list)
    context: dict[str, Any] = {
        "runs": rows,
        "page": Page(rows, page.has_previous(), page.has_next()),
        "form": found.form,
        "window": found.window_in_force,
        "choice_boxes": choice_boxes(found.form),
        "windows": HistoryWindow.choices,
        "chosen_window": found.window_in_force,
    }
    return render(request, "backups/history.html", context)


MINIMAL = Engine(autoescape=True).from_string(
    "<!doctype html><title>Runs</title><table>{% for run in runs %}<tr><td>{{ run.pk }}"
    "<td>{{ run.requested_at }}<td>{{ run.cluster_name }}<td>{{ run.project_name }}"
    "<td>{{ run.requested_by_name }}<td>{{ run.trigger }}<td>{{ run.state }}<td>{{ run.outcome }}"
    "<td>{{ run.http_status }}<td>{{ run.error_code }}<td>{{ run.message }}"
    "<td>{{ run.finished_at }}{% endfor %}</table>"
)


def minimal_page(request: HttpRequest) -> HttpResponse:
    """Fifty rows by keyset in a bare table: the minimum work of database and template."""
    from backups.models import BackupRun

    wanted = PageQuery()
    if older := request.GET.get("older"):
        wanted = PageQuery(older=Cursor.decode(older))
    keys = RUN_KEYSET.cursors([BackupRun.objects.all()], wanted, PAGE_SIZE)
    runs = BackupRun.objects.filter(pk__in=[key.pk for key in keys]).order_by("-requested_at")
    return HttpResponse(MINIMAL.render(Context({"runs": runs})))
