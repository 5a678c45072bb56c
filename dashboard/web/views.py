"""The project's own pages, which belong to no app."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from dashboard.version import VERSION


@require_safe
def version(request: HttpRequest) -> JsonResponse:
    """`{"version": "0.1.0"}`, for whoever is signed in: to others it would say what to attack."""
    return JsonResponse({"version": VERSION}, headers={"Cache-Control": "no-store"})


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500: a page that needs no database and gives the id in the log."""
    request_id = getattr(request, "request_id", "")
    return HttpResponse(render_to_string("500.html", {"request_id": request_id}), status=500)
