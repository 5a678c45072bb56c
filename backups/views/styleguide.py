"""Every component in every state, for whoever changes one. Its URL exists with DEBUG only."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from backups.choices import Protection, Readiness, RunState

from .common import PageRequest
from .presentation import steps


@require_safe
def styleguide(request: PageRequest) -> HttpResponse:
    """The page."""
    return render(
        request,
        "styleguide.html",
        {
            "themes": ("light", "dark"),
            "tones": ("ok", "busy", "warn", "bad", "muted"),
            "states": RunState.values,
            "progress": [(state, steps(state)) for state in RunState],
            "readiness": Readiness.values,
            "protection": Protection.values,
            "kinds": ("verified", "failed", "rejected", "unproven", "none"),
        },
    )
