"""Saved views: named filters of the history and of the clusters page."""

from __future__ import annotations

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from backups.forms import SavedViewForm
from backups.lists.clusters import ClusterFilter
from backups.lists.history import HistoryFilter, pinned
from backups.models import Listing, SavedView
from backups.models.saved import LONGEST_QUERY
from dashboard.db.concurrency import advisory_lock

from .clusters import url_query
from .common import PageRequest, bad_request
from .history import filter_query

MOST_KEPT = 100  # by a user


@require_POST
def save_view(request: PageRequest) -> HttpResponse:
    """Save a filter as a view; a view of the user with this name of the same list is replaced."""
    form = SavedViewForm(request.POST)
    if not form.is_valid():
        return bad_request(request, form)
    query = QueryDict(form.cleaned_data["query"])
    listing = Listing(form.cleaned_data["listing"] or Listing.HISTORY)
    found: ClusterFilter | HistoryFilter
    if listing is Listing.CLUSTERS:
        found = ClusterFilter(query, user=request.user)
    else:
        found = HistoryFilter(query, user=request.user)
    if not found.is_valid():
        return bad_request(request, found.form)
    if isinstance(found, ClusterFilter):
        kept = url_query(query)
    else:
        kept = filter_query(pinned(query, found.form.cleaned_data))
    if len(kept) > LONGEST_QUERY:  # encoded, it is longer than as it was sent
        return bad_request(request, [_("The filter is too long.")])
    name: str = form.cleaned_data["name"]
    own = SavedView.objects.filter(owner=request.user)
    same = own.filter(name=name, listing=listing)
    with transaction.atomic():
        advisory_lock(f"save a view of {request.user.pk}")
        if not same.exists() and own.count() >= MOST_KEPT:
            return bad_request(request, [_("At most %(n)d views can be saved.") % {"n": MOST_KEPT}])
        view, made = SavedView.objects.update_or_create(
            owner=request.user,
            listing=listing,
            name=name,
            defaults={"query": kept, "shared": form.cleaned_data["shared"]},
        )
    text = _("View “%(name)s” saved.") if made else _("View “%(name)s” updated.")
    messages.info(request, text % {"name": view.name})
    return redirect(view)


@require_POST
def delete_view(request: PageRequest, pk: int) -> HttpResponse:
    """Delete one of the user's own views."""
    view = get_object_or_404(SavedView, pk=pk, owner=request.user)
    view.delete()
    messages.info(request, _("View “%(name)s” deleted.") % {"name": view.name})
    return redirect(reverse(f"backups:{view.listing}"))
