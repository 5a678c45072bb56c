"""Adopting a database that was copied or moved here, as `manage.py adopt` does it."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from backups.choices import RunState
from backups.forms import AdoptForm
from backups.models import BackupRun, Instance
from backups.services.adopting import NothingToAdopt, adopt
from dashboard.accounts.access import Permission, require
from dashboard.audit.trail import Actor

from .common import PageRequest


@require_http_methods(["GET", "HEAD", "POST"])
def adoption(request: PageRequest) -> HttpResponse:
    """Where the database came from, and the form that adopts it."""
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
