"""The project's own pages, which belong to no app."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from dashboard.version import VERSION


@require_safe
def version(request: HttpRequest) -> JsonResponse:
    """`{"version": "0.1.0"}`, for whoever is signed in: to others it would say what to attack."""
    return JsonResponse({"version": VERSION}, headers={"Cache-Control": "no-store"})
