"""A cluster's page: how ready and how protected it is, what it is, and its history."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import datetime

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from backups.choices import ACTIVE, Protection, Readiness
from backups.forms import MAX_WAIT_MINUTES, LiveForm
from backups.guide import READINESS, Explanation
from backups.models import BackupRun, Cluster, ClusterTag, LogSettings
from backups.models.cluster import STATUS_LABELS, labels_as_text
from backups.services.attention import BLOCKED, bad_results
from backups.services.clusters import checks
from backups.services.clusters.preflight import blocked_reason
from backups.services.clusters.readiness import request_check
from backups.services.statistics import ClusterHistory, Mark, cluster_history
from dashboard.accounts.access import Permission, may

from . import charts, presentation
from .cluster_rows import ClusterRow, permitted_cluster
from .common import PageRequest, bad_request, mark_live, unchanged
from .history import listed_runs
from .next_step import words_of

LATEST = 10


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the cluster, in the words of the page."""

    name: str
    type: str
    status: str


class ClusterPage:
    """What the page shows; each part is read when it is asked for.

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
        """The run under way; imported ones may be newer than it."""
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
        """The last run that came to a result, where that is a bad one."""
        return bad_results(Cluster.objects.filter(pk=self.cluster.pk)).get(self.cluster.pk)

    @property
    def advice(self) -> Explanation:
        """Who acts, and what is next: by the readiness where that is in the way, else by `bad`."""
        readiness = Readiness(self.cluster.readiness)
        if self.bad is None or (readiness in BLOCKED and not self.bad.is_active):
            return READINESS[readiness]
        return words_of(self.bad)

    @property
    def tone(self) -> str:
        """Colour token of the page's head: its worst news."""
        status = self.cluster.status_tone
        if status == "ok" and self.bad is not None:
            return presentation.LOOKS[self.bad.run_state].tone
        return status

    @property
    def is_checking(self) -> bool:
        """Whether a check of the readiness is under way or was asked for."""
        until = self.cluster.check_leased_until
        return self.cluster.check_due_at == checks.ASKED_FOR or (
            until is not None and until > self.now
        )

    @property
    def token(self) -> str:
        """How the page looks, in short: another token means another look."""
        columns = [getattr(self.cluster, f.attname) for f in Cluster._meta.concrete_fields]
        runs = [(run.pk, run.version) for run in self.latest]
        tags = [(tag.origin, tag.key, tag.value) for tag in self.tags]
        settings = self.settings and self.settings.read_at
        active = self.active and (self.active.pk, self.active.version)
        bad = self.bad and (self.bad.pk, self.bad.version)
        state = (bad, self.protection, self.is_checking, self.now.date(), self.cluster.objective)
        looks = (columns, runs, tags, settings, active, state)
        return f"{zlib.crc32(repr(looks).encode()):x}"


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
    """Everything that is known about a cluster."""
    return render(request, "backups/cluster.html", _context(request, pk))


@require_safe
def cluster_detail_live(request: PageRequest, pk: int) -> HttpResponse:
    """The page's parts again if something has changed; 204 when nothing has."""
    form = LiveForm(request.GET)
    if not form.is_valid():
        return bad_request(request, form)
    context = _context(request, pk)
    if {token for _pk, token in form.cleaned_data["shown"]} == {context["token"]}:
        return unchanged()
    return mark_live(render(request, "backups/cluster_page_live.html", context))


@require_POST
def cluster_check(request: PageRequest, pk: int) -> HttpResponse:
    """Have the cluster's readiness checked now; the page then shows what came of it."""
    cluster = permitted_cluster(request, pk, Permission.RUN)
    request_check(cluster)
    messages.info(request, _("A check of %(cluster)s was asked for.") % {"cluster": cluster.name})
    return redirect(cluster)
