"""The settings: where each of them is, and how pages look in this browser."""

from __future__ import annotations

from dataclasses import replace

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from backups.forms import DisplayForm, ListForm, form_problems
from dashboard.web.display import COLUMNS, PAGE_SIZES, THEMES, display_of, store_display

from .common import PageRequest, bad_request, local_path


@require_safe
def settings_page(request: PageRequest) -> HttpResponse:
    """Everything that can be set, as far as the user may."""
    return render(
        request,
        "backups/settings.html",
        {"themes": THEMES.items(), "sizes": PAGE_SIZES},
    )


@require_POST
def display(request: PageRequest) -> HttpResponse:
    """Remember theme, keys and page size for this browser."""
    form = DisplayForm(request.POST)
    if not form.is_valid():
        return bad_request(request, form_problems(form))
    cleaned = form.cleaned_data
    look = replace(
        display_of(request), theme=cleaned["theme"], keys=cleaned["keys"], rows=int(cleaned["rows"])
    )
    response = redirect(f"{reverse('backups:settings')}#display")
    store_display(response, look)
    messages.info(request, _("Kept for this browser."))
    return response


@require_POST
def list_look(request: PageRequest) -> HttpResponse:
    """Remember page size and columns of a list for this browser."""
    form = ListForm(request.POST)
    if not form.is_valid():
        return bad_request(request, form_problems(form))
    name: str = form.cleaned_data["list"]
    shown = {int(place) for place in form.cleaned_data["column"]}
    look = display_of(request)
    hidden = {**look.hidden, name: frozenset(COLUMNS[name]) - shown}
    back = local_path(request, request.POST.get("back", ""), reverse(f"backups:{name}"))
    response = redirect(back)
    store_display(response, replace(look, rows=int(form.cleaned_data["rows"]), hidden=hidden))
    return response
