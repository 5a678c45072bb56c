"""Proof in the bucket: the files that were seen after a verified run."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from .run import BackupRun


class FileCheck(models.Model):
    """A look into the bucket for the files of one verified run, pending until it is concluded.

    It is a step of its own: it never changes the run. Once concluded it stays, with its files
    (backups/guards.py), and an audit event has its digest.
    """

    class Result(models.TextChoices):
        SEEN = "seen", _("Files seen")
        NOTHING = "nothing", _("Nothing new was written")
        UNATTRIBUTED = "unattributed", _("Not attributable")
        NOT_CHECKED = "not_checked", _("Files not checked")

    run = models.OneToOneField(BackupRun, on_delete=models.CASCADE, related_name="file_check")
    # NULL: concluded
    due_at = models.DateTimeField(
        null=True, blank=True, help_text="when the check is due, or the end of its lease"
    )
    attempts = models.PositiveIntegerField(default=0)
    checked_at = models.DateTimeField(null=True, blank=True, help_text="when the check ended")
    result = models.CharField(max_length=12, choices=Result, blank=True)
    why = models.CharField(max_length=500, blank=True)
    # a StorageProblem, "" for none
    problem = models.CharField(max_length=20, blank=True)

    bucket = models.CharField(max_length=255, blank=True)
    prefix = models.CharField(max_length=1024, blank=True)
    # on the cloud's clock: files that were written in between count
    since = models.DateTimeField(null=True, blank=True)
    until = models.DateTimeField(null=True, blank=True)
    files = models.PositiveIntegerField(null=True, blank=True)
    size = models.PositiveBigIntegerField(null=True, blank=True, help_text="total bytes")
    newest_at = models.DateTimeField(null=True, blank=True)
    digest = models.CharField(
        max_length=64, blank=True, help_text="SHA-256 of this row and its files"
    )
    event = models.BigIntegerField(
        null=True, blank=True, help_text="sequence of the audit event with the digest"
    )

    class Meta:
        db_table = "backups_file_check"
        indexes = [
            # the sweeper
            models.Index(
                fields=["due_at"], condition=Q(due_at__isnull=False), name="file_check_due"
            )
        ]

    def __str__(self) -> str:
        return f"files of run {self.run_id}"

    @property
    def result_label(self) -> str:
        return str(self.Result(self.result).label) if self.result else ""


class SeenFile(models.Model):
    """A file that was seen in the bucket. Its content is never read."""

    run = models.ForeignKey(BackupRun, on_delete=models.CASCADE, related_name="seen_files")
    name = models.CharField(max_length=1024)
    size = models.PositiveBigIntegerField(help_text="bytes")
    etag = models.CharField(max_length=100, blank=True)
    modified_at = models.DateTimeField(help_text="by the storage's clock")

    class Meta:
        db_table = "backups_seen_file"
        ordering = ["id"]

    def __str__(self) -> str:
        return self.name
