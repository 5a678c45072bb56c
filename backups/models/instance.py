"""Which instance of the product a database belongs to: one row."""

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

    @property
    def clashes(self) -> bool:
        """Whether another instance was found that has the same id; a copy's origin is another."""
        return not self.adopted and self.origin == self.uid
