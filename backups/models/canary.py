"""Whether messages come through the queue: one row, written by whoever consumes one."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


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
