"""Schedules, and what became of each of their slots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.urls import reverse
from django.utils import timezone

from backups.choices import CatchUp, FiringResult, ScheduledWork, WhenNotReady
from dashboard.accounts.access import visible_q

from .notification import Channel
from .project import Project

if TYPE_CHECKING:
    from dashboard.accounts.models import User

# what the audit trail has of a schedule, before and after a change
RECORDED = (
    *("name", "work", "is_on", "cron", "interval", "zone", "query", "picked", "jitter"),
    *("when_not_ready", "wait_minutes", "catch_up", "overlap", "reason", "report_span"),
)


class ScheduleQuerySet(models.QuerySet["Schedule"]):
    def visible_to(self, user: User) -> ScheduleQuerySet:
        """A user's own schedules, and those with clusters in a project that they may see."""
        seen = visible_q(user)
        if not seen:
            return self.all()
        projects = Schedule.projects.through.objects.filter(seen, schedule=OuterRef("pk"))
        return self.filter(Q(owner=user) | Exists(projects))

    def existing(self) -> ScheduleQuerySet:
        """Schedules that have not been deleted."""
        return self.filter(deleted_at=None)


class Schedule(models.Model):
    """Clusters that are backed up at certain times, with the permissions of the owner.

    A deleted schedule remains as a row, for its firings.
    """

    name = models.CharField(max_length=100)
    work = models.CharField(max_length=10, choices=ScheduledWork, default=ScheduledWork.BACKUP)
    # who saved it last: their permissions are looked at when it fires; NULL: account deleted
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="schedules"
    )
    owner_name = models.CharField(max_length=255)
    is_on = models.BooleanField(default=True)
    stopped_reason = models.CharField(max_length=500, blank=True, help_text="why it stopped itself")

    cron = models.CharField(max_length=100, blank=True)
    interval = models.PositiveIntegerField(default=0, help_text="seconds; 0: the cron text")
    anchor = models.DateTimeField(default=timezone.now, help_text="intervals count from it")
    zone = models.CharField(max_length=64, default="UTC")
    jitter = models.PositiveIntegerField(default=0, help_text="most seconds after the slot")

    query = models.CharField(max_length=2000, blank=True, help_text="filter, as in the URL")
    picked: models.JSONField[Any, Any] = models.JSONField(
        default=list, blank=True, help_text="keys of clusters; empty: the filter"
    )
    # of the clusters that matched when it was saved or fired last
    projects = models.ManyToManyField(Project, related_name="+")

    when_not_ready = models.CharField(max_length=6, choices=WhenNotReady, default=WhenNotReady.SKIP)
    wait_minutes = models.PositiveSmallIntegerField(default=0)
    catch_up = models.CharField(max_length=4, choices=CatchUp, default=CatchUp.ONE)
    overlap = models.BooleanField(default=False, help_text="also while its last batch is open")
    reason = models.CharField(max_length=500, blank=True)
    # of a report: where to, and a lists.report.Span; NULL: the channel was deleted
    report_channel = models.ForeignKey(
        Channel, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    report_span = models.CharField(max_length=10, blank=True)
    # requested when a firing's batch has ended, with /fail if it did not end well
    ping_sealed = models.TextField(blank=True, help_text="dead man's ping URL, encrypted")

    next_slot = models.DateTimeField(null=True, blank=True)
    next_at = models.DateTimeField(null=True, blank=True, help_text="the next slot and its jitter")
    # when these were computed: later than now means that the clock was set back since
    planned_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    changed_at = models.DateTimeField(default=timezone.now)
    deleted_at = models.DateTimeField(null=True, blank=True)

    objects = ScheduleQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(cron="", interval__gt=0) | (~Q(cron="") & Q(interval=0)),
                name="schedule_cron_or_interval",
            ),
            # one that is off or deleted can never be due
            models.CheckConstraint(
                condition=Q(is_on=True, deleted_at=None) | Q(next_at=None),
                name="schedule_off_is_not_due",
            ),
        ]
        indexes = [
            # each tick: what is due
            models.Index(
                fields=["next_at"], condition=Q(next_at__isnull=False), name="schedule_due"
            )
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("backups:schedule", args=[self.pk])

    @property
    def tz(self) -> ZoneInfo:
        """Its time zone."""
        return ZoneInfo(self.zone)

    def recorded(self) -> dict[str, Any]:
        """What the audit trail has of it; of the ping URL only whether there is one."""
        channel = str(self.report_channel) if self.report_channel else ""
        values = {name: getattr(self, name) for name in RECORDED}
        return values | {"ping": bool(self.ping_sealed), "report_channel": channel}


class Firing(models.Model):
    """A slot of a schedule, and what became of it. Never deleted: it explains its batch."""

    schedule = models.ForeignKey(
        Schedule, on_delete=models.PROTECT, related_name="firings", db_index=False
    )
    slot = models.DateTimeField(help_text="for a firing by hand, when it was asked for")
    fired_at = models.DateTimeField(default=timezone.now)
    result = models.CharField(max_length=9, choices=FiringResult)
    note = models.CharField(max_length=500, blank=True, help_text="why, in English")
    matched = models.PositiveIntegerField(default=0, help_text="clusters that the selection had")
    requested = models.PositiveIntegerField(default=0, help_text="clusters of the batch")
    by_hand = models.BooleanField(default=False)
    by_name = models.CharField(max_length=255, blank=True, help_text="who fired it by hand")
    awaits_ping = models.BooleanField(default=False, help_text="its ping has not been queued yet")

    class Meta:
        constraints = [
            # Two processes never fire a slot twice; also the index for a schedule's firings.
            models.UniqueConstraint(fields=["schedule", "slot"], name="slot_once_per_schedule")
        ]
        indexes = [
            models.Index(fields=["schedule", "-id"], name="firing_newest"),
            # each tick: pings to queue
            models.Index(fields=["id"], condition=Q(awaits_ping=True), name="firing_awaits_ping"),
        ]

    def __str__(self) -> str:
        return f"firing {self.pk} of schedule {self.schedule_id}"
