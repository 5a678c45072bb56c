"""A cluster's page: readiness, protection, facts and history; archiving, labels and objective."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from backups.choices import ACTIVE, Protection, Readiness
from backups.forms import MAX_WAIT_MINUTES, ArchiveForm, LabelsForm, ObjectiveForm, form_problems
from backups.guide import READINESS, Explanation
from backups.models import BackupRun, Cluster, ClusterTag, LogSettings, Project
from backups.models.cluster import STATUS_LABELS, labels_as_text
from backups.rules.causes import BLOCKED
from backups.services.attention import bad_results
from backups.services.clusters import checks, manage
from backups.services.clusters.manage import CannotArchive, LabelsChanged
from backups.services.clusters.preflight import blocked_reason
from backups.services.clusters.protection import set_objective
from backups.services.clusters.readiness import request_check
from backups.services.statistics import ClusterHistory, Mark, cluster_history
from dashboard.accounts.access import Permission, may, require
from dashboard.audit.trail import Actor

from . import charts
from .badges import RUN_STATES
from .cluster_rows import ClusterRow, permitted_cluster
from .common import PageRequest, bad_request, local_path
from .history import listed_runs
from .live import Shown, live_response, live_view, token
from .presentation import explanation

PARTS = tuple(
    f"backups/cluster_{part}.html" for part in ("head", "state", "days", "latest", "facts")
)
LATEST = 10


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the cluster as the page shows it."""

    name: str
    type: str
    status: str


class ClusterPage:
    """The data of the page; each part is read on first access.

    Args:
        cluster: with its project.
        now: the moment that counts.
    """

    def __init__(self, cluster: Cluster, now: datetime) -> None:
        self.cluster, self.now = cluster, now

    @cached_property
    def latest(self) -> list[BackupRun]:
        """The newest runs, as the history lists them."""
        return list(listed_runs().filter(cluster=self.cluster)[:LATEST])

    @cached_property
    def active(self) -> BackupRun | None:
        """The run in progress; imported runs may be newer."""
        return self.cluster.runs.filter(state__in=sorted(ACTIVE)).first()

    @cached_property
    def settings(self) -> LogSettings | None:
        """The log backup settings as last read; None where they never were."""
        return LogSettings.objects.filter(cluster=self.cluster).first()

    @cached_property
    def tags(self) -> list[ClusterTag]:
        return list(self.cluster.tags.all())

    @property
    def nodes(self) -> list[Node]:
        return [
            Node(
                name=str(node.get("name") or ""),
                type=str(node.get("type") or ""),
                status=str(STATUS_LABELS.get(str(node.get("status")), node.get("status") or "")),
            )
            for node in self.cluster.nodes
        ]

    @property
    def cloud_tags(self) -> list[ClusterTag]:
        return [tag for tag in self.tags if tag.origin == ClusterTag.Origin.CLOUD]

    @property
    def labels(self) -> list[ClusterTag]:
        return [tag for tag in self.tags if tag.origin == ClusterTag.Origin.OWN]

    @property
    def labels_text(self) -> str:
        """The labels as the form has them."""
        return labels_as_text({tag.key: tag.value for tag in self.labels})

    @cached_property
    def history(self) -> ClusterHistory:
        return cluster_history(self.cluster, self.now)

    @cached_property
    def strip(self) -> charts.Strip:
        return charts.strip(self.history.days)

    @property
    def verified_days(self) -> int:
        return self.history.count(Mark.VERIFIED)

    @property
    def failed_days(self) -> int:
        return self.history.count(Mark.FAILED)

    @property
    def empty_days(self) -> int:
        return self.history.count(Mark.NONE)

    @property
    def protection(self) -> Protection:
        return self.cluster.protection(self.now)

    @cached_property
    def bad(self) -> BackupRun | None:
        """The last run with a result, if it was unsuccessful."""
        return bad_results(Cluster.objects.filter(pk=self.cluster.pk)).get(self.cluster.pk)

    @property
    def advice(self) -> Explanation:
        """Who acts and what is next: from the readiness if that blocks a backup, else `bad`."""
        readiness = Readiness(self.cluster.readiness)
        if self.bad is None or (readiness in BLOCKED and not self.bad.is_active):
            return READINESS[readiness]
        return explanation(self.bad)

    @property
    def tone(self) -> str:
        """Colour token of the page's head: the worst state on the page."""
        status = self.cluster.status_tone
        if status == "ok" and self.bad is not None:
            return RUN_STATES[self.bad.state].tone
        return status

    @property
    def is_checking(self) -> bool:
        """Whether a readiness check is in progress or has been requested."""
        until = self.cluster.check_leased_until
        return self.cluster.check_due_at == checks.ASKED_FOR or (
            until is not None and until > self.now
        )

    @property
    def token(self) -> str:
        """The live token of the page."""
        columns = [getattr(self.cluster, f.attname) for f in Cluster._meta.concrete_fields]
        runs = [(run.pk, run.version) for run in self.latest]
        tags = [(tag.origin, tag.key, tag.value) for tag in self.tags]
        settings = self.settings and self.settings.read_at
        active = self.active and (self.active.pk, self.active.version)
        bad = self.bad and (self.bad.pk, self.bad.version)
        state = (bad, self.protection, self.is_checking, self.now.date(), self.cluster.objective)
        return token(columns, runs, tags, settings, active, state)


