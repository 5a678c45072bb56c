"""Deliver messages: claim, send, store the result. At least once, and always with the same id.

A claim is a lease on the row of the message. A process that dies between sending and storing leaves
the lease to expire, and another sends the same message again.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Collection
from datetime import timedelta

from django.conf import settings
from django.db.models import F, Q
from django.utils import timezone

from backups import heartbeats, instance
from backups.choices import ChannelKind, DeliveryState, NoticeKind
from backups.models import Channel, Delivery, Notice
from dashboard.db import leases
from dashboard.encryption import Undecipherable, decrypt

from .messages import body_of, data_of, title_of
from .queueing import new_message_id
from .senders import Message, Result, send_apprise, send_ping, send_webhook

logger = logging.getLogger(__name__)

LONGEST_WAIT = 6 * 3600.0  # seconds between two attempts, and of a Retry-After
RETRY_FACTOR = 3
LEASE_RESERVE = 60.0  # seconds beyond NOTIFY_TIMEOUT until a lease is taken over


def _free() -> Q:
    """The condition for messages that are to be sent now, or whose sender has died.

    Columns of the row alone: a claim that waits for another one evaluates it again. A time that
    lies further ahead than the longest wait was written before a clock was set back.
    """
    now = timezone.now()
    ahead = now + timedelta(seconds=LONGEST_WAIT + settings.NOTIFY_GROUP_SECONDS + 60)
    lease = timedelta(seconds=settings.NOTIFY_TIMEOUT + LEASE_RESERVE)
    waiting = Q(state=DeliveryState.WAITING) & (Q(next_at__lte=now) | Q(next_at__gt=ahead))
    return waiting | Q(state=DeliveryState.SENDING) & leases.expired("leased_at", lease)


def due(most: int, *, but_of: Collection[int] = ()) -> list[tuple[int, int | None]]:
    """Primary keys of due messages and of their channels, longest waiting first.

    Args:
        most: how many.
        but_of: channels whose messages are left out, because one of them is being sent.

    Messages to a channel that is switched off wait until it is on again, and none is sent from a
    copied database before it is adopted.
    """
    unsent = Delivery.objects.filter(state__in=[DeliveryState.WAITING, DeliveryState.SENDING])
    ready = Q(channel__enabled=True) | Q(kind=NoticeKind.PING)
    rows = unsent.filter(~instance.is_elsewhere(), _free(), ready).order_by("next_at", "pk")
    if but_of:
        rows = rows.exclude(channel__in=but_of)
    return list(rows.values_list("pk", "channel_id")[:most])


def deliver(pk: int) -> bool:
    """Send a message that is due, unless another process does.

    Returns:
        Whether this call has sent it, or tried to.
    """
    mark = _mark()
    lease = leases.claim(
        Delivery.objects.filter(pk=pk),
        _free() | Q(**mark),
        mark,
        state=DeliveryState.SENDING,
        leased_at=timezone.now(),
        attempts=F("attempts") + 1,
    )
    if lease is None:
        return False
    _attempt(Delivery.objects.select_related("channel").get(pk=pk), lease)
    return True


def _mark() -> dict[str, str]:
    return {"leased_by": f"{heartbeats.process_name()} {secrets.token_hex(4)}"[:120]}


def send_test(channel: Channel) -> Delivery:
    """Send a test message now, once, and return it with its result. Takes NOTIFY_TIMEOUT."""
    mark = _mark()
    delivery = Delivery.objects.create(
        message_id=new_message_id(),
        channel=channel,
        channel_name=channel.name,
        kind=NoticeKind.TEST,
        title="Test message of CSS Log Backup",
        body=f"Messages of the channel {channel.name} arrive here.",
        state=DeliveryState.SENDING,
        attempts=1,
        leased_at=timezone.now(),
        **mark,
    )
    _attempt(delivery, leases.Lease(Delivery.objects.filter(pk=delivery.pk), mark))
    delivery.refresh_from_db()
    return delivery


def _attempt(delivery: Delivery, lease: leases.Lease) -> None:
    last = settings.NOTIFY_MAX_ATTEMPTS if delivery.kind != NoticeKind.TEST else 1
    if delivery.attempts > last:  # its process died during the last attempt
        result = Result(delivery.error or "the process that sent it has died")
    else:
        try:
            result = _send(delivery)
        except Undecipherable as error:
            result = Result(str(error))
        except Exception as error:
            logger.exception("message %s could not be sent", delivery.message_id)
            result = Result(f"error of the dashboard ({type(error).__name__})")
    now = timezone.now()
    free = {"leased_by": "", "leased_at": None, "error": result.error}
    try:
        if not result.error:
            lease.release(state=DeliveryState.SENT, sent_at=now, **free)
        elif delivery.attempts >= last:
            lease.release(state=DeliveryState.FAILED, **free)
            logger.warning("message %s was given up: %s", delivery.message_id, result.error)
        else:
            wait = timedelta(seconds=_wait(delivery.attempts, result.retry_after))
            lease.release(state=DeliveryState.WAITING, next_at=now + wait, **free)
    except leases.LeaseLost:
        logger.warning("message %s was cancelled or taken over meanwhile", delivery.message_id)


def _wait(attempts: int, retry_after: float | None) -> float:
    """Seconds until the next attempt: growing, or what the receiver asked for if that is more."""
    base = settings.NOTIFY_RETRY_BASE * RETRY_FACTOR ** min(attempts - 1, 12)
    return float(min(max(base, retry_after or 0.0), LONGEST_WAIT))


def _send(delivery: Delivery) -> Result:
    if delivery.kind == NoticeKind.PING:
        url = decrypt(delivery.sealed).reveal()
        return send_ping(url, failed=delivery.title == "fail", text=delivery.body)
    channel = delivery.channel
    if channel is None:
        return Result("the channel was deleted")
    address = json.loads(decrypt(channel.sealed).reveal())
    message = _message(delivery)
    if channel.kind == ChannelKind.WEBHOOK:
        return send_webhook(address["url"], address["secret"], message)
    return send_apprise(address["url"], message)


def _message(delivery: Delivery) -> Message:
    title, body, data = delivery.title, delivery.body, {}
    if not title:
        kind = NoticeKind(delivery.kind)
        links = delivery.links.order_by("notice_id").values("notice")
        notices = list(Notice.objects.filter(pk__in=links).order_by("pk"))
        if notices:
            title, body = title_of(kind, notices), body_of(kind, notices)
            data = data_of(kind, notices)
    return Message(
        id=delivery.message_id,
        kind=delivery.kind,
        title=title or f"{delivery.count} x {delivery.kind}",
        body=body,
        at=delivery.created_at,
        data=data,
        attachment=bytes(delivery.attachment or b""),
        attachment_name=delivery.attachment_name,
        attachment_type=delivery.attachment_type,
    )
