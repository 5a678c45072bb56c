"""Clusters: readiness, protection, tags and labels, and their log backup settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, cast

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import OuterRef, Q, Subquery
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from backups.choices import Protection, Readiness
from dashboard.accounts.access import visible_q

from .project import Project, objective_field

if TYPE_CHECKING:
    from dashboard.accounts.models import User

    from .run import BackupRun


# A cluster whose protection broke is worse than one that never had any.
WORST_FIRST = (Protection.OVERDUE, Protection.NEVER, Protection.DUE, Protection.PROTECTED)


def protection_q(protection: Protection, now: datetime) -> Q:
    """The query condition for a protection state; `Cluster.protection` is the same in Python."""
    conditions = {
        Protection.NEVER: Q(verified_at__isnull=True),
        Protection.OVERDUE: Q(overdue_at__lte=now),
        Protection.DUE: Q(due_at__lte=now, overdue_at__gt=now),
        Protection.PROTECTED: Q(due_at__gt=now),
    }
    return conditions[protection]


def protection_at(
    due_at: datetime | None, overdue_at: datetime | None, now: datetime
) -> Protection:
    """The protection state by the two deadlines that a verified backup sets."""
    if overdue_at is None or due_at is None:
        return Protection.NEVER
    if overdue_at <= now:
        return Protection.OVERDUE
    return Protection.DUE if due_at <= now else Protection.PROTECTED


class ClusterQuerySet(models.QuerySet["Cluster"]):
    def with_latest_run(self) -> ClusterQuerySet:
        """Annotate `latest_run_id`; `attach_latest_runs` then loads the runs in one query."""
        latest = _runs().filter(cluster=OuterRef("pk")).order_by("-requested_at", "-id")
        return self.annotate(latest_run_id=Subquery(latest.values("pk")[:1]))

    def visible_to(self, user: User) -> ClusterQuerySet:
        """Clusters of the projects that a user may see."""
        return self.filter(visible_q(user))

    def present(self) -> ClusterQuerySet:
        """Clusters that the cloud still lists."""
        return self.filter(gone_at__isnull=True)

    def watched(self) -> ClusterQuerySet:
        """Clusters that are checked and counted: present in the cloud and not archived."""
        return self.present().filter(archived_at__isnull=True)

    def named(self, text: str) -> ClusterQuerySet:
        """Clusters whose cloud id or name is exactly `text`."""
        return self.filter(Q(cluster_id=text) | Q(name=text))


class Cluster(models.Model):
    """A registered cluster. Row and history stay when the cluster is deleted in the cloud."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="clusters")
    cluster_id = models.CharField(max_length=64, help_text="the cloud's id")
    name = models.CharField(max_length=255)
    engine = models.CharField(max_length=50, blank=True)
    version = models.CharField(max_length=50, blank=True)
    status = models.CharField(
        max_length=20, blank=True, help_text="status code from the cloud, such as 200"
    )
    actions = models.JSONField(
        default=list, blank=True, help_text="operations in progress in the cloud"
    )
    nodes = models.JSONField(default=list, blank=True, help_text="[{name, type, status}]")
    endpoint = models.CharField(max_length=500, blank=True)
    created_in_cloud_at = models.DateTimeField(null=True, blank=True)
    failed_reason = models.TextField(blank=True)
    registered_at = models.DateTimeField(auto_now_add=True)
    gone_at = models.DateTimeField(
        null=True, blank=True, help_text="first synchronisation without it"
    )
    # registered by its id: missing from the list does not mean that it has gone
    by_hand = models.BooleanField(default=False)
    archived_at = models.DateTimeField(null=True, blank=True, help_text="null: not archived")

    # Readiness: whether the cloud would accept a backup request. The sweeper leases a check by
    # moving `check_due_at`; NULL means never checked. `check_leased_until` counts running checks.
    readiness = models.CharField(max_length=16, choices=Readiness, default=Readiness.UNKNOWN)
    readiness_detail = models.CharField(
        max_length=500, blank=True, help_text="reason for the readiness"
    )
    checked_at = models.DateTimeField(null=True, blank=True, help_text="last conclusive check")
    check_due_at = models.DateTimeField(null=True, blank=True)
    check_leased_until = models.DateTimeField(
        null=True, blank=True, help_text="set while a check runs"
    )
    check_leased_by = models.CharField(max_length=120, blank=True, help_text="Heartbeat.name")
    check_error = models.CharField(
        max_length=500, blank=True, help_text="why the last check failed"
    )

    # Protection. `due_at` and `overdue_at` are derived from the other two (services.clusters.
    # protection) and stored so that the database can filter and sort by them.
    objective_hours = objective_field(
        null=True, blank=True, help_text="null: the project's objective"
    )
    verified_at = models.DateTimeField(null=True, blank=True, help_text="last verified backup")
    due_at = models.DateTimeField(null=True, blank=True)
    overdue_at = models.DateTimeField(null=True, blank=True)

    # The cloud's own jobs created up to then (cloud clock) have been imported.
    imported_until = models.DateTimeField(null=True, blank=True)

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
            # the sweeper: clusters whose check is due
            models.Index(
                fields=["check_due_at"],
                condition=Q(gone_at__isnull=True, archived_at__isnull=True),
                name="cluster_check_due",
            ),
            # the sweeper: how many checks are under way
            models.Index(
                fields=["check_leased_until"],
                condition=Q(check_leased_until__isnull=False),
                name="cluster_check_leased",
            ),
            # the protection page: worst first
            models.Index(fields=["overdue_at", "id"], name="cluster_by_overdue"),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("backups:cluster-detail", args=[self.pk])

    @property
    def objective(self) -> int:
        """The longest acceptable time between verified backups, in hours."""
        hours: int = self.objective_hours or self.project.objective_hours
        return hours

    def protection(self, now: datetime | None = None) -> Protection:
        """The protection state: the age of the last verified backup against the objective."""
        return protection_at(self.due_at, self.overdue_at, now or timezone.now())

    @property
    def status_label(self) -> str:
        """The cloud's status as text; an undocumented code is shown unchanged."""
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
    "100": gettext_lazy("Creating"),
    "200": gettext_lazy("Available"),
    "300": gettext_lazy("Unavailable"),
    "303": gettext_lazy("Failed"),
}