def _context(request: PageRequest, pk: int) -> dict[str, object]:
    cluster = permitted_cluster(request, pk, Permission.SEE)
    page = ClusterPage(cluster, timezone.now())
    row = ClusterRow(
        cluster,
        page.now,
        may_run=may(request.user, Permission.RUN, cluster.project),
        may_configure=may(request.user, Permission.CONFIGURE, cluster.project),
        blocked=blocked_reason(cluster),
    )
    return {
        "page": page,
        "cluster": cluster,
        "run": page.active,
        "token": page.token,
        "row": row,
        "max_wait": MAX_WAIT_MINUTES,
        "may_run": row.may_run,
        "may_configure": row.may_configure,
    }


@require_safe
def cluster_detail(request: PageRequest, pk: int) -> HttpResponse:
    """Page of a cluster."""
    return render(request, "backups/cluster.html", _context(request, pk))


@live_view
def cluster_detail_live(request: PageRequest, shown: Shown, pk: int) -> HttpResponse | None:
    """The parts of the page, if something has changed."""
    context = _context(request, pk)
    if {shown_token for _pk, shown_token in shown} == {context["token"]}:
        return None
    return live_response(request, context, parts=PARTS)


@require_POST
def cluster_check(request: PageRequest, pk: int) -> HttpResponse:
    """Request a check of the cluster's readiness; the page shows its result."""
    cluster = permitted_cluster(request, pk, Permission.RUN)
    request_check(cluster)
    messages.info(request, _("A check of %(cluster)s was requested.") % {"cluster": cluster.name})
    return redirect(cluster)


@require_POST
def cluster_archive(request: PageRequest, pk: int) -> HttpResponse:
    """Archive a cluster, with a reason; it can be restored at any time."""
    cluster = permitted_cluster(request, pk, Permission.CONFIGURE)
    form = ArchiveForm(request.POST)
    if not form.is_valid():
        return bad_request(request, form_problems(form))
    try:
        archived = manage.archive(cluster, Actor.of(request), form.cleaned_data["reason"])
    except CannotArchive as error:
        messages.error(request, str(error))
    else:
        messages.info(
            request,
            (
                _("%(cluster)s is archived: it is neither listed, checked nor counted.")
                if archived
                else _("%(cluster)s was already archived.")
            )
            % {"cluster": cluster.name},
        )
    return _back(request, cluster)


@require_POST
def cluster_restore(request: PageRequest, pk: int) -> HttpResponse:
    """Restore an archived cluster."""
    cluster = permitted_cluster(request, pk, Permission.CONFIGURE)
    restored = manage.restore(cluster, Actor.of(request))
    text = _("%(cluster)s is restored.") if restored else _("%(cluster)s was not archived.")
    messages.info(request, text % {"cluster": cluster.name})
    return _back(request, cluster)


@require_POST
def cluster_labels(request: PageRequest, pk: int) -> HttpResponse:
    """Replace a cluster's labels, unless they have been changed since the form was loaded."""
    cluster = permitted_cluster(request, pk, Permission.CONFIGURE)
    form = LabelsForm(request.POST)
    typed = request.POST.get("labels", "")[:6000]
    if not form.is_valid():
        seen = request.POST.get("seen", "")[:6000]
        return _labels_again(request, cluster, typed, seen, form_problems(form), 422)
    wanted, seen = form.cleaned_data["labels"], form.cleaned_data["seen"]
    try:
        changed = manage.set_labels(cluster, wanted, Actor.of(request), seen=seen)
    except LabelsChanged as error:
        now = labels_as_text(error.now)
        problem = f"{error} " + _("They are now: %(labels)s. Save again to replace them.") % {
            "labels": ", ".join(now.splitlines()) or _("none")
        }
        return _labels_again(request, cluster, typed, now, [problem], 409)
    if changed:
        messages.info(
            request, _("The labels of %(cluster)s are saved.") % {"cluster": cluster.name}
        )
    return _back(request, cluster)


def _labels_again(
    request: PageRequest, cluster: Cluster, typed: str, seen: str, problems: list[str], status: int
) -> HttpResponse:
    """Show the form again with what was typed; `seen` are the labels that this answer shows."""
    context = {"cluster": cluster, "typed": typed, "seen": seen, "problems": problems}
    return render(request, "backups/cluster_labels.html", context, status=status)


@require_POST
def cluster_objective(request: PageRequest, pk: int) -> HttpResponse:
    """Set a cluster's objective; empty resets it to the project's."""
    cluster = permitted_cluster(request, pk, Permission.CONFIGURE)
    form = ObjectiveForm(request.POST)
    if not form.is_valid():
        return bad_request(request, form)
    set_objective(cluster, form.cleaned_data["hours"], Actor.of(request))
    text = _("The objective of %(cluster)s is %(hours)d h.")
    messages.info(request, text % {"cluster": cluster.name, "hours": cluster.objective})
    return _back(request, cluster)


@require_POST
def project_objective(request: PageRequest, pk: int) -> HttpResponse:
    """Set the objective of a project's clusters that have none of their own."""
    project = get_object_or_404(Project.objects.visible_to(request.user), pk=pk)
    require(request.user, Permission.CONFIGURE, project)
    form = ObjectiveForm(request.POST)
    form.fields["hours"].required = True
    if not form.is_valid():
        return bad_request(request, form)
    count = set_objective(project, form.cleaned_data["hours"], Actor.of(request))
    text = ngettext(
        "The objective of %(project)s is %(hours)d h; it applies to %(count)d cluster.",
        "The objective of %(project)s is %(hours)d h; it applies to %(count)d clusters.",
        count,
    )
    messages.info(
        request, text % {"project": project, "hours": project.objective_hours, "count": count}
    )
    return redirect(
        local_path(request, request.POST.get("back", ""), reverse("backups:protection"))
    )


def _back(request: PageRequest, cluster: Cluster) -> HttpResponse:
    return redirect(local_path(request, request.POST.get("back", ""), cluster.get_absolute_url()))
