"""What a run leaves behind: each call to the cloud, and each step."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from django.db import models
from django.utils import timezone

from .run import BackupRun

# characters of why a run was settled by hand: with its sentence it fits into an event's note
LONGEST_RULING = 400


class ApiCall(models.Model):
    """One HTTP exchange with the cloud on behalf of a run.

    A POST's row is there before its bytes leave; ``finished_at`` NULL means: sent, and no answer
    was stored. A reading's row is written with its conclusion, and not where it changed nothing.
    """

    run = models.ForeignKey(BackupRun, on_delete=models.CASCADE, related_name="api_calls")
    attempt = models.PositiveIntegerField()
    purpose = models.CharField(max_length=20, help_text="collect, records, baseline")
    method = models.CharField(max_length=8)
    path = models.CharField(max_length=500)
    # As it was sent, secrets taken out (css_api.exchange.ShownRequest). Calls made before these
    # columns came have none.
    url = models.CharField(max_length=2000, blank=True)
    request_headers = models.JSONField(default=dict, blank=True)
    request_body = models.TextField(blank=True)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    duration_ms = models.PositiveIntegerField(null=True, blank=True)
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    answer_date = models.DateTimeField(null=True, blank=True, help_text="the cloud's clock")
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
    """How long the last POST of a run took, from its first byte to the answer's last; None: never.

    Measured by the transport: the run's own times hold what the database took, too.
    """
    posts = [call for call in calls if call.purpose == "collect"]
    if not posts or posts[-1].duration_ms is None:
        return None
    return timedelta(milliseconds=posts[-1].duration_ms)


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


class RequestKey(models.Model):
    """An idempotency key that was used, what came with it, and which run answered it.

    It goes with its run. Only hashes are kept, so it holds no personal data; the body's hash has
    the key in it, so that a short reason cannot be guessed from it.

    Attributes:
        key: hash of requester, cluster and key: it counts for these only.
        body: hash of what was asked with it.
        run: the run that the request made or joined.
    """

    key = models.CharField(max_length=64, primary_key=True)
    body = models.CharField(max_length=64)
    run = models.ForeignKey("BackupRun", on_delete=models.CASCADE, related_name="request_keys")
    used_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "backups_request_key"

    def __str__(self) -> str:
        return f"{self.key[:8]} of run {self.run_id}"
