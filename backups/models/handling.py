"""What needs attention and somebody has handled: acknowledged, or snoozed for some time."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext as _

from backups.choices import AttentionCause
from dashboard.accounts.access import has_access, visible_q

from .cluster import Cluster
from .project import Project

if TYPE_CHECKING:
    from dashboard.accounts.models import User


class HandlingQuerySet(models.QuerySet["Handling"]):
    def visible_to(self, user: User) -> HandlingQuerySet:
        """Those of projects that a user may see, and those of all projects."""
        seen = visible_q(user)
        if not has_access(user):
            return self.none()
        return self.filter(seen | Q(project=None)) if seen else self.all()

    def holding(self, now: datetime) -> HandlingQuerySet:
        """Those that nobody has ended and whose end has not come.

        One of a cluster holds only while the cluster needs attention for the same cause.
        """
        return self.filter(Q(until=None) | Q(until__gt=now), ended_at=None)


class Handling(models.Model):
    """A cluster, or a whole cause, that does not count as needing attention for some time.

    Nothing ends it when its time is up or the cause changes: readers compare `until`, `cause` and
    `verified_at` with the cluster as it is. `verified_at` tells a cause that lasts from one that
    came back after a verified backup.
    """

    # NULL: all clusters of the cause in the project, also those that come later
    cluster = models.ForeignKey(
        Cluster, null=True, blank=True, on_delete=models.CASCADE, related_name="handlings"
    )
    # of the cluster, or of the whole cause; NULL: all projects
    project = models.ForeignKey(
        Project, null=True, blank=True, on_delete=models.CASCADE, related_name="+"
    )
    # no choices: a new cause must not need a migration
    cause = models.CharField(max_length=24, help_text="AttentionCause when it was made")
    verified_at = models.DateTimeField(null=True, blank=True, help_text="of the cluster, then")
    reason = models.CharField(max_length=500)
    until = models.DateTimeField(null=True, blank=True, help_text="empty: until the cause changes")
    made_at = models.DateTimeField()
    made_by_name = models.CharField(max_length=255, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True, help_text="by hand, or replaced")
    ended_by_name = models.CharField(max_length=255, blank=True)
    ended_why = models.CharField(max_length=500, blank=True)
    # `cluster:7`, `cause:overdue:3`, `cause:overdue:` for all projects
    scope = models.CharField(max_length=80)

    objects = HandlingQuerySet.as_manager()

    class Meta:
        ordering = ["-made_at", "-id"]
        constraints = [
            # a form that is sent twice, or by two people, makes one; also finds those that hold
            models.UniqueConstraint(
                fields=["scope"], condition=Q(ended_at=None), name="one_open_handling_per_scope"
            )
        ]

    def __str__(self) -> str:
        return f"{self.cause}: {self.cluster or self.project or _('all projects')}"

    @property
    def cause_label(self) -> str:
        return str(AttentionCause(self.cause).label)
