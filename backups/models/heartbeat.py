"""Who is alive, and who ticks: rows that the worker processes write themselves."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


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
