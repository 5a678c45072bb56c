"""What indexes need beyond Django's own words."""

from __future__ import annotations

from django.db import models


class IsGiven(models.Func):
    """Whether a text is not empty.

    The empty text is written out: SQLite takes a partial index only for a query that has the
    index's condition in the same words, and does not look into parameters.
    """

    template = "(%(expressions)s <> '')"
    output_field = models.BooleanField()
