"""Route notices to channels: which rules match, and which message a notice becomes part of."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from backups.choices import DeliveryState, NoticeKind
from backups.models import Channel, ClusterTag, Delivery, Notice, NoticeDelivery, Rule

from .queueing import new_message_id

CHUNK = 500  # notices per transaction
# Sent without waiting for others like it.
URGENT = frozenset(
    {
        NoticeKind.WORK_STALLED,
        NoticeKind.WORK_RECOVERED,
        NoticeKind.AUDIT_BROKEN,
        NoticeKind.SCHEDULE_STOPPED,
    }
)


class _Raced(Exception):
    """Another process has routed some of the notices; nothing was written."""


def route() -> int:
    """Make deliveries of all notices that have none yet; returns how many notices were routed.

    Two processes may do so at the same time: one of them marks a notice, and the deliveries commit
    with the mark.
    """
    done = 0
    try:
        while routed := _route_chunk():
            done += routed
    except _Raced:
        pass
    return done


def _route_chunk() -> int:
    notices = list(Notice.objects.filter(routed_at=None).order_by("pk")[:CHUNK])
    if not notices:  # even an UPDATE without rows waits for SQLite's write lock
        return 0
    rules = list(Rule.objects.filter(channel__enabled=True).select_related("channel"))
    now = timezone.now()
    with transaction.atomic():
        open_rows = Notice.objects.filter(pk__in=[each.pk for each in notices], routed_at=None)
        if open_rows.update(routed_at=now) != len(notices):
            raise _Raced
        groups: dict[tuple[Channel, str], list[Notice]] = defaultdict(list)
        labels = _labels(rules, notices)
        for notice in notices:
            channels = {rule.channel for rule in rules if _matches(rule, notice, labels)}
            for channel in sorted(channels, key=lambda each: each.pk):
                groups[channel, _group(notice)].append(notice)
        for (channel, group), members in groups.items():
            _add(channel, group, members)
    return len(notices)


def _labels(rules: list[Rule], notices: list[Notice]) -> set[tuple[int, str]]:
    """Tags and labels of the notices' clusters, as `key` and as `key=value`, if a rule asks."""
    wanted = {rule.label for rule in rules if rule.label}
    clusters = {notice.cluster_id for notice in notices if notice.cluster_id}
    if not wanted or not clusters:
        return set()
    keys = {label.partition("=")[0] for label in wanted}
    tags = ClusterTag.objects.filter(cluster__in=clusters, key__in=keys)
    found = set()
    for cluster, key, value in tags.values_list("cluster_id", "key", "value"):
        found |= {(cluster, key), (cluster, f"{key}={value}")}
    return found


def _matches(rule: Rule, notice: Notice, labels: set[tuple[int, str]]) -> bool:
    if notice.kind not in rule.kinds:
        return False
    if rule.project_id is not None and rule.project_id != notice.project_id:
        return False
    return not rule.label or (notice.cluster_id or 0, rule.label) in labels


def _group(notice: Notice) -> str:
    shared = f"{notice.kind}\n{notice.cause}\n{notice.project_id}"
    return hashlib.sha256(shared.encode()).hexdigest()


def _add(channel: Channel, group: str, notices: list[Notice]) -> None:
    """Add notices to the group's message that still waits for its first attempt, or make one."""
    now, kind = timezone.now(), NoticeKind(notices[0].kind)
    waits = timedelta(seconds=0 if kind in URGENT else settings.NOTIFY_GROUP_SECONDS)
    fresh = Delivery.objects.filter(
        channel=channel, group=group, state=DeliveryState.WAITING, attempts=0, next_at__gt=now
    )
    delivery = fresh.order_by("pk").first()
    # conditional: a message that is being sent gets no further notices
    if delivery is None or not fresh.filter(pk=delivery.pk).update(count=F("count") + len(notices)):
        delivery = Delivery.objects.create(
            message_id=new_message_id(),
            channel=channel,
            channel_name=channel.name,
            kind=kind,
            group=group,
            count=len(notices),
            next_at=now + waits,
        )
    NoticeDelivery.objects.bulk_create(
        NoticeDelivery(notice=notice, delivery=delivery, channel=channel) for notice in notices
    )
