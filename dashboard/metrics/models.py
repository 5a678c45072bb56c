"""What all processes have counted together."""

from __future__ import annotations

from django.db import models


class Sample(models.Model):
    """The sum of one sample of a counter or histogram over all processes, for ever.

    Attributes:
        name: as Prometheus reads it, such as `css_backup_tasks_total`.
        labels: JSON object with sorted keys.
        value: the sum; it only grows.
    """

    name = models.CharField(max_length=100)
    labels = models.CharField(max_length=500)
    value = models.FloatField()

    class Meta:
        db_table = "metrics_sample"
        constraints = [
            # also the conflict that `counters.add_to_database` resolves by adding
            models.UniqueConstraint(fields=["name", "labels"], name="one_row_per_sample")
        ]

    def __str__(self) -> str:
        return f"{self.name}{self.labels} {self.value}"
