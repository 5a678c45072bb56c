"""Cloud projects, and the clouds.yaml entries that connect to them."""

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
    """A model field for a protection objective, in hours."""
    limits = [MinValueValidator(1), MaxValueValidator(LONGEST_OBJECTIVE_HOURS)]
    return models.PositiveSmallIntegerField(validators=limits, **options)


class ProjectQuerySet(models.QuerySet["Project"]):
    def visible_to(self, user: User) -> ProjectQuerySet:
        """Projects that a user may see."""
        return self.filter(visible_q(user, ""))

    def disconnected(self) -> ProjectQuerySet:
        """Projects whose connections have all been disconnected.

        A project that never had a connection is not included.
        """
        connections = Connection.objects.filter(project=OuterRef("pk"))
        return self.filter(Exists(connections), ~Exists(connections.connected()))


class Project(models.Model):
    """A project in a region, reached by a clouds.yaml entry. Credentials stay in that file."""

    cloud = models.CharField(max_length=100, help_text="entry in clouds.yaml")
    region = models.CharField(max_length=100, blank=True)
    project_id = models.CharField(max_length=64)
    name = models.CharField(max_length=255, blank=True)
    objective_hours = objective_field(
        default=DEFAULT_OBJECTIVE_HOURS, help_text="maximum hours between verified backups"
    )

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering = ["cloud", "region", "name"]
        constraints = [
            # identifies the project; concurrent synchronisations create one row
            models.UniqueConstraint(
                fields=["cloud", "region", "project_id"], name="project_once_per_cloud_and_region"
            )
        ]

    def __str__(self) -> str:
        return " / ".join(part for part in (self.cloud, self.region, self.name) if part)

    @property
    def is_disconnected(self) -> bool:
        """Whether it was disconnected; one query each time."""
        return Project.objects.disconnected().filter(pk=self.pk).exists()


class ConnectionQuerySet(models.QuerySet["Connection"]):
    def visible_to(self, user: User) -> ConnectionQuerySet:
        """Connections whose project a user may see; without a project, administrators only."""
        return self.filter(visible_q(user, "project"))

    def connected(self) -> ConnectionQuerySet:
        """Connections that are synchronised."""
        return self.filter(disconnected_at__isnull=True)


class Connection(models.Model):
    """A region of a clouds.yaml entry, with the state of its synchronisation.

    A failed synchronisation stores its error here and changes nothing else.
    """

    cloud = models.CharField(max_length=100, help_text="entry in clouds.yaml")
    region = models.CharField(max_length=100, blank=True)
    # the project that the credentials reached last
    project = models.ForeignKey(
        Project, null=True, blank=True, on_delete=models.PROTECT, related_name="connections"
    )
    connected_at = models.DateTimeField(auto_now_add=True)
    disconnected_at = models.DateTimeField(
        null=True, blank=True, help_text="set: no longer synchronised"
    )

    file_checks = models.BooleanField(
        default=True, help_text="look for the files of verified runs in the bucket"
    )

    # The synchronisation in progress or requested. `next_sync_at` says when the next is due, or
    # when the lease of the one in progress ends; `sync_started_at` identifies its holder.
    next_sync_at = models.DateTimeField(
        null=True, blank=True, help_text="when the next synchronisation is due"
    )
    sync_started_at = models.DateTimeField(
        null=True, blank=True, help_text="set while a synchronisation runs"
    )
    sync_step = models.CharField(
        max_length=20, blank=True, choices=SyncStep, help_text="current step"
    )
    version = models.PositiveIntegerField(default=0, help_text="counts visible changes")

    # The last sync
    synced_at = models.DateTimeField(
        null=True, blank=True, help_text="last successful synchronisation"
    )
    sync_ended_at = models.DateTimeField(
        null=True, blank=True, help_text="end of the last synchronisation, successful or not"
    )
    sync_duration = models.DurationField(
        null=True, blank=True, help_text="duration of the last synchronisation"
    )
    sync_error = models.TextField(blank=True, help_text="why the last synchronisation failed")
    sync_fault = models.CharField(
        max_length=20, blank=True, choices=ConnectionFault, help_text="kind of that failure"
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
