"""Which instance a database belongs to, which processes run, and which one ticks."""

from __future__ import annotations

import secrets

from django.db import models
from django.db.models import Q


def new_uid() -> str:
    """A random id for an instance."""
    return secrets.token_hex(8)


class Instance(models.Model):
    """The instance that a database belongs to, and where it runs (`backups/instance.py`).

    A copy of the database contains this row. An instance that starts on a copy runs in another
    place than `home`: it writes a new id and clears `adopted`, and sends nothing to a cloud until
    an administrator adopts the database.
    """

    # part of every Redis key, so that two instances can share a Redis
    uid = models.CharField(max_length=32, default=new_uid)
    home = models.JSONField(
        default=dict, help_text="facts that identify the installation; empty: never served"
    )
    generation = models.PositiveIntegerField(default=0, help_text="counts changes of this row")
    adopted = models.BooleanField(default=True)
    origin = models.CharField(
        max_length=32, blank=True, help_text="uid before the copy was adopted"
    )
    differs = models.CharField(
        max_length=200, blank=True, help_text="facts that differed when the copy was noticed"
    )
    noticed_at = models.DateTimeField(
        null=True, blank=True, help_text="when it was recognised as a copy"
    )

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="one_instance")]

    def __str__(self) -> str:
        return self.uid

    @property
    def clashes(self) -> bool:
        """Whether another instance has the same id; a copy has the original's id as `origin`."""
        return not self.adopted and self.origin == self.uid


class Heartbeat(models.Model):
    """Written by each worker process every HEARTBEAT_INTERVAL seconds; a silent process is dead."""

    class Kind(models.TextChoices):
        WORKER = "worker", "worker"

    kind = models.CharField(max_length=10, choices=Kind)
    # "host:pid:random", never reused, so that the claims of a dead process are recognised
    name = models.CharField(max_length=120, unique=True)
    started_at = models.DateTimeField()
    # The process's own wall clock: for display, and to detect changes. Silence is judged by
    # `seen_uptime`.
    seen_at = models.DateTimeField()
    seen_uptime = models.FloatField(
        null=True, blank=True, help_text="Ticker.uptime at the last heartbeat"
    )

    class Meta:
        # the banner reads the newest of a kind
        indexes = [models.Index(fields=["kind", "-seen_at"], name="heartbeat_newest")]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Ticker(models.Model):
    """Which worker ticks, and the product's own clock: one row.

    ``ticks`` is the lease: a waiting process takes it over when the counter has not changed for
    some seconds of its own monotonic clock. ``uptime`` is the clock for time limits. It only moves
    forward, and only while a worker ticks: each tick adds the monotonic time since the last one,
    at most two intervals. Wall-clock changes and outages do not move it.
    """

    holder = models.CharField(max_length=120, blank=True, help_text="Heartbeat.name; empty: free")
    ticks = models.PositiveBigIntegerField(default=0, help_text="counts renewals and take-overs")
    uptime = models.FloatField(default=0.0, help_text="seconds")
    ticked_at = models.DateTimeField(
        null=True, blank=True, help_text="wall clock of the holder; informative only"
    )

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="one_ticker")]

    def __str__(self) -> str:
        return f"tick {self.ticks} by {self.holder or 'nobody'}"


class Canary(models.Model):
    """The last message that a worker consumed, of any task: one row.

    ``number`` counts messages, so that a process with another clock can detect changes.
    """

    number = models.PositiveBigIntegerField(default=0)
    arrived_at = models.DateTimeField(help_text="by the worker's wall clock")

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="one_canary")]

    def __str__(self) -> str:
        return f"message {self.number} at {self.arrived_at}"
