"""Filters of the history, kept under a name."""

from __future__ import annotations

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from backups.forms import SavedViewForm
from backups.lists.history.filters import HistoryFilter
from backups.lists.history.windows import pinned
from backups.models import SavedView
from dashboard.db.concurrency import advisory_lock

from .common import PageRequest, bad_request
from .history import filter_query

MOST_KEPT = 100


@require_POST
def save(request: PageRequest) -> HttpResponse:
    """Keep a filter under a name; a name that the user has already is given the new filter."""
    form = SavedViewForm(request.POST)
    if not form.is_valid():
        return bad_request(request, form)
    query = QueryDict(form.cleaned_data["query"])
    found = HistoryFilter(query, user=request.user)
    if not found.is_valid():
        return bad_request(request, found.form)
    name: str = form.cleaned_data["name"]
    own = SavedView.objects.filter(owner=request.user)
    with transaction.atomic():
        advisory_lock(f"save a view of {request.user.pk}")
        if not own.filter(name=name).exists() and own.count() >= MOST_KEPT:
            return bad_request(request, [_("At most %(n)d views can be kept.") % {"n": MOST_KEPT}])
        view, made = SavedView.objects.update_or_create(
            owner=request.user,
            name=name,
            defaults={
                "query": filter_query(pinned(query, found.form.cleaned_data)),
                "shared": form.cleaned_data["shared"],
            },
        )
    text = _("View “%(name)s” saved.") if made else _("View “%(name)s” has the new filter.")
    messages.info(request, text % {"name": view.name})
    return redirect(view)


@require_POST
def delete(request: PageRequest, pk: int) -> HttpResponse:
    """Delete one of the user's own views."""
    view = get_object_or_404(SavedView, pk=pk, owner=request.user)
    view.delete()
    messages.info(request, _("View “%(name)s” deleted.") % {"name": view.name})
    return redirect(reverse("backups:history"))
