"""Connections to clouds: their state, their actions, and registering a cluster by its id."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST, require_safe

from backups.choices import ConnectionFault, SyncStep
from backups.forms import EntryForm, RegisterForm, form_problems
from backups.guide import CONNECTION_FAULTS, ENTRY_LEFT, REGION_ASIDE, Explanation
from backups.models import Connection
from backups.services.connections import manage as service
from backups.services.connections.manage import Entry
from dashboard.accounts.access import Permission, may, require
from dashboard.accounts.models import User
from dashboard.audit.trail import Actor

from .badges import Badge
from .common import PageRequest
from .live import Shown, live_response, live_view

_NOT_CONNECTED = Badge("muted", "minus-circle", gettext_lazy("Not connected"))
_DISCONNECTED = Badge("muted", "pause-circle", gettext_lazy("Disconnected"))
_ASIDE = Badge("muted", "minus-circle", gettext_lazy("Not used"))
_LEFT_STATE = Badge("warn", "exclamation-triangle", gettext_lazy("No longer in clouds.yaml"))
_NEVER_REACHED = Badge("bad", "exclamation-circle", gettext_lazy("Never reached"))
_FAILING = Badge("bad", "exclamation-circle", gettext_lazy("Synchronisation failed"))
_CONNECTED = Badge("ok", "check-circle", gettext_lazy("Connected"))
_NEW = Badge("muted", "clock", gettext_lazy("Not yet synchronised"))


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """An entry as the page shows it.

    Attributes:
        entry: the entry of clouds.yaml in one region.
        may_run: whether the user may have it synchronised.
        may_configure: whether the user may test, connect and disconnect it.
    """

    entry: Entry
    may_run: bool
    may_configure: bool

    @property
    def connection(self) -> Connection | None:
        return self.entry.connection

    @property
    def is_busy(self) -> bool:
        return self.connection is not None and bool(self.connection.sync_step)

    @property
    def state(self) -> Badge:
        """Badge of the connection's state."""
        row = self.connection
        if row is None:
            return _NOT_CONNECTED
        if self.entry.set_aside:
            return _ASIDE
        if row.disconnected_at is not None:
            return _DISCONNECTED
        if row.sync_step:
            icon = "clock" if row.sync_step == SyncStep.WAITING else "arrow-path"
            return Badge("busy", icon, SyncStep(row.sync_step).label)
        if not self.entry.configured:
            return _LEFT_STATE
        if row.sync_error:
            return _FAILING if row.synced_at else _NEVER_REACHED
        return _CONNECTED if row.synced_at else _NEW

    @property
    def words(self) -> Explanation | None:
        """Explanation of what is wrong, or None."""
        row = self.connection
        if self.entry.set_aside:
            return REGION_ASIDE
        if row is None or not self.entry.connected:
            return None
        if not self.entry.configured:
            return ENTRY_LEFT
        return CONNECTION_FAULTS.get(ConnectionFault(row.sync_fault)) if row.sync_error else None

    @property
    def said(self) -> str:
        """What a screen reader announces when the row changes."""
        name = self.connection or self.entry.cloud
        text = f"{name}: {self.state.label}"
        if self.connection is not None and self.state is _CONNECTED:
            count = self.connection.listed
            text += " · " + ngettext("%(count)d cluster", "%(count)d clusters", count) % {
                "count": count
            }
        return text


def rows_of(entries: Iterable[Entry], user: User) -> list[ConnectionRow]:
    """Rows of the page with the user's permissions."""
    everything = may(user, Permission.CONFIGURE)
    return [
        ConnectionRow(
            entry,
            may_run=may(
                user, Permission.RUN, entry.connection.project if entry.connection else None
            ),
            may_configure=everything,
        )
        for entry in entries
    ]


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
    """All entries of clouds.yaml that the user may see."""
    return _page(request)


@live_view
def connections_live(request: PageRequest, shown: Shown) -> HttpResponse | None:
    """The shown connections that have changed, by their version."""
    tokens = dict(shown)
    everything = may(request.user, Permission.CONFIGURE)
    listed, _problem = service.entries(request.user, all_of_them=everything)
    changed = [
        entry
        for entry in listed
        if (row := entry.connection) and row.pk in tokens and str(row.version) != tokens[row.pk]
    ]
    if not changed:
        return None
    rows = rows_of(changed, request.user)
    return live_response(request, {"rows": rows}, row_template="backups/connection_row.html")


def _entry(request: PageRequest) -> tuple[str, str]:
    """Get the entry that a form names; it must be in clouds.yaml."""
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
    """Stop synchronising a connection, after a confirmation."""
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
    """Request a synchronisation of a connection."""
    row = _row(request, pk)
    require(request.user, Permission.RUN, row.project)
    if row.disconnected_at is not None:
        return _page(request, 409, problems=[_("This connection is disconnected.")])
    if service.request_sync(row, Actor.of(request)):
        messages.info(request, _("Synchronisation of %(name)s has started.") % {"name": row})
    else:
        messages.info(request, _("%(name)s is already being synchronised.") % {"name": row})
    return redirect("backups:connections")


@require_POST
def connection_file_checks(request: PageRequest, pk: int) -> HttpResponse:
    """Switch the check of files in the bucket on or off."""
    require(request.user, Permission.CONFIGURE)
    row, on = _row(request, pk), request.POST.get("on") == "1"
    service.set_file_checks(row, Actor.of(request), on=on)
    text = _("Files in the bucket are not checked for %(name)s.")
    if on:
        text = _("Files in the bucket are checked for %(name)s.")
    messages.info(request, text % {"name": row})
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
