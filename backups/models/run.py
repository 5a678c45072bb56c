"""A run: one decision to back up one cluster's logs, and all that came of it."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from backups.choices import ACTIVE, TERMINAL, Outcome, RunState, Trigger

from .cloud import Cluster


class BackupRun(models.Model):
    """One log backup of one cluster.

    ``state`` says where the run stands, ``outcome`` what the POST came to. Only
    ``services.transitions.transition`` writes ``state``. docs/run-states.md draws the states.

    Names of the cluster, the project and the user are copied: history outlives its subjects.
    Times are UTC; those of the cloud's job (``job_*_at``) are on the cloud's clock.
    """

    # What and where
    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="runs")
    cluster_cloud_id = models.CharField(max_length=64)
    cluster_name = models.CharField(max_length=255)
    cloud = models.CharField(max_length=100)
    region = models.CharField(max_length=100, blank=True)
    project_id_in_cloud = models.CharField(max_length=64)
    project_name = models.CharField(max_length=255, blank=True)

    # Who, how and why
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    requested_by_name = models.CharField(max_length=255)
    trigger = models.CharField(max_length=10, choices=Trigger)
    reason = models.CharField(max_length=500, blank=True)
    source_ip = models.GenericIPAddressField(null=True, blank=True)
    # NULL (not "") where the request carried none: only real keys must be unique.
    idempotency_key = models.CharField(max_length=64, null=True, blank=True)
    requested_at = models.DateTimeField(default=timezone.now)

    # Where it stands
    state = models.CharField(max_length=12, choices=RunState, default=RunState.QUEUED)
    outcome = models.CharField(max_length=20, choices=Outcome, blank=True, default=Outcome.NONE)
    version = models.PositiveIntegerField(default=0, help_text="counts visible changes")
    note = models.CharField(max_length=500, blank=True, help_text="what it waits for")

    # Sending: the claim (who, which attempt) and what it waits for
    attempt = models.PositiveIntegerField(default=0, help_text="claims so far")
    claimed_by = models.CharField(max_length=120, blank=True, help_text="Heartbeat.name")
    claimed_at = models.DateTimeField(null=True, blank=True)
    dispatched_at = models.DateTimeField(null=True, blank=True, help_text="handed to the broker")
    not_before = models.DateTimeField(default=timezone.now, help_text="earliest next attempt")
    # "wait and retry when free": a 409 does not end the run before this time
    retry_conflict_until = models.DateTimeField(null=True, blank=True)

    # What the POST came to
    sent_at = models.DateTimeField(null=True, blank=True, help_text="before the first byte")
    answered_at = models.DateTimeField(null=True, blank=True)
    http_status = models.PositiveSmallIntegerField(null=True, blank=True)
    error_code = models.CharField(max_length=64, blank=True)
    message = models.TextField(blank=True)
    request_id = models.CharField(max_length=128, blank=True)
    # who held the cluster at a 409, from the cloud's records
    conflict_holder = models.CharField(max_length=500, blank=True)
    conflict_run = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    # Following the cloud's job. The baseline is its newest record just before the POST, on the
    # cloud's own clock: what is ours must be newer, however wrong that clock is.
    next_check_at = models.DateTimeField(null=True, blank=True)
    checks = models.PositiveIntegerField(default=0)
    records_readable_at = models.DateTimeField(null=True, blank=True, help_text="last read well")
    baseline_known = models.BooleanField(default=False)
    baseline_created_at = models.DateTimeField(null=True, blank=True)
    baseline_job_id = models.CharField(max_length=64, blank=True)
    # NULL until a record is matched: the constraint below lets one job belong to one run
    job_id = models.CharField(max_length=64, null=True, blank=True)
    record_id = models.CharField(max_length=64, blank=True)
    job_type = models.CharField(max_length=20, blank=True)
    job_created_at = models.DateTimeField(null=True, blank=True)
    job_finished_at = models.DateTimeField(null=True, blank=True)
    log_path = models.CharField(max_length=1024, blank=True)
    failed_message = models.TextField(blank=True)

    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            # The promise: a second click, API call or schedule joins the run that is there.
            models.UniqueConstraint(
                fields=["cluster"],
                condition=Q(state__in=[str(s) for s in sorted(ACTIVE)]),
                name="one_active_run_per_cluster",
            ),
            # The promise: a record of the cloud proves at most one run.
            models.UniqueConstraint(
                fields=["cluster", "job_id"],
                condition=Q(job_id__isnull=False),
                name="one_run_per_cloud_job",
            ),
            # The promise: a form sent twice is one request, even after the first run has ended.
            models.UniqueConstraint(
                fields=["idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
                name="one_run_per_idempotency_key",
            ),
        ]
        indexes = [
            # history, newest first
            models.Index(fields=["-requested_at", "-id"], name="run_newest"),
            # a cluster's latest run, and its history
            models.Index(fields=["cluster", "-requested_at", "-id"], name="run_newest_of_cluster"),
            # the sweeper: queued runs whose time has come
            models.Index(fields=["not_before"], condition=Q(state="queued"), name="run_queued_due"),
            # the sweeper: runs whose record must be read
            models.Index(
                fields=["next_check_at"],
                condition=Q(state__in=["accepted", "unknown"]),
                name="run_check_due",
            ),
            # the sweeper: claims whose worker may have died
            models.Index(
                fields=["claimed_at"], condition=Q(state="sending"), name="run_sending_claims"
            ),
        ]

    def __str__(self) -> str:
        return f"run {self.pk} of {self.cluster_name}"

    def get_absolute_url(self) -> str:
        return reverse("backups:run-detail", args=[self.pk])

    @property
    def run_state(self) -> RunState:
        return RunState(self.state)

    @property
    def is_active(self) -> bool:
        return self.run_state in ACTIVE

    @property
    def is_terminal(self) -> bool:
        return self.run_state in TERMINAL

    def failed_attempts(self) -> int:
        """How many attempts ended with "nothing was started, try again", conflicts left out.

        Each such attempt left an event back to QUEUED that carries its outcome.
        """
        return (
            self.events.filter(from_state=RunState.SENDING, to_state=RunState.QUEUED)
            .exclude(outcome__in=[Outcome.NONE, Outcome.CONFLICT])
            .count()
        )

    @property
    def ended_well(self) -> bool:
        """Only a verified backup ended well: accepted is not verified."""
        return self.run_state is RunState.SUCCEEDED

    @property
    def duration(self) -> timedelta | None:
        """From the request to the end; None while the run is active."""
        return self.finished_at - self.requested_at if self.finished_at else None


class ApiCall(models.Model):
    """One HTTP exchange with the cloud on behalf of a run; the row is there before the bytes leave.

    ``finished_at`` NULL on a call means: sent, and no answer was stored.
    """

    run = models.ForeignKey(BackupRun, on_delete=models.CASCADE, related_name="api_calls")
    attempt = models.PositiveIntegerField()
    purpose = models.CharField(max_length=20, help_text="collect, records, baseline")
    method = models.CharField(max_length=8)
    path = models.CharField(max_length=500)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    duration_ms = models.PositiveIntegerField(null=True, blank=True)
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    request_id = models.CharField(max_length=128, blank=True)
    error_code = models.CharField(max_length=64, blank=True)
    message = models.TextField(blank=True)
    # how it failed below HTTP (TransportKind), empty when there was an answer
    transport_error = models.CharField(max_length=30, blank=True)
    # False where it is certain that nothing left this machine
    sent = models.BooleanField(default=True)
    retry_after = models.FloatField(null=True, blank=True, help_text="seconds the cloud asked for")
    body_kind = models.CharField(max_length=20, blank=True)
    body_size = models.PositiveBigIntegerField(default=0)
    excerpt = models.TextField(blank=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class RunEvent(models.Model):
    """One step of a run, written in the transaction that made it."""

    run = models.ForeignKey(BackupRun, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(default=timezone.now)
    from_state = models.CharField(max_length=12, blank=True)
    to_state = models.CharField(max_length=12)
    outcome = models.CharField(max_length=20, blank=True)
    note = models.CharField(max_length=500, blank=True)
    actor = models.CharField(max_length=255, blank=True, help_text="a user, or a process")

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.from_state or 'new'} → {self.to_state}"
