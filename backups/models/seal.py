"""Seals: how the end of each run gets into the hash chain of the audit trail."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone


class SealBatch(models.Model):
    """Runs that were sealed together: the leaves of one Merkle tree.

    The audit event `runs_sealed` contains the root and the ids of the runs.
    """

    root = models.CharField(max_length=64)
    runs = models.PositiveIntegerField(help_text="number of leaves")
    event = models.BigIntegerField(
        null=True, blank=True, db_index=True, help_text="sequence of the audit event; set once"
    )

    class Meta:
        db_table = "backups_seal_batch"

    def __str__(self) -> str:
        return f"{self.runs} runs in event {self.event}"


class RunSeal(models.Model):
    """The seal of a run: pending from the run's last transaction on, then a leaf of a batch.

    It has no foreign key to the run and contains no personal data, because it outlives both.
    """

    class Kind(models.TextChoices):
        END = "end", "End"
        CORRECTION = "correction", "Correction"
        # sealed by `manage.py seal_runs`: the run had ended before without a seal
        EXISTING = "existing", "Existing"

    run_id = models.BigIntegerField()
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.END)
    made_at = models.DateTimeField(default=timezone.now)
    # canonical JSON: what the run's transaction wrote; once sealed, the run's facts
    facts = models.TextField()
    # NULL: pending
    batch = models.ForeignKey(
        SealBatch, null=True, blank=True, on_delete=models.PROTECT, related_name="seals"
    )
    place = models.PositiveIntegerField(default=0, help_text="index of the leaf in its batch")
    digest = models.CharField(max_length=64, blank=True, help_text="of row, events and calls")
    # canonical JSON: ids of the events and calls in the digest; others were added later
    covers = models.TextField(blank=True)
    altered = models.CharField(
        max_length=300, blank=True, help_text="facts that changed between the end and the seal"
    )

    class Meta:
        db_table = "backups_run_seal"
        constraints = [
            # a run ends once and is corrected once; also: the seals of a run
            models.UniqueConstraint(fields=["run_id", "kind"], name="one_seal_per_run_and_kind")
        ]
        indexes = [
            # what the sealer looks for every second
            models.Index(fields=["id"], condition=Q(batch=None), name="seal_pending")
        ]

    def __str__(self) -> str:
        return f"{self.kind} of run {self.run_id}"
