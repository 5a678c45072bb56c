"""The clusters page: every cluster, its last backup, and the button."""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from backups.forms import MAX_WAIT_MINUTES, BackupForm, ClusterFilterForm, LiveForm, form_problems
from backups.models import BackupRun, Cluster, Project
from backups.models.cloud import attach_latest_runs
from backups.services.requests import BackupRequest, request_backup

from .common import PageRequest, bad_request, local_path, mark_live, requester, unchanged

PAGE_SIZE = 50


@dataclass(slots=True)
class ClusterRow:
    """A row of the table.

    Attributes:
        cluster: the cluster, with its latest run.
        reason, wait: what was typed into the row's options.
        problems: what was wrong with it, as sentences.
        key: the idempotency key of the row's form.
    """

    cluster: Cluster
    reason: str = ""
    wait: str = ""
    problems: list[str] = field(default_factory=list)
    key: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    @property
    def token(self) -> str:
        """How the row looks, in short: another token means another look."""
        cluster, run = self.cluster, self.cluster.latest_run
        looks = (cluster.name, cluster.engine, cluster.version, cluster.status_label)
        digest = zlib.crc32("\0".join(looks).encode())
        return f"{run.pk}.{run.version}.{digest:x}" if run else f"{digest:x}"


def rows_of(clusters: Iterable[Cluster]) -> list[ClusterRow]:
    """Rows for clusters that came from `with_latest_run()`; one query for all their runs."""
    listed = list(clusters)
    attach_latest_runs(listed)
    return [ClusterRow(cluster) for cluster in listed]


@require_GET
def clusters(request: PageRequest) -> HttpResponse:
    """The table, a page at a time, by name."""
    form = ClusterFilterForm(request.GET)
    if not form.is_valid():
        return bad_request(request, form)
    text: str = form.cleaned_data["q"]
    found = Cluster.objects.with_latest_run().select_related("project")
    if text:
        found = found.filter(Q(name__icontains=text) | Q(cluster_id__icontains=text))
    page = Paginator(found, PAGE_SIZE).get_page(form.cleaned_data["page"] or 1)
    return _render_page(
        request,
        rows_of(page.object_list),
        {"page": page, "q": text, "back": request.get_full_path()},
    )


def _render_page(
    request: PageRequest, rows: list[ClusterRow], context: dict[str, object], status: int = 200
) -> HttpResponse:
    latest = [run for row in rows if (run := row.cluster.latest_run)]
    return render(
        request,
        "backups/clusters.html",
        {
            "rows": rows,
            "sync_problems": Project.objects.exclude(sync_error=""),
            "has_active": any(run.is_active for run in latest),
            "max_wait": MAX_WAIT_MINUTES,
            **context,
        },
        status=status,
    )


@require_GET
def clusters_live(request: PageRequest) -> HttpResponse:
    """Those of the shown rows that have changed; 204 when none has."""
    form = LiveForm(request.GET)
    if not form.is_valid():
        return bad_request(request, form)
    shown = dict(form.cleaned_data["shown"])
    found = Cluster.objects.filter(pk__in=shown).with_latest_run().select_related("project")
    changed = [row for row in rows_of(found) if row.token != shown[row.cluster.pk]]
    if not changed:
        return unchanged()
    return mark_live(
        render(
            request,
            "backups/clusters_live.html",
            {"rows": changed, "max_wait": MAX_WAIT_MINUTES},
        )
    )


@require_POST
def cluster_backup(request: PageRequest, pk: int) -> HttpResponse:
    """Ask for a backup: the row for htmx, else back to where the button was."""
    cluster = get_object_or_404(Cluster.objects.select_related("project"), pk=pk)
    form = BackupForm(request.POST)
    if not form.is_valid():
        return _refused(request, cluster, form_problems(form), 422)
    if cluster.gone_at:
        typed: str = form.cleaned_data["reason"]
        problem = _("This cluster has gone from the cloud: there are no logs left to back up.")
        if typed:
            problem += " " + _("Your reason was: “%(reason)s”.") % {"reason": typed}
        return _refused(request, cluster, [problem], 409)
    made = request_backup(
        cluster,
        requester(request, form.cleaned_data["reason"]),
        idempotency_key=form.cleaned_data["idempotency_key"],
        wait_minutes=form.cleaned_data["wait_minutes"] or 0,
    )
    text = _what_came_of_it(made, typed=bool(request.POST.get("reason")))
    if request.htmx:
        return row_response(request, cluster.pk, text, run=made.run)
    messages.info(request, text)
    if request.POST.get("then") == "run":
        return redirect(made.run)
    back = local_path(request, request.POST.get("back", ""), reverse("backups:clusters"))
    return redirect(f"{back}#cluster-{cluster.pk}")


def _what_came_of_it(made: BackupRequest, *, typed: bool) -> str:
    run = made.run
    if made.created:
        return _("Log backup of %(cluster)s requested.") % {"cluster": run.cluster_name}
    if run.is_terminal:
        return _("This form was already sent: its run has ended: %(state)s.") % {
            "state": run.run_state.label
        }
    text = _(
        "Your request joined the run that %(name)s requested at %(time)s UTC; none is sent twice."
    ) % {"name": run.requested_by_name, "time": f"{run.requested_at:%H:%M:%S}"}
    if typed:
        text += " " + _("The run keeps its own reason and options.")
    return text


def row_response(
    request: PageRequest,
    pk: int,
    text: str,
    *,
    run: BackupRun | None = None,
    tone: str = "info",
) -> HttpResponse:
    """A cluster's row as it is now, with a notice, for htmx."""
    found = Cluster.objects.filter(pk=pk).with_latest_run().select_related("project")
    return render(
        request,
        "backups/cluster_answer.html",
        {
            "row": rows_of(found)[0],
            "max_wait": MAX_WAIT_MINUTES,
            "notice": {"text": text, "tone": tone, "run": run},
        },
    )


def _refused(
    request: PageRequest, cluster: Cluster, problems: list[str], status: int
) -> HttpResponse:
    """The row again with what was typed and what is wrong with it."""
    found = Cluster.objects.filter(pk=cluster.pk).with_latest_run().select_related("project")
    row = rows_of(found)[0]
    row.reason = request.POST.get("reason", "")[:2000]
    row.wait = request.POST.get("wait_minutes", "")[:20]
    row.problems = problems
    if request.htmx:
        return render(
            request,
            "backups/cluster_row.html",
            {"row": row, "max_wait": MAX_WAIT_MINUTES},
            status=status,
        )
    page = Paginator([row.cluster], PAGE_SIZE).get_page(1)
    return _render_page(request, [row], {"page": page, "q": cluster.cluster_id}, status)
