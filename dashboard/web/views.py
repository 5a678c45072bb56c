"""Views of the project that do not belong to an app."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from dashboard.version import VERSION


@require_safe
def version(request: HttpRequest) -> JsonResponse:
    """Return `{"version": "0.1.0"}`; requires sign-in, since a version helps attackers."""
    return JsonResponse({"version": VERSION}, headers={"Cache-Control": "no-store"})


def server_error(request: HttpRequest) -> HttpResponse:
    """Render the handler500 page, which needs no database and shows the id used in the log."""
    request_id = getattr(request, "request_id", "")
    return HttpResponse(render_to_string("500.html", {"request_id": request_id}), status=500)
