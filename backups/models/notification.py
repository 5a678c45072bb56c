"""Notifications: channels, rules, the outbox, and the messages that were made from it."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from backups.choices import ChannelKind, DeliveryState, NoticeKind

from .cluster import Cluster
from .project import Project


class Channel(models.Model):
    """Where notifications go. Its address holds secrets, so it is stored encrypted."""

    name = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=10, choices=ChannelKind)
    # by dashboard.encryption: the address, and the signing secret of a webhook, as JSON
    sealed = models.TextField(help_text="encrypted")
    shown = models.CharField(max_length=255, help_text="the address without its secrets")
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)
    # NULL: the account was deleted
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_by_name = models.CharField(max_length=255)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Rule(models.Model):
    """What a channel is told: kinds of notices, of a project or all, of clusters with a label."""

    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="rules")
    kinds = models.JSONField(help_text="values of NoticeKind")
    project = models.ForeignKey(
        Project, null=True, blank=True, on_delete=models.CASCADE, related_name="+"
    )
    # key or key=value of a tag or label; notices that concern no cluster do not match
    label = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"rule {self.pk} of {self.channel}"


class Notice(models.Model):
    """The outbox: something that happened, written in the transaction in which it happened.

    Names of cluster and project are among the facts, which are all that a message needs.
    """

    kind = models.CharField(max_length=20, choices=NoticeKind)
    key = models.CharField(max_length=200, help_text="what happened; the same twice is one notice")
    project = models.ForeignKey(
        Project, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    cluster = models.ForeignKey(
        Cluster, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    cause = models.CharField(max_length=200, blank=True, help_text="equal causes share a message")
    facts = models.JSONField(default=dict)
    at = models.DateTimeField(default=timezone.now)
    routed_at = models.DateTimeField(null=True, blank=True, help_text="its deliveries are stored")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["kind", "key"], name="notice_once_per_kind_and_key")
        ]
        indexes = [
            # each look: what has no deliveries yet
            models.Index(fields=["id"], condition=Q(routed_at=None), name="notice_unrouted"),
            # retention
            models.Index(fields=["at"], name="notice_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


class Delivery(models.Model):
    """A message to a channel: one or several notices of a group, or a text that was queued.

    Sent at least once, always with the same `message_id`. `leased_by` holds it while it is sent; a
    lease that expired is taken over, so a process that died costs a delay and at most a repetition.
    """

    message_id = models.CharField(max_length=40, unique=True, help_text="the same at each attempt")
    # NULL: the channel was deleted, or a ping
    channel = models.ForeignKey(
        Channel, null=True, blank=True, on_delete=models.SET_NULL, related_name="deliveries"
    )
    channel_name = models.CharField(max_length=100, blank=True)
    kind = models.CharField(max_length=20, choices=NoticeKind)
    # of a queued message; "" for notices, which are told apart by NoticeDelivery
    key = models.CharField(max_length=200, blank=True)
    group = models.CharField(max_length=64, blank=True, help_text="hash of what notices share")
    count = models.PositiveIntegerField(default=1, help_text="notices in it")
    title = models.CharField(max_length=300, blank=True)
    body = models.TextField(blank=True)
    sealed = models.TextField(blank=True, help_text="of a ping: its URL, encrypted")
    attachment = models.BinaryField(null=True, blank=True)
    attachment_name = models.CharField(max_length=200, blank=True)
    attachment_type = models.CharField(max_length=100, blank=True)

    state = models.CharField(max_length=10, choices=DeliveryState, default=DeliveryState.WAITING)
    created_at = models.DateTimeField(default=timezone.now)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(default=timezone.now, help_text="earliest next attempt")
    leased_by = models.CharField(max_length=120, blank=True)
    leased_at = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=500, blank=True, help_text="of the last attempt")
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            # a queued message that is queued twice is one message
            models.UniqueConstraint(
                fields=["channel", "kind", "key"],
                condition=~Q(key=""),
                name="delivery_once_per_channel_and_key",
            ),
            # the same for pings, which have no channel
            models.UniqueConstraint(
                fields=["key"], condition=Q(kind="ping"), name="ping_once_per_key"
            ),
        ]
        indexes = [
            # the sender: what is due; the router: the open message of a group
            models.Index(
                fields=["next_at"],
                condition=Q(state__in=["waiting", "sending"]),
                name="delivery_unsent",
            ),
            # the delivery log, and of one channel; retention
            models.Index(fields=["-created_at", "-id"], name="delivery_newest"),
            models.Index(fields=["channel", "-created_at", "-id"], name="delivery_by_channel"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} to {self.channel_name}"


class NoticeDelivery(models.Model):
    """A notice in a delivery: each once per channel, whichever process made the message."""

    notice = models.ForeignKey(Notice, on_delete=models.CASCADE, related_name="+", db_index=False)
    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="links")
    channel = models.ForeignKey(
        Channel, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["notice", "channel"], name="notice_once_per_channel")
        ]

    def __str__(self) -> str:
        return f"{self.notice_id} in {self.delivery_id}"


class Alert(models.Model):
    """A condition that lasts and was noticed: it is announced once, until it has ended."""

    kind = models.CharField(max_length=20, choices=NoticeKind)
    subject = models.CharField(max_length=60, blank=True, help_text="of several of a kind")
    cluster = models.ForeignKey(
        Cluster, null=True, blank=True, on_delete=models.CASCADE, related_name="alerts"
    )
    began_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["kind", "subject"], name="alert_once_per_subject")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"
