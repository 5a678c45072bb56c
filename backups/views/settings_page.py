"""The settings page: display preferences of this browser, and adopting a copied database."""

from __future__ import annotations

from dataclasses import replace

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from backups.choices import RunState
from backups.forms import AdoptForm, DisplayForm, ListForm, form_problems
from backups.models import BackupRun, Instance
from backups.services.adopting import NothingToAdopt, adopt
from dashboard.accounts.access import Permission, require
from dashboard.audit.trail import Actor
from dashboard.web.display import COLUMNS, DENSITIES, PAGE_SIZES, THEMES, display_of, store_display

from .common import PageRequest, bad_request, local_path


@require_safe
def settings_page(request: PageRequest) -> HttpResponse:
    """The settings that the user may see."""
    return render(
        request,
        "backups/settings.html",
        {"themes": THEMES.items(), "densities": DENSITIES.items(), "sizes": PAGE_SIZES},
    )


@require_POST
def display(request: PageRequest) -> HttpResponse:
    """Remember theme, density, keys and page size for this browser."""
    form = DisplayForm(request.POST)
    if not form.is_valid():
        return bad_request(request, form_problems(form))
    cleaned = form.cleaned_data
    display = replace(
        display_of(request),
        theme=cleaned["theme"],
        density=cleaned["density"],
        keys=cleaned["keys"],
        rows=int(cleaned["rows"]),
    )
    response = redirect(f"{reverse('backups:settings')}#display")
    store_display(response, display)
    messages.info(request, _("Saved for this browser."))
    return response


@require_POST
def list_look(request: PageRequest) -> HttpResponse:
    """Remember density, page size and columns of a list for this browser."""
    form = ListForm(request.POST)
    if not form.is_valid():
        return bad_request(request, form_problems(form))
    name: str = form.cleaned_data["list"]
    shown = {int(place) for place in form.cleaned_data["column"]}
    display = display_of(request)
    hidden = {**display.hidden, name: frozenset(COLUMNS[name]) - shown}
    back = local_path(request, request.POST.get("back", ""), reverse(f"backups:{name}"))
    response = redirect(back)
    rows, density = int(form.cleaned_data["rows"]), form.cleaned_data["density"]
    store_display(response, replace(display, density=density, rows=rows, hidden=hidden))
    return response


@require_http_methods(["GET", "HEAD", "POST"])
def adoption(request: PageRequest) -> HttpResponse:
    """Adopt a copied or moved database: where it came from, and the form."""
    require(request.user, Permission.CONFIGURE)
    form = AdoptForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        moved = form.cleaned_data["queued"] == "send"
        try:
            cancelled = adopt(Actor.of(request), form.cleaned_data["reason"], moved=moved)
        except NothingToAdopt as error:
            messages.info(request, str(error))
        else:
            text = ngettext(
                "The database was adopted. %(number)d queued run was cancelled.",
                "The database was adopted. %(number)d queued runs were cancelled.",
                cancelled,
            )
            messages.info(request, text % {"number": cancelled})
        return redirect("backups:home")
    context = {
        "form": form,
        "instance": Instance.objects.filter(pk=1, adopted=False).first(),
        "queued": BackupRun.objects.filter(state=RunState.QUEUED).count(),
    }
    return render(request, "backups/adoption.html", context, status=422 if form.errors else 200)
