"""Saved filters of lists, and exports of the history."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Case, Q, When
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from dashboard.accounts.models import User


MOST_OFFERED = 150
LONGEST_QUERY = 2000  # characters


class SavedViewQuerySet(models.QuerySet["SavedView"]):
    def offered_to(self, user: User, listing: Listing) -> SavedViewQuerySet:
        """A user's own views of a list, then those that others share, up to MOST_OFFERED."""
        own_or_shared = Q(owner=user) | Q(shared=True)
        found = self.filter(own_or_shared, listing=listing).select_related("owner")
        return found.order_by(Case(When(owner=user, then=0), default=1), "name", "id")[
            :MOST_OFFERED
        ]


class Listing(models.TextChoices):
    """The lists that have saved views; each value is also the name of its URL."""

    HISTORY = "history", _("History")
    CLUSTERS = "clusters", _("Clusters")


class SavedView(models.Model):
    """A named filter of a list. It contains no rows: users see those that they may see."""

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_views"
    )
    name = models.CharField(max_length=80)
    listing = models.CharField(max_length=10, choices=Listing, default=Listing.HISTORY)
    query = models.CharField(
        max_length=LONGEST_QUERY, blank=True, help_text="query string of the list's URL"
    )
    shared = models.BooleanField(default=False, help_text="visible to all users")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = SavedViewQuerySet.as_manager()

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "listing", "name"], name="saved_view_once_per_name"
            )
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        address = reverse(f"backups:{self.listing}")
        return f"{address}?{self.query}" if self.query else address


class ExportAs(models.TextChoices):
    """Formats of an export."""

    CSV = "csv", "CSV"
    EXCEL = "excel", _("CSV for Excel")
    JSONL = "jsonl", _("JSON Lines")

    @property
    def suffix(self) -> str:
        """The file name's suffix, and the value of `Export.Format`."""
        return "jsonl" if self is ExportAs.JSONL else "csv"

    @property
    def content_type(self) -> str:
        return f"{'application/jsonl' if self is ExportAs.JSONL else 'text/csv'}; charset=utf-8"

    def headers(self, at: datetime) -> dict[str, str]:
        """The HTTP headers of the download.

        Args:
            at: when the export began, in UTC.
        """
        name = f"log-backup-history-{at:%Y%m%dT%H%M%SZ}.{self.suffix}"
        return {
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",  # nginx: do not buffer
        }


class Export(models.Model):
    """An export of the history: its owner, filter and progress."""

    class Format(models.TextChoices):
        CSV = "csv", "CSV"
        JSONL = "jsonl", _("JSON Lines")

    class State(models.TextChoices):
        RUNNING = "running", _("Running")
        COMPLETE = "complete", _("Complete")
        BROKEN_OFF = "broken_off", _("Broken off")

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="exports"
    )
    owner_name = models.CharField(max_length=255)
    # "" for a page; a token that is limited to projects sees its own exports alone
    token = models.CharField(max_length=255, blank=True, help_text="label of the API token")
    format = models.CharField(max_length=5, choices=Format)
    query = models.CharField(
        max_length=2000, blank=True, help_text="query string of the exported filter"
    )
    state = models.CharField(max_length=10, choices=State, default=State.RUNNING)
    rows = models.PositiveBigIntegerField(default=0, help_text="written so far")
    # later runs are not included, so the exported set does not change
    requested_before = models.DateTimeField()
    started_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["owner", "-started_at"], name="export_newest_of_owner")]

    def __str__(self) -> str:
        return f"export {self.pk} by {self.owner_name}"
