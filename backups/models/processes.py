"""Which instance a database belongs to, which processes run, and which one ticks."""

from __future__ import annotations

import secrets

from django.db import models
from django.db.models import Q


def new_uid() -> str:
    """An id that no other instance has."""
    return secrets.token_hex(8)


class Instance(models.Model):
    """The instance, and the place that it runs in, as `backups/instance.py` recognises it.

    A copy of the database brings this row along. Whoever runs the copy finds another place than
    `home`, gives the row an id of its own and takes `adopted` away: nothing is sent to a cloud
    until somebody adopts it.
    """

    # in the name of every key in Redis, so that two instances may share one
    uid = models.CharField(max_length=32, default=new_uid)
    home = models.JSONField(default=dict, help_text="facts of the place; empty: never served")
    generation = models.PositiveIntegerField(default=0, help_text="counts changes of this row")
    adopted = models.BooleanField(default=True)
    origin = models.CharField(max_length=32, blank=True, help_text="uid that the copy came with")
    differs = models.CharField(max_length=200, blank=True, help_text="in which facts, when noticed")
    noticed_at = models.DateTimeField(null=True, blank=True, help_text="that it is a copy")

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="one_instance")]

    def __str__(self) -> str:
        return self.uid


class Heartbeat(models.Model):
    """A worker process reports every HEARTBEAT_INTERVAL seconds; silence means it is gone."""

    class Kind(models.TextChoices):
        WORKER = "worker", "worker"

    kind = models.CharField(max_length=10, choices=Kind)
    # "host:pid:random": never used twice, so that a dead process's claims stay recognisable
    name = models.CharField(max_length=120, unique=True)
    started_at = models.DateTimeField()
    # Of the process's own wall clock: for people, and to see that it has changed. Who is silent
    # is judged by `seen_uptime`.
    seen_at = models.DateTimeField()
    seen_uptime = models.FloatField(null=True, blank=True, help_text="Ticker.uptime when it wrote")

    class Meta:
        # the banner asks for the newest of a kind
        indexes = [models.Index(fields=["kind", "-seen_at"], name="heartbeat_newest")]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Ticker(models.Model):
    """The one row that says which worker ticks, and for how long the product has been ticking.

    ``ticks`` is the lease: whoever waits takes it over once it has stood still for some seconds of
    the waiting process's own monotonic clock. ``uptime`` is the clock by which limits are judged.
    It only moves forward, and only while somebody sweeps: each tick adds the monotonic time since
    the tick before, two intervals at most. Steps of the wall clock and outages do not move it.
    """

    holder = models.CharField(max_length=120, blank=True, help_text="Heartbeat.name; empty: free")
    ticks = models.PositiveBigIntegerField(default=0, help_text="counts renewals and take-overs")
    uptime = models.FloatField(default=0.0, help_text="seconds")
    ticked_at = models.DateTimeField(
        null=True, blank=True, help_text="the holder's wall clock, for people"
    )

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="one_ticker")]

    def __str__(self) -> str:
        return f"tick {self.ticks} by {self.holder or 'nobody'}"


class Canary(models.Model):
    """The last message that a worker consumed, whatever it was about.

    ``number`` counts, so that it can be seen to change by somebody whose clock differs.
    """

    number = models.PositiveBigIntegerField(default=0)
    arrived_at = models.DateTimeField(help_text="the worker's wall clock")

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="one_canary")]

    def __str__(self) -> str:
        return f"message {self.number} at {self.arrived_at}"
