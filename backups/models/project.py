"""Where clusters are: projects of a cloud, and the clouds.yaml entries that reach them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Exists, OuterRef

from backups.choices import ConnectionFault, SyncStep
from dashboard.accounts.access import visible_q

if TYPE_CHECKING:
    from dashboard.accounts.models import User

DEFAULT_OBJECTIVE_HOURS = 24
LONGEST_OBJECTIVE_HOURS = 24 * 366


def objective_field(**options: Any) -> models.PositiveSmallIntegerField[Any, Any]:
    """A column for a protection objective, in hours."""
    limits = [MinValueValidator(1), MaxValueValidator(LONGEST_OBJECTIVE_HOURS)]
    return models.PositiveSmallIntegerField(validators=limits, **options)


class ProjectQuerySet(models.QuerySet["Project"]):
    def visible_to(self, user: User) -> ProjectQuerySet:
        """Projects that this user may see."""
        return self.filter(visible_q(user, ""))

    def disconnected(self) -> ProjectQuerySet:
        """Projects that somebody disconnected: no connection of theirs is synchronised any more.

        A project that never had a connection is not among them.
        """
        connections = Connection.objects.filter(project=OuterRef("pk"))
        return self.filter(Exists(connections), ~Exists(connections.connected()))


class Project(models.Model):
    """One project in one region of one clouds.yaml entry. Credentials stay in that file."""

    cloud = models.CharField(max_length=100, help_text="entry in clouds.yaml")
    region = models.CharField(max_length=100, blank=True)
    project_id = models.CharField(max_length=64)
    name = models.CharField(max_length=255, blank=True)
    objective_hours = objective_field(
        default=DEFAULT_OBJECTIVE_HOURS, help_text="the longest time between verified backups"
    )

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering = ["cloud", "region", "name"]
        constraints = [
            # a sync finds its project by these three; two syncs at once make one row
            models.UniqueConstraint(
                fields=["cloud", "region", "project_id"], name="project_once_per_cloud_and_region"
            )
        ]

    def __str__(self) -> str:
        return " / ".join(part for part in (self.cloud, self.region, self.name) if part)

    @property
    def is_disconnected(self) -> bool:
        """Whether somebody disconnected it; read from the database each time."""
        return Project.objects.disconnected().filter(pk=self.pk).exists()


class ConnectionQuerySet(models.QuerySet["Connection"]):
    def visible_to(self, user: User) -> ConnectionQuerySet:
        """Connections whose project this user may see; one that reached none is for admins."""
        return self.filter(visible_q(user, "project"))

    def connected(self) -> ConnectionQuerySet:
        """Those that are kept in step with the cloud."""
        return self.filter(disconnected_at__isnull=True)


class Connection(models.Model):
    """One entry of clouds.yaml in one region: how the dashboard fares with it.

    A sync that fails leaves its reason here and nothing else; the clusters stay as they were.
    """

    cloud = models.CharField(max_length=100, help_text="entry in clouds.yaml")
    region = models.CharField(max_length=100, blank=True)
    # the project that the entry's credentials reached last
    project = models.ForeignKey(
        Project, null=True, blank=True, on_delete=models.PROTECT, related_name="connections"
    )
    connected_at = models.DateTimeField(auto_now_add=True)
    disconnected_at = models.DateTimeField(
        null=True, blank=True, help_text="set: it is no longer synchronised"
    )

    # The synchronisation in progress or requested. `next_sync_at` says when the next is due, or
    # when the lease of the one in progress ends; `sync_started_at` identifies its holder.
    next_sync_at = models.DateTimeField(null=True, blank=True, help_text="due then")
    sync_started_at = models.DateTimeField(null=True, blank=True, help_text="set while one runs")
    sync_step = models.CharField(
        max_length=20, blank=True, choices=SyncStep, help_text="what it is doing"
    )
    version = models.PositiveIntegerField(default=0, help_text="counts visible changes")

    # The last sync
    synced_at = models.DateTimeField(null=True, blank=True, help_text="last one that ended well")
    sync_ended_at = models.DateTimeField(null=True, blank=True, help_text="last one, well or not")
    sync_duration = models.DurationField(null=True, blank=True, help_text="of that one")
    sync_error = models.TextField(blank=True, help_text="why the last one failed")
    sync_fault = models.CharField(
        max_length=20, blank=True, choices=ConnectionFault, help_text="the same in one word"
    )
    listed = models.PositiveIntegerField(default=0)
    added = models.PositiveIntegerField(default=0)
    gone = models.PositiveIntegerField(default=0)

    objects = ConnectionQuerySet.as_manager()

    class Meta:
        ordering = ["cloud", "region"]
        constraints = [
            models.UniqueConstraint(fields=["cloud", "region"], name="connection_once_per_region")
        ]
        indexes = [
            # the sweeper: connections whose sync is due
            models.Index(
                fields=["next_sync_at"],
                condition=models.Q(disconnected_at__isnull=True),
                name="connection_sync_due",
            )
        ]

    def __str__(self) -> str:
        return " / ".join(part for part in (self.cloud, self.region) if part)
