"""The log of a run: each request to the cloud, each call and each step."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from django.db import models
from django.db.models import Q
from django.utils import timezone

from .run import BackupRun

# characters of the reason for settling a run by hand; it fits into an event's note
LONGEST_RULING = 400


class Post(models.Model):
    """A POST that was sent for a run, with the facts that identify the job it started.

    The row is written with the fence, before the first byte, and is kept after the attempt: a job
    that the cloud lists an hour later can still be matched. `rules/matching.py` decides;
    docs/run-states.md has the rules.
    """

    class Result(models.TextChoices):
        OPEN = "open", "Open"  # no answer, or one after which the cloud may have started the job
        ACCEPTED = "accepted", "Accepted"
        REFUSED = "refused", "Refused"  # rejected by the cloud, or not sent after all

    run = models.ForeignKey(BackupRun, on_delete=models.CASCADE, related_name="posts")
    attempt = models.PositiveIntegerField()
    # copied from the run for the index: clouds.yaml entries can share a project
    project_id_in_cloud = models.CharField(max_length=64)
    cluster_cloud_id = models.CharField(max_length=64)
    sent_at = models.DateTimeField(help_text="just before the first byte, by our clock")
    answered_at = models.DateTimeField(
        null=True, blank=True, help_text="time of the answer or of giving up, by our clock"
    )
    step_uptime = models.FloatField(
        null=True, blank=True, help_text="Ticker.uptime at the last of sending and answer"
    )
    result = models.CharField(max_length=8, choices=Result, default=Result.OPEN)
    status = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="HTTP status of the answer"
    )
    # both ids of every record listed just before; NULL: the records could not be read
    baseline = models.JSONField(null=True, blank=True)
    # the cloud's clock (`Date` header), NULL where there was none
    date_before = models.DateTimeField(
        null=True, blank=True, help_text="Date header of the baseline"
    )
    date_after = models.DateTimeField(
        null=True, blank=True, help_text="Date header of the answer, or of the next reading"
    )
    date_closed = models.DateTimeField(
        null=True, blank=True, help_text="Date header of the first reading after the grace time"
    )
    # the key of its job once known; other jobs are no longer candidates
    job_id = models.CharField(max_length=64, blank=True)
    # in flight, or its run still waits for its job
    active = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "attempt"], name="one_post_per_attempt"),
            # where two clouds.yaml entries lead to one cluster, the second POST waits until the
            # outcome of the first is known
            models.UniqueConstraint(
                fields=["project_id_in_cloud", "cluster_cloud_id"],
                condition=Q(active=True),
                name="one_active_post_per_cluster",
            ),
        ]
        indexes = [
            # the latest POSTs to a cluster
            models.Index(
                fields=["project_id_in_cloud", "cluster_cloud_id", "-id"], name="post_of_cluster"
            ),
            # other POSTs that may have created a record
            models.Index(
                fields=["project_id_in_cloud", "cluster_cloud_id", "-id"],
                condition=Q(job_id="") & ~Q(result="refused"),
                name="post_without_job",
            ),
        ]

    def __str__(self) -> str:
        return f"attempt {self.attempt} of run {self.run_id}"


class ApiCall(models.Model):
    """One HTTP exchange with the cloud on behalf of a run.

    A POST's row is there before its bytes leave; ``finished_at`` NULL means: sent, and no answer
    was stored. A reading's row is written with its conclusion, and not where it changed nothing.
    """

    run = models.ForeignKey(BackupRun, on_delete=models.CASCADE, related_name="api_calls")
    attempt = models.PositiveIntegerField()
    purpose = models.CharField(max_length=20, help_text="collect, records or baseline")
    method = models.CharField(max_length=8)
    path = models.CharField(max_length=500)
    # as sent, with secrets redacted; empty in calls of older versions
    url = models.CharField(max_length=2000, blank=True)
    request_headers = models.JSONField(default=dict, blank=True)
    request_body = models.TextField(blank=True)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    duration_ms = models.PositiveIntegerField(null=True, blank=True)
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    answer_date = models.DateTimeField(null=True, blank=True, help_text="the answer's Date header")
    request_id = models.CharField(max_length=128, blank=True)
    error_code = models.CharField(max_length=64, blank=True)
    message = models.TextField(blank=True)
    # the transport error (TransportKind), empty where there was an answer
    transport_error = models.CharField(max_length=30, blank=True)
    # False where nothing was sent for certain
    sent = models.BooleanField(default=True)
    retry_after = models.FloatField(
        null=True, blank=True, help_text="seconds, from the cloud's Retry-After"
    )
    body_kind = models.CharField(max_length=20, blank=True)
    body_size = models.PositiveBigIntegerField(default=0)
    excerpt = models.TextField(blank=True)

    class Meta:
        ordering = ["id"]
        # latency and errors of the last day
        indexes = [models.Index(fields=["started_at"], name="call_by_time")]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def records_read(run: BackupRun, calls: Iterable[ApiCall]) -> int:
    """How often a run's records were read after its request.

    Readings that changed nothing are counted by the run and have no row among its calls.
    """
    return max(run.checks, sum(call.purpose == "records" for call in calls))


def exchange_lasted(calls: Iterable[ApiCall]) -> timedelta | None:
    """How long the last POST of a run took, from first to last byte; None without a POST.

    Measured by the transport: the run's own times include the time that the database took.
    """
    posts = [call for call in calls if call.purpose == "collect"]
    if not posts or posts[-1].duration_ms is None:
        return None
    return timedelta(milliseconds=posts[-1].duration_ms)


class RunEvent(models.Model):
    """A step of a run, written in the same transaction."""

    run = models.ForeignKey(BackupRun, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(default=timezone.now)
    from_state = models.CharField(max_length=12, blank=True)
    to_state = models.CharField(max_length=12)
    outcome = models.CharField(max_length=20, blank=True)
    note = models.CharField(max_length=500, blank=True)
    actor = models.CharField(max_length=255, blank=True, help_text="name of a user or process")

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.from_state or 'new'} → {self.to_state}"


class RequestKey(models.Model):
    """An idempotency key that was used, and the run that its request created or joined.

    It is deleted with its run. Only hashes are stored, so it contains no personal data; the body's
    hash includes the key, so that a short reason cannot be guessed from it.

    Attributes:
        key: hash of requester, cluster and key; the key counts for these only.
        body: hash of the request's other values.
        run: the run that the request created or joined.
    """

    key = models.CharField(max_length=64, primary_key=True)
    body = models.CharField(max_length=64)
    run = models.ForeignKey("BackupRun", on_delete=models.CASCADE, related_name="request_keys")
    used_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "backups_request_key"

    def __str__(self) -> str:
        return f"{self.key[:8]} of run {self.run_id}"
