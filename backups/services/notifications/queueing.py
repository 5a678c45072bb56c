"""Messages that are not about a rule: a report to a channel, a ping to an address."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from backups.choices import DeliveryState, NoticeKind
from backups.models import Channel, Delivery, Notice
from dashboard.encryption import encrypt

MOST_BYTES = 5_000_000  # of an attachment


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of a message; a webhook gets it in base64.

    Attributes:
        name: file name, as in report.csv.
        content: at most MOST_BYTES.
        content_type: as in text/csv.
    """

    name: str
    content: bytes
    content_type: str = "application/octet-stream"


def queue_message(
    channel: Channel,
    kind: NoticeKind,
    title: str,
    body: str,
    *,
    attachment: Attachment | None = None,
    key: str,
) -> Delivery:
    """Queue a message to one channel, in the caller's transaction; it is sent at least once.

    Args:
        channel: where to; a disabled one keeps it until it is enabled.
        kind: what it is, for the delivery log.
        title: one line in English.
        body: plain text.
        attachment: a file.
        key: which message it is: a second call with it, the channel and the kind returns the first.

    Returns:
        The stored delivery; its `state` tells what became of it.

    Raises:
        ValueError: the attachment is too large.
    """
    if attachment is not None and len(attachment.content) > MOST_BYTES:
        raise ValueError(f"An attachment has at most {MOST_BYTES} bytes.")
    file = attachment or Attachment("", b"", "")
    return _store(
        Delivery(
            channel=channel,
            channel_name=channel.name,
            kind=kind,
            key=key[:200],
            title=title[:300],
            body=body,
            attachment=file.content or None,
            attachment_name=file.name[:200],
            attachment_type=file.content_type[:100],
        )
    )


def queue_ping(url: str, *, key: str, failed: bool = False, text: str = "") -> Delivery:
    """Queue a request to a dead man's ping URL, in the caller's transaction.

    The URL is stored encrypted, and `/fail` is added for a failure, as healthchecks accepts it.
    Addresses that are refused to webhooks are refused here too, when it is sent.

    Args:
        url: http or https.
        key: which ping it is: a second call with it returns the first.
        failed: whether to report a failure.
        text: the body of a POST; without one it is a GET.
    """
    return _store(
        Delivery(
            kind=NoticeKind.PING,
            key=key[:200],
            title="fail" if failed else "",
            body=text[:10_000],
            sealed=encrypt(url),
        )
    )


def _store(delivery: Delivery) -> Delivery:
    delivery.message_id = new_message_id()
    same = Delivery.objects.filter(channel=delivery.channel, kind=delivery.kind, key=delivery.key)
    if (stored := same.first()) is not None:
        return stored
    try:
        with transaction.atomic():
            delivery.save()
    except IntegrityError:  # another process was faster
        return same.get()
    return delivery


def new_message_id() -> str:
    """An id for a message: `msg_` and 32 hexadecimal digits."""
    return f"msg_{uuid.uuid4().hex}"


def drop_unsent(why: str, **which: Any) -> int:
    """Cancel messages that wait, in the caller's transaction; returns how many.

    Args:
        why: for the delivery log, in English.
        which: a filter, as in `channel=…`; without one, also notices that have no message yet.
    """
    if not which:
        Notice.objects.filter(routed_at=None).update(routed_at=timezone.now())
    waiting = Delivery.objects.filter(
        state__in=[DeliveryState.WAITING, DeliveryState.SENDING], **which
    )
    return waiting.update(state=DeliveryState.CANCELLED, error=why, leased_by="", leased_at=None)
