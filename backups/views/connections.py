"""Connections: which clouds are kept in step, how each fares, and clusters added by their id."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from backups.choices import ConnectionFault
from backups.forms import EntryForm, LiveForm, RegisterForm, form_problems
from backups.guide import CONNECTION_FAULTS
from backups.models import Connection
from backups.services.connections import manage as service
from dashboard.accounts.access import Permission, may, require
from dashboard.audit.trail import Actor

from .common import PageRequest, bad_request, mark_live, unchanged
from .connection_rows import rows_of


def _row(request: PageRequest, pk: int) -> Connection:
    rows = Connection.objects.select_related("project")
    if not may(request.user, Permission.CONFIGURE):
        rows = rows.visible_to(request.user).exclude(project=None)
    return get_object_or_404(rows, pk=pk)


def _page(request: PageRequest, status: int = 200, **more: object) -> HttpResponse:
    everything = may(request.user, Permission.CONFIGURE)
    listed, problem = service.entries(request.user, all_of_them=everything)
    rows = rows_of(listed, request.user)
    return render(
        request,
        "backups/connections.html",
        {
            "rows": rows,
            "file_problem": problem if everything else "",
            "may_configure": everything,
            "is_busy": any(row.is_busy for row in rows),
            **more,
        },
        status=status,
    )


@require_safe
def connections(request: PageRequest) -> HttpResponse:
    """Every entry of clouds.yaml that this user may know of."""
    return _page(request)


@require_safe
def connections_live(request: PageRequest) -> HttpResponse:
    """Those of the shown connections that have changed."""
    form = LiveForm(request.GET)
    if not form.is_valid():
        return bad_request(request, form)
    shown = dict(form.cleaned_data["shown"])
    everything = may(request.user, Permission.CONFIGURE)
    listed, _problem = service.entries(request.user, all_of_them=everything)
    changed = [
        entry
        for entry in listed
        if (row := entry.connection) and row.pk in shown and str(row.version) != shown[row.pk]
    ]
    if not changed:
        return unchanged()
    rows = rows_of(changed, request.user)
    return mark_live(render(request, "backups/connections_live.html", {"rows": rows}))


def _entry(request: PageRequest) -> tuple[str, str]:
    """The entry that a form names; only what clouds.yaml has can be called."""
    require(request.user, Permission.CONFIGURE)
    form = EntryForm(request.POST)
    if not form.is_valid():
        raise Http404(" ".join(form_problems(form)))
    cloud, region = form.cleaned_data["cloud"], form.cleaned_data["region"]
    if not service.is_configured(cloud, region):
        raise Http404(_("clouds.yaml has no such entry."))
    return cloud, region


@require_POST
def connection_test(request: PageRequest) -> HttpResponse:
    """Test an entry while the browser waits; services.diagnosis bounds how long."""
    cloud, region = _entry(request)
    found = service.test(cloud, region, Actor.of(request))
    steps = [(step, CONNECTION_FAULTS.get(step.fault)) for step in found.steps]
    tested = f"{cloud} / {region}" if region else cloud
    return _page(request, diagnosis=found, steps=steps, tested=tested)


@require_POST
def connection_connect(request: PageRequest) -> HttpResponse:
    """Connect an entry; its first sync begins at once."""
    cloud, region = _entry(request)
    row = service.connect(cloud, region, Actor.of(request))
    messages.info(request, _("%(name)s is connected; its clusters are listed.") % {"name": row})
    return redirect("backups:connections")


@require_POST
def connection_disconnect(request: PageRequest, pk: int) -> HttpResponse:
    """Stop synchronising a connection, once that was confirmed."""
    require(request.user, Permission.CONFIGURE)
    row = _row(request, pk)
    if request.POST.get("confirmed") != "1":
        left = not service.is_configured(row.cloud, row.region)
        return _page(request, 422, asked=row, asked_left=left)
    service.disconnect(row, Actor.of(request), request.POST.get("reason", "")[:500])
    messages.info(request, _("%(name)s is no longer synchronised.") % {"name": row})
    return redirect("backups:connections")


@require_POST
def connection_sync(request: PageRequest, pk: int) -> HttpResponse:
    """Have a connection synchronised now."""
    row = _row(request, pk)
    require(request.user, Permission.RUN, row.project)
    if row.disconnected_at is not None:
        return _page(request, 409, problems=[_("This connection is disconnected.")])
    if service.request_sync(row, Actor.of(request)):
        messages.info(request, _("%(name)s is synchronised now.") % {"name": row})
    else:
        messages.info(request, _("%(name)s is being synchronised already.") % {"name": row})
    return redirect("backups:connections")


@require_POST
def cluster_register(request: PageRequest) -> HttpResponse:
    """Register one cluster by its id."""
    require(request.user, Permission.CONFIGURE)
    form = RegisterForm(request.POST)
    if not form.is_valid():
        return _page(request, 422, register=request.POST, register_problems=form_problems(form))
    row = get_object_or_404(Connection.objects.connected(), pk=form.cleaned_data["connection"])
    if not service.is_configured(row.cloud, row.region):
        problem = _("clouds.yaml no longer has this entry.")
        return _page(request, 409, register=request.POST, register_problems=[problem])
    try:
        cluster = service.register_by_hand(row, form.cleaned_data["cluster_id"], Actor.of(request))
    except service.RegisterError as error:
        return _page(
            request,
            409 if error.cluster else 422,
            register=request.POST,
            register_problems=[str(error)],
            register_words=CONNECTION_FAULTS.get(ConnectionFault(error.fault)),
            registered=error.cluster,
        )
    messages.info(request, _("%(name)s is registered.") % {"name": cluster.name})
    return redirect(cluster)
