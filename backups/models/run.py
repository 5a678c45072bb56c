"""Runs: a request to back up the logs of a cluster, and its outcome."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from backups.choices import ACTIVE, TERMINAL, Evidence, Outcome, RunState, Trigger
from dashboard.accounts.access import visible_q

from .cluster import Cluster
from .project import Project

if TYPE_CHECKING:
    from dashboard.accounts.models import User


# Settled by a user: the cloud itself has not confirmed it.
_BY_HAND = {
    RunState.UNVERIFIED: gettext_lazy("Not verified, by hand"),
    RunState.NOT_STARTED: gettext_lazy("Not started, by hand"),
}


class IsGiven(models.Func):
    """Whether a text is not empty.

    The empty text is a literal: SQLite uses a partial index only if the query contains the index's
    condition verbatim, and it does not look at parameters.
    """

    template = "(%(expressions)s <> '')"
    output_field = models.BooleanField()


class BackupRunQuerySet(models.QuerySet["BackupRun"]):
    def visible_to(self, user: User) -> BackupRunQuerySet:
        """Runs of the projects that a user may see."""
        return self.filter(visible_q(user))


class BackupRun(models.Model):
    """One log backup of one cluster.

    ``state`` is the run's state (docs/run-states.md), ``outcome`` the outcome of its POST. Only
    ``services.runs.transitions.transition`` writes ``state``. A run that has ended never changes
    again: database triggers enforce it (backups/guards.py).

    Names of the cluster, the project and the user are copied, so that the history survives their
    deletion. Times are UTC; those of the cloud's job (``job_*_at``) are on the cloud's clock.
    """

    # What and where
    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="runs")
    # copied from the cluster, so that a project's history needs no join
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="runs")
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
    # NULL (not "") without a key: only real keys must be unique.
    idempotency_key = models.CharField(max_length=64, null=True, blank=True)
    requested_at = models.DateTimeField(default=timezone.now)

    # State
    state = models.CharField(max_length=12, choices=RunState, default=RunState.QUEUED)
    outcome = models.CharField(max_length=20, choices=Outcome, blank=True, default=Outcome.NONE)
    version = models.PositiveIntegerField(default=0, help_text="counts visible changes")
    note = models.CharField(max_length=500, blank=True, help_text="what the run is waiting for")

    # Sending: the claim (who, which attempt) and what it waits for
    attempt = models.PositiveIntegerField(default=0, help_text="number of claims")
    claimed_by = models.CharField(max_length=120, blank=True, help_text="Heartbeat.name")
    claimed_at = models.DateTimeField(null=True, blank=True)
    dispatched_at = models.DateTimeField(
        null=True, blank=True, help_text="when it was published to the broker"
    )
    not_before = models.DateTimeField(
        default=timezone.now, help_text="earliest time of the next attempt"
    )
    # "wait and retry when free": a 409 does not end the run before this time
    retry_conflict_until = models.DateTimeField(null=True, blank=True)

    # Outcome of the POST
    sent_at = models.DateTimeField(null=True, blank=True, help_text="just before the first byte")
    answered_at = models.DateTimeField(null=True, blank=True)
    http_status = models.PositiveSmallIntegerField(null=True, blank=True)
    error_code = models.CharField(max_length=64, blank=True)
    message = models.TextField(blank=True)
    request_id = models.CharField(max_length=128, blank=True)
    # what occupied the cluster at a 409, from the cloud's records
    conflict_holder = models.CharField(max_length=500, blank=True)
    conflict_run = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    # Time limits use this, not a wall clock; NULL: written by an older version
    step_uptime = models.FloatField(
        null=True, blank=True, help_text="Ticker.uptime when it was claimed, sent or answered"
    )

    # Following the cloud's job; `Post` has the facts that identify it.
    next_check_at = models.DateTimeField(null=True, blank=True)
    checks = models.PositiveIntegerField(default=0)
    records_readable_at = models.DateTimeField(
        null=True, blank=True, help_text="when the records were last read successfully"
    )
    readable_uptime = models.FloatField(
        null=True, blank=True, help_text="Ticker.uptime at that time"
    )
    # NULL until a record is matched: by the constraint below a job belongs to one run
    job_id = models.CharField(max_length=64, null=True, blank=True)
    record_id = models.CharField(max_length=64, blank=True)
    job_type = models.CharField(max_length=20, blank=True)
    job_created_at = models.DateTimeField(null=True, blank=True)
    job_finished_at = models.DateTimeField(null=True, blank=True)
    log_path = models.CharField(max_length=1024, blank=True)
    failed_message = models.TextField(blank=True)
    evidence = models.CharField(max_length=8, choices=Evidence, blank=True, default=Evidence.NONE)

    finished_at = models.DateTimeField(null=True, blank=True)
    settled_by_hand = models.BooleanField(
        default=False, help_text="settled by a user, not by the cloud's records"
    )
    # of a run that ended without its job, which was listed later (services.runs.correcting)
    corrected_from = models.CharField(
        max_length=12, blank=True, help_text="state before the correction"
    )
    corrected_by = models.BigIntegerField(
        null=True, blank=True, help_text="sequence of the audit event of the correction"
    )
    # of an ended run: names, account and address were removed (services.retention)
    masked_by = models.BigIntegerField(
        null=True, blank=True, help_text="sequence of the audit event of the masking"
    )

    objects = BackupRunQuerySet.as_manager()

    class Meta:
        constraints = [
            # a second click, API call or schedule joins the active run
            models.UniqueConstraint(
                fields=["cluster"],
                condition=Q(state__in=[str(s) for s in sorted(ACTIVE)]),
                name="one_active_run_per_cluster",
            ),
            # a record of the cloud proves at most one run
            models.UniqueConstraint(
                fields=["project_id_in_cloud", "cluster_cloud_id", "job_id"],
                condition=Q(job_id__isnull=False),
                name="one_run_per_cloud_job",
            ),
            # ... under either id, since the job's may appear later than the record's
            models.UniqueConstraint(
                fields=["project_id_in_cloud", "cluster_cloud_id", "record_id"],
                condition=Q(IsGiven("record_id")),
                name="one_run_per_cloud_record",
            ),
            # a form that is sent twice is one request, even after the first run has ended
            models.UniqueConstraint(
                fields=["idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
                name="one_run_per_idempotency_key",
            ),
        ]
        # What is due is found among the active runs, by their state: there are never more of
        # them than clusters, and an index on a due time would be written with each reading.
        indexes = [
            # the history, newest first: without a filter, in a window of time, by a label
            models.Index(fields=["-requested_at", "-id"], name="run_newest"),
            # a cluster's latest run (list of clusters) and its history; ?cluster=
            models.Index(fields=["cluster", "-requested_at", "-id"], name="run_newest_of_cluster"),
            # ?project=, and the history of a user who sees one project
            models.Index(fields=["project", "-requested_at", "-id"], name="run_newest_of_project"),
            # The history's filters: without an index of its own a rare value is searched among
            # all runs. ?state=, ?group= (a branch for each state)
            models.Index(fields=["state", "-requested_at", "-id"], name="run_newest_by_state"),
            # ?outcome=, also with ?trigger=
            models.Index(fields=["outcome", "-requested_at", "-id"], name="run_newest_by_outcome"),
            # ?http_status=
            models.Index(
                fields=["http_status", "-requested_at", "-id"], name="run_newest_by_http_status"
            ),
            # ?error_code=; most runs have none
            models.Index(
                fields=["error_code", "-requested_at", "-id"],
                condition=Q(IsGiven("error_code")),
                name="run_newest_by_code",
            ),
            # ?error_code= with ?user=: of two large sets the database would make bitmaps instead
            models.Index(
                fields=["error_code", "requested_by_name", "-requested_at", "-id"],
                condition=Q(IsGiven("error_code")),
                name="run_by_code_and_user",
            ),
            # ?trigger=
            models.Index(fields=["trigger", "-requested_at", "-id"], name="run_newest_by_trigger"),
            # ?user=
            models.Index(
                fields=["requested_by_name", "-requested_at", "-id"], name="run_newest_by_user"
            ),
            # ?user= with ?state= or ?group=
            models.Index(
                fields=["requested_by_name", "state", "-requested_at", "-id"],
                name="run_by_user_and_state",
            ),
            # ?cluster= with ?state= or ?group=
            models.Index(
                fields=["cluster", "state", "-requested_at", "-id"], name="run_by_cluster_and_state"
            ),
            # ?project= with ?state= or ?group=, and the same for a user who sees one project
            models.Index(
                fields=["project", "state", "-requested_at", "-id"], name="run_by_project_and_state"
            ),
            # ?q= that is the cloud's request id, or its beginning, as its support quotes it; texts
            # in messages have indexes of their own in each database: history/texts.py
            models.Index(
                fields=["request_id"],
                opclasses=["varchar_pattern_ops"],  # of PostgreSQL, for LIKE 'beginning%'
                name="run_by_request_id",
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
    def state_label(self) -> str:
        """The state's label; it says where a run was settled by hand."""
        label = self.run_state.label
        if self.settled_by_hand:
            return str(_BY_HAND.get(self.run_state, label))
        return _("Not verified") if self.is_unverified_unanswered else str(label)

    @property
    def is_unverified_unanswered(self) -> bool:
        """Whether it ended unverified, and the cloud had not accepted the request either."""
        return self.run_state is RunState.UNVERIFIED and self.outcome != Outcome.ACCEPTED

    @property
    def is_active(self) -> bool:
        return self.run_state in ACTIVE

    @property
    def is_terminal(self) -> bool:
        return self.run_state in TERMINAL

    @property
    def requester_label(self) -> str:
        """Who requested it, or "masked"."""
        return self.requested_by_name if self.masked_by is None else _("masked")

    @property
    def is_imported(self) -> bool:
        """Whether it was imported from the cloud's records: not requested by this product."""
        return self.trigger == Trigger.CLOUD

    def failed_attempts(self) -> int:
        """How many attempts started nothing and can be retried, without conflicts.

        Each such attempt left an event back to QUEUED that carries its outcome.
        """
        return (
            self.events.filter(from_state=RunState.SENDING, to_state=RunState.QUEUED)
            .exclude(outcome__in=[Outcome.NONE, Outcome.CONFLICT])
            .count()
        )

    @property
    def ended_well(self) -> bool:
        """Whether the backup was verified; accepted is not enough."""
        return self.run_state is RunState.SUCCEEDED

    @property
    def duration(self) -> timedelta | None:
        """From the request to the end; None while the run is active."""
        return _between(self.requested_at, self.finished_at)

    @property
    def waited(self) -> timedelta | None:
        """From the request until it was sent; None where nothing was sent."""
        return _between(self.requested_at, self.sent_at)

    @property
    def job_lasted(self) -> timedelta | None:
        """How long the cloud's job took, on the cloud's clock; None where unknown."""
        return _between(self.job_created_at, self.job_finished_at)


def _between(start: datetime | None, finish: datetime | None) -> timedelta | None:
    return finish - start if start is not None and finish is not None else None
