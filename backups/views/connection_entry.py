"""How to add a connection: the lines of clouds.yaml by kind of credentials. It writes nothing."""

from __future__ import annotations

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from backups.forms import CloudEntryForm
from backups.rules.cloud_entries import KINDS, entry_lines, region_of
from backups.services.connections import manage as service
from dashboard.accounts.access import Permission, require

from .common import PageRequest


@require_safe
def connection_entry(request: PageRequest) -> HttpResponse:
    """The form, the lines, and a test of the entry once clouds.yaml has it.

    Secrets are not asked for: they belong into the file and nowhere else.
    """
    require(request.user, Permission.CONFIGURE)
    kind = request.GET.get("kind") or next(iter(KINDS))
    if kind not in KINDS:
        raise Http404
    examples = dict(KINDS[kind].defaults)
    if request.GET.get("fields") == kind:  # otherwise they are those of another kind
        examples |= {name: value for name, value in request.GET.dict().items() if value}
    form = CloudEntryForm(kind, examples)
    values = form.cleaned_data if form.is_valid() else {}
    cloud = values.get("name") or KINDS[kind].defaults["name"]
    region = region_of(kind, values)
    return render(
        request,
        "backups/connection_entry.html",
        {
            "kinds": KINDS,
            "kind": kind,
            "form": form,
            "lines": entry_lines(kind, values) if form.is_valid() else "",
            "cloud": cloud,
            "region": region,
            "is_configured": form.is_valid() and service.is_configured(cloud, region),
        },
        status=200 if form.is_valid() else 422,
    )
