"""What is backed up: projects of a cloud and the clusters in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import OuterRef, Q, Subquery
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from .run import BackupRun


class Project(models.Model):
    """One project in one region of one clouds.yaml entry. Credentials stay in that file."""

    cloud = models.CharField(max_length=100, help_text="entry in clouds.yaml")
    region = models.CharField(max_length=100, blank=True)
    project_id = models.CharField(max_length=64)
    name = models.CharField(max_length=255, blank=True)
    synced_at = models.DateTimeField(null=True, blank=True)
    sync_error = models.TextField(blank=True, help_text="why the last sync failed")

    class Meta:
        ordering = ["cloud", "region", "name"]
        constraints = [
            # sync_clusters finds its project by these three; two syncs at once make one row.
            models.UniqueConstraint(
                fields=["cloud", "region", "project_id"], name="project_once_per_cloud_and_region"
            )
        ]

    def __str__(self) -> str:
        return " / ".join(part for part in (self.cloud, self.region, self.name) if part)


class ClusterQuerySet(models.QuerySet["Cluster"]):
    def with_latest_run(self) -> ClusterQuerySet:
        """Annotate `latest_run_id`; `attach_latest_runs` then loads a page's runs in one query."""
        from .run import BackupRun

        latest = BackupRun.objects.filter(cluster=OuterRef("pk")).order_by("-requested_at", "-id")
        return self.annotate(latest_run_id=Subquery(latest.values("pk")[:1]))

    def present(self) -> ClusterQuerySet:
        """Clusters that the cloud still lists."""
        return self.filter(gone_at__isnull=True)

    def named(self, text: str) -> ClusterQuerySet:
        """Clusters whose cloud id or name is exactly `text`."""
        return self.filter(Q(cluster_id=text) | Q(name=text))


class Cluster(models.Model):
    """A registered cluster. It stays, with its history, after it has gone from the cloud."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="clusters")
    cluster_id = models.CharField(max_length=64, help_text="the cloud's id")
    name = models.CharField(max_length=255)
    engine = models.CharField(max_length=50, blank=True)
    version = models.CharField(max_length=50, blank=True)
    status = models.CharField(max_length=20, blank=True, help_text="the cloud's word: 200, 100, …")
    actions = models.JSONField(default=list, blank=True, help_text="operations under way")
    failed_reason = models.TextField(blank=True)
    registered_at = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField(null=True, blank=True, help_text="last sync that listed it")
    gone_at = models.DateTimeField(null=True, blank=True, help_text="first sync that missed it")

    objects = ClusterQuerySet.as_manager()

    # Filled by attach_latest_runs for the pages.
    latest_run: BackupRun | None

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "cluster_id"], name="cluster_once_per_project"
            )
        ]
        indexes = [
            # the clusters page: by name, a page at a time
            models.Index(fields=["name", "id"], name="cluster_by_name"),
            # `backup CLUSTER` and links by the cloud's id
            models.Index(fields=["cluster_id"], name="cluster_by_cloud_id"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def status_label(self) -> str:
        """The cloud's status in words; a number that is not documented is shown as it came."""
        if self.gone_at:
            return str(_("Gone from the cloud"))
        if self.actions:
            return str(_("Busy: %(actions)s") % {"actions": ", ".join(map(str, self.actions))})
        return str(STATUS_LABELS.get(self.status) or self.status or _("Not known"))

    @property
    def status_tone(self) -> str:
        """Colour token of the status: ok, busy, bad or muted."""
        if self.gone_at:
            return "muted"
        if self.actions or self.status == "100":
            return "busy"
        return {"200": "ok", "300": "bad", "303": "bad"}.get(self.status, "muted")


# querying_the_cluster_list: 300 stands on the list's page only.
STATUS_LABELS = {
    "100": _("Creating"),
    "200": _("Available"),
    "300": _("Unavailable"),
    "303": _("Failed"),
}


def attach_latest_runs(clusters: list[Cluster]) -> None:
    """Set `latest_run` on clusters that came from `with_latest_run()`, in one query."""
    from .run import BackupRun

    ids = [pk for c in clusters if (pk := getattr(c, "latest_run_id", None)) is not None]
    runs = BackupRun.objects.in_bulk(ids)
    for cluster in clusters:
        cluster.latest_run = runs.get(getattr(cluster, "latest_run_id", None) or 0)
