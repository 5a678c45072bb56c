"""What left for the cloud: each POST …/logs/collect, and where its job can be found."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from .run import BackupRun


class Post(models.Model):
    """One attempt of a run whose request left: what tells its job from all others.

    The row is written with the fence, before the first byte, and outlives the attempt: a job that
    the cloud lists an hour later can still be told to be its own. `rules/matching.py` decides;
    docs/run-states.md has the rules.
    """

    class Result(models.TextChoices):
        OPEN = "open", "Open"  # unanswered, or answered so that the cloud may have taken it
        ACCEPTED = "accepted", "Accepted"
        REFUSED = "refused", "Refused"  # the cloud said no, or nothing left after all

    run = models.ForeignKey(BackupRun, on_delete=models.CASCADE, related_name="posts")
    attempt = models.PositiveIntegerField()
    # the run's, here for the index: entries of clouds.yaml may share a project
    project_id_in_cloud = models.CharField(max_length=64)
    cluster_cloud_id = models.CharField(max_length=64)
    sent_at = models.DateTimeField(help_text="before the first byte, our clock")
    answered_at = models.DateTimeField(
        null=True, blank=True, help_text="the answer, or the end of waiting for it, our clock"
    )
    step_uptime = models.FloatField(
        null=True, blank=True, help_text="Ticker.uptime when it was sent, then answered"
    )
    result = models.CharField(max_length=8, choices=Result, default=Result.OPEN)
    status = models.PositiveSmallIntegerField(null=True, blank=True, help_text="HTTP")
    # Both ids of every record that was listed just before; NULL: the records were not readable
    baseline = models.JSONField(null=True, blank=True)
    # The cloud's own time (`Date`), NULL where its answers had none
    date_before = models.DateTimeField(null=True, blank=True, help_text="of the baseline")
    date_after = models.DateTimeField(
        null=True, blank=True, help_text="of the answer, or of the first reading after it"
    )
    date_closed = models.DateTimeField(
        null=True, blank=True, help_text="of the first reading the grace time after it"
    )
    # the key of its job once that is known; it then competes with no other POST
    job_id = models.CharField(max_length=64, blank=True)
    # in flight, or its run still waits for its job
    active = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "attempt"], name="one_post_per_attempt"),
            # The promise: of two entries of clouds.yaml that lead to one cluster, the second waits
            # until it is known what became of the first one's request.
            models.UniqueConstraint(
                fields=["project_id_in_cloud", "cluster_cloud_id"],
                condition=Q(active=True),
                name="one_active_post_per_cluster",
            ),
        ]
        indexes = [
            # the latest ones to a cluster
            models.Index(
                fields=["project_id_in_cloud", "cluster_cloud_id", "-id"], name="post_of_cluster"
            ),
            # which other POSTs may have made a record
            models.Index(
                fields=["project_id_in_cloud", "cluster_cloud_id", "-id"],
                condition=Q(job_id="") & ~Q(result="refused"),
                name="post_without_job",
            ),
        ]

    def __str__(self) -> str:
        return f"attempt {self.attempt} of run {self.run_id}"
