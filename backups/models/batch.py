"""Batches: many clusters that were selected and requested at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from backups.choices import Cause, ItemState, Trigger, Work
from dashboard.accounts.access import visible_q

from .cluster import Cluster
from .project import Project
from .run import BackupRun
from .schedule import Firing

if TYPE_CHECKING:
    from dashboard.accounts.models import User


class BatchQuerySet(models.QuerySet["Batch"]):
    def visible_to(self, user: User) -> BatchQuerySet:
        """Batches with a cluster in a project that the user may see."""
        seen = visible_q(user)
        if not seen:
            return self.all()
        return self.filter(Exists(BatchItem.objects.filter(seen, batch=OuterRef("pk"))))

    def open(self) -> BatchQuerySet:
        """Batches that have not ended."""
        return self.filter(finished_at=None)


class Batch(models.Model):
    """A request for backups of many clusters, or for other work on them.

    Its items become runs a few at a time (`backups.services.batches`), so a waiting item holds no
    cluster: a request for that cluster alone goes first. The batch stores who asked, because their
    permission is checked again when an item becomes a run.
    """

    work = models.CharField(max_length=10, choices=Work, default=Work.BACKUP)
    values = models.JSONField(
        default=dict, blank=True, help_text="of other work: labels, hours, bucket"
    )
    requested_at = models.DateTimeField(default=timezone.now)
    # NULL: a command without an account, or the account was deleted or masked
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    requested_by_name = models.CharField(max_length=255)
    trigger = models.CharField(
        max_length=10, choices=Trigger, help_text="bulk, schedule, api or cli"
    )
    token = models.CharField(max_length=255, blank=True, help_text="label of the API token")
    source_ip = models.GenericIPAddressField(null=True, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    anyway = models.BooleanField(default=False, help_text="also what would probably be rejected")
    query = models.CharField(
        max_length=2000, blank=True, help_text="the filter; empty: rows were selected"
    )
    # of the cloud's ids of the clusters that were to be backed up, sorted, one a line
    digest = models.CharField(max_length=64, blank=True, help_text="SHA-256")
    retry_of = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="retries"
    )
    # that requested it; UNIQUE: a slot makes one batch
    firing = models.OneToOneField(
        Firing, null=True, blank=True, on_delete=models.PROTECT, related_name="batch"
    )
    # of the product's own clock: until then, busy clusters wait instead of being skipped
    waits_until = models.FloatField(null=True, blank=True)
    # hashes, as in RequestKey
    idempotency_key = models.CharField(max_length=64, null=True, blank=True)
    body = models.CharField(max_length=64, blank=True)
    cancelled_at = models.DateTimeField(null=True, blank=True)
    cancelled_by_name = models.CharField(max_length=255, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True, help_text="its last run has ended")

    objects = BatchQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "batches"
        constraints = [
            # a form that is sent twice makes one batch
            models.UniqueConstraint(
                fields=["idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
                name="one_batch_per_idempotency_key",
            )
        ]
        indexes = [
            # each tick: batches that have not ended
            models.Index(fields=["id"], condition=Q(finished_at=None), name="batch_open")
        ]

    def __str__(self) -> str:
        return _("Batch %(number)s") % {"number": self.pk}

    def get_absolute_url(self) -> str:
        return reverse("backups:batch", args=[self.pk])


class BatchItem(models.Model):
    """A cluster of a batch. Narrow, because a batch has up to 10,000."""

    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="items", db_index=False)
    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="+", db_index=False)
    # copied from the cluster: permissions and rates are those of its project
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+", db_index=False)
    state = models.CharField(max_length=9, choices=ItemState, default=ItemState.WAITING)
    cause = models.CharField(max_length=15, choices=Cause, blank=True, default=Cause.NONE)
    note = models.CharField(
        max_length=200, blank=True, help_text="what the work led to, or why not"
    )
    # equal for failures of one kind: the cloud's error code, or our word
    code = models.CharField(max_length=40, blank=True)
    # of work that asks the cloud: no other process takes it up until some minutes later
    begun_at = models.DateTimeField(null=True, blank=True)
    # its own run, or one that it joined; NULL once retention has deleted it
    run = models.ForeignKey(
        BackupRun, null=True, blank=True, on_delete=models.SET_NULL, related_name="batch_items"
    )

    class Meta:
        constraints = [
            # also the index for a batch's items
            models.UniqueConstraint(fields=["batch", "cluster"], name="cluster_once_per_batch")
        ]
        indexes = [
            # each tick: what waits, by project
            models.Index(
                fields=["project", "batch", "id"],
                condition=Q(state="waiting"),
                name="batch_item_waiting",
            )
        ]

    def __str__(self) -> str:
        return f"cluster {self.cluster_id} of batch {self.batch_id}"
