"""Retention: the policy, and each deletion or masking that it caused."""

from __future__ import annotations

from datetime import timedelta

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

LONGEST_DAYS = 36_500
_DAYS = [MinValueValidator(1), MaxValueValidator(LONGEST_DAYS)]


class RetentionKind(models.TextChoices):
    """What a retention run deletes or masks."""

    SUCCESSES = "successes", _("Verified runs")
    FAILURES = "failures", _("All other runs")
    AUDIT = "audit", _("Audit trail")
    PERSONAL = "personal", _("Names and addresses")


class RetentionPolicy(models.Model):
    """Days after which history is deleted or masked; NULL: never. At most one row."""

    ONLY = 1

    successes_days = models.PositiveIntegerField(null=True, blank=True, validators=_DAYS)
    failures_days = models.PositiveIntegerField(null=True, blank=True, validators=_DAYS)
    audit_days = models.PositiveIntegerField(null=True, blank=True, validators=_DAYS)
    # masked, not deleted: names, accounts and addresses in runs and audit events
    personal_days = models.PositiveIntegerField(null=True, blank=True, validators=_DAYS)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="one_retention_policy")]

    def __str__(self) -> str:
        return "retention policy"

    @classmethod
    def current(cls) -> RetentionPolicy:
        """The policy in force; without a stored one, everything is kept."""
        return cls.objects.filter(pk=cls.ONLY).first() or cls(pk=cls.ONLY)

    def days(self, kind: RetentionKind) -> int | None:
        """Days after which a kind is deleted or masked; None: never."""
        days: int | None = getattr(self, f"{kind.value}_days")
        return days

    def as_dict(self) -> dict[str, int | None]:
        """Days by name, for forms and the audit trail."""
        return {f"{kind.value}_days": self.days(kind) for kind in RetentionKind}


class RetentionRun(models.Model):
    """A deletion or masking: announced by an event of the audit trail, with its progress.

    The database allows runs to be deleted only while such a row is open for them (guards.py).
    """

    # Without progress for this long its process is dead; another process continues it.
    LOST_AFTER = timedelta(minutes=5)

    kind = models.CharField(max_length=10, choices=RetentionKind)
    cutoff = models.DateTimeField(help_text="older rows are deleted; whole seconds")
    told = models.BigIntegerField(
        unique=True, help_text="sequence of the audit event that announced the run"
    )
    automatic = models.BooleanField(default=False)
    started_at = models.DateTimeField(default=timezone.now)
    claimed_by = models.CharField(max_length=120, blank=True, help_text="process that runs it")
    changed_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    done = models.PositiveBigIntegerField(default=0, help_text="deleted or masked so far")

    class Meta:
        ordering = ["-pk"]
        constraints = [
            # two of a kind never run at the same time
            models.UniqueConstraint(
                fields=["kind"],
                condition=Q(finished_at__isnull=True),
                name="one_open_retention_run_per_kind",
            )
        ]
        # until when history was deleted: read by the import of the cloud's jobs
        indexes = [models.Index(fields=["kind", "-cutoff"], name="retention_newest_cutoff")]

    def __str__(self) -> str:
        return f"{self.kind} before {self.cutoff:%Y-%m-%d}"
