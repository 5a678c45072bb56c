"""Who is alive: one row per worker and beat process, written by the process itself."""

from __future__ import annotations

from django.db import models


class Heartbeat(models.Model):
    """A process that reports every HEARTBEAT_INTERVAL seconds; silence means it is gone."""

    class Kind(models.TextChoices):
        WORKER = "worker", "worker"
        BEAT = "beat", "beat"

    kind = models.CharField(max_length=10, choices=Kind)
    # "host:pid:random": never used twice, so that a dead process's claims stay recognisable
    name = models.CharField(max_length=120, unique=True)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    class Meta:
        # the banner and the sweeper ask for the newest of a kind
        indexes = [models.Index(fields=["kind", "-seen_at"], name="heartbeat_newest")]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"
