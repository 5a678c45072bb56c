"""Changes of objectives, and of the clusters that count: what a report judges a past month by.

Database triggers write these rows (backups/sql/changes), whoever makes the change. A row holds
until the next one of its cluster or project. Rows of one cluster or project are ordered by their
key: clocks of several machines can differ, the locks of the changed row do not.
"""

from __future__ import annotations

from django.db import models

from .cluster import Cluster
from .project import Project


class Change(models.Model):
    """What the two tables have in common."""

    at = models.DateTimeField(help_text="holds from then on")
    # NULL: by a trigger, at the moment of the change
    assumed_at = models.DateTimeField(
        null=True, blank=True, help_text="set: added then, from what was known at that time"
    )

    class Meta:
        abstract = True


class ScopeChange(Change):
    """Whether a cluster counts from a moment on, and the objective of its own."""

    cluster = models.ForeignKey(
        Cluster, on_delete=models.CASCADE, related_name="scope_changes", db_index=False
    )
    watched = models.BooleanField(help_text="listed by the cloud and not archived")
    objective_hours = models.PositiveSmallIntegerField(null=True, help_text="empty: the project's")

    class Meta:
        db_table = "backups_scope_change"
        # a cluster's changes in their order
        indexes = [models.Index(fields=["cluster", "id"], name="scope_change_of_cluster")]

    def __str__(self) -> str:
        return f"{self.cluster_id}: {'watched' if self.watched else 'not watched'}"


class ObjectiveChange(Change):
    """The objective of a project from a moment on."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="objectives")
    objective_hours = models.PositiveSmallIntegerField()

    class Meta:
        db_table = "backups_objective_change"

    def __str__(self) -> str:
        return f"{self.project_id}: {self.objective_hours} h"