def _runs() -> models.QuerySet[BackupRun]:
    model = Cluster._meta.get_field("runs").related_model
    return cast("models.QuerySet[BackupRun]", model._default_manager.all())


def attach_latest_runs(clusters: list[Cluster]) -> None:
    """Set `latest_run` on clusters that came from `with_latest_run()`, in one query."""
    ids = [pk for c in clusters if (pk := getattr(c, "latest_run_id", None)) is not None]
    runs = _runs().in_bulk(ids)
    for cluster in clusters:
        cluster.latest_run = runs.get(getattr(cluster, "latest_run_id", None) or 0)


class ClusterTag(models.Model):
    """A tag of a cluster: a tag from the cloud, or a label set here."""

    class Origin(models.TextChoices):
        CLOUD = "cloud", gettext_lazy("Tag in the cloud")
        OWN = "own", gettext_lazy("Label")

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="tags")
    origin = models.CharField(max_length=5, choices=Origin)
    key = models.CharField(max_length=128)
    value = models.CharField(max_length=255, blank=True)

    class Meta:
        ordering = ["origin", "key"]
        constraints = [
            models.UniqueConstraint(
                fields=["cluster", "origin", "key"], name="tag_once_per_cluster_and_origin"
            )
        ]
        # the filter by tag or label
        indexes = [models.Index(fields=["key", "value"], name="tag_by_key_and_value")]

    def __str__(self) -> str:
        return f"{self.key}={self.value}" if self.value else self.key


# Limits for labels. Tags from the cloud are stored unchanged.
MOST_LABELS = 20  # of a cluster
LONGEST_VALUE = 128
_KEY = re.compile(r"[\w.:/@+-]{1,64}")


def parse_labels(text: str) -> dict[str, str]:
    """Parse labels as typed.

    Args:
        text: `key` or `key=value`, one a line or separated by commas.

    Returns:
        Value by key in the order of the keys; "" for a label without a value.

    Raises:
        ValidationError: one message for each invalid label.
    """
    labels: dict[str, str] = {}
    problems = []
    for word in filter(None, (part.strip() for part in re.split(r"[,\r\n]", text))):
        key, _equals, value = (part.strip() for part in word.partition("="))
        if key in labels:
            problems.append(_("“%(key)s” is given twice.") % {"key": key})
        labels[key] = value
    problems += label_problems(labels)
    if problems:
        raise ValidationError(problems)
    return dict(sorted(labels.items()))


def label_problems(labels: Mapping[str, str]) -> list[str]:
    """Validate labels; returns one message for each problem.

    Args:
        labels: value by key.
    """
    problems = []
    if len(labels) > MOST_LABELS:
        problems.append(_("At most %(limit)d labels.") % {"limit": MOST_LABELS})
    for key, value in labels.items():
        shown = {"label": f"{key}={value}"[:80]}
        if not _KEY.fullmatch(key):
            problems.append(
                _("“%(label)s”: a key is 1 to 64 letters, digits and . _ - : / @ +") % shown
            )
        elif len(value) > LONGEST_VALUE or not value.isprintable() or "," in value:
            problems.append(
                _("“%(label)s”: a value is at most %(limit)d characters in one line, no comma.")
                % {**shown, "limit": LONGEST_VALUE}
            )
    return problems


def labels_as_text(labels: Mapping[str, str]) -> str:
    """Labels in the format of `parse_labels`, one per line."""
    return "\n".join(f"{key}={value}" if value else key for key, value in sorted(labels.items()))


class LogSettings(models.Model):
    """The log backup settings of a cluster as last read from the cloud."""

    cluster = models.OneToOneField(Cluster, on_delete=models.CASCADE, related_name="log_settings")
    enabled = models.BooleanField()
    bucket = models.CharField(max_length=255, blank=True)
    base_path = models.CharField(max_length=1024, blank=True)
    agency = models.CharField(max_length=255, blank=True)
    automatic = models.BooleanField(default=False, help_text="the cloud's daily backup is on")
    period = models.CharField(max_length=40, blank=True, help_text="such as 00:00 GMT+08:00")
    read_at = models.DateTimeField(help_text="when the settings were read from the cloud")
    # our clock; a rejection because of bucket or agency from before then no longer counts
    changed_at = models.DateTimeField(
        null=True, blank=True, help_text="when these settings were first seen"
    )
    # one change at a time: a form that is sent twice must not become two API calls
    changing_until = models.DateTimeField(
        null=True, blank=True, help_text="end of the lock while a change is in progress"
    )

    def __str__(self) -> str:
        return f"log settings of {self.cluster_id}"
