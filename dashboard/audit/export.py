"""The trail as signed JSON Lines; `tools/verify_audit_export.py` verifies them elsewhere."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from dashboard.generated import generated_secret

from . import trail
from .models import Action, AuditEvent
from .trail import Actor, ChainLink, record
from .values import canonical, instant

KEY_FILE_NAME = "audit_signing_key"


def signing_key() -> Ed25519PrivateKey:
    """The Ed25519 key in AUDIT_SIGNING_KEY, else the instance's own, made on first use.

    Raises:
        ImproperlyConfigured: what was given is no such key; the text does not show it.
        OSError: the instance's own can be neither read nor made.
    """
    if settings.AUDIT_SIGNING_KEY:
        return _parsed(settings.AUDIT_SIGNING_KEY, "AUDIT_SIGNING_KEY")
    path = settings.DATA_DIR / KEY_FILE_NAME
    return _parsed(generated_secret(path, nbytes=32), str(path))


def public_pem(key: Ed25519PrivateKey) -> str:
    """The public key as PEM, for whoever verifies."""
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode("ascii")


def public_base64(key: Ed25519PrivateKey) -> str:
    """The public key's 32 bytes in base64."""
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.b64encode(raw).decode("ascii")


def _parsed(text: str, where: str) -> Ed25519PrivateKey:
    text = text.strip()
    try:
        if text.startswith("-----BEGIN"):
            key = load_pem_private_key(text.encode(), password=None)
            if isinstance(key, Ed25519PrivateKey):
                return key
        else:
            padded = text.translate(str.maketrans("-_", "+/")) + "=" * (-len(text) % 4)
            return Ed25519PrivateKey.from_private_bytes(base64.b64decode(padded, validate=True))
    except (ValueError, TypeError, binascii.Error, UnsupportedAlgorithm):
        pass  # raised below, without the chain of errors that could show the key
    raise ImproperlyConfigured(
        f"{where} holds no Ed25519 key: give PEM (openssl genpkey -algorithm ed25519) "
        "or the base64 of 32 random bytes (openssl rand -base64 32)."
    )


FORMAT = "css-log-backup-audit/1"
CHUNK = 2_000  # events read at once


class ExportError(Exception):
    """The range cannot be exported; the text says why."""


@dataclass(frozen=True, slots=True)
class EventRange:
    """Events next to each other.

    Attributes:
        after: the place before the first.
        last: number of the last.
    """

    after: ChainLink
    last: int


def find_range(
    first: int | None = None,
    last: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> EventRange:
    """The events from a number and a time on, up to a number and before a time.

    The range has no holes, so that it can be verified: it reaches from the first to the last event
    that match.

    Raises:
        ExportError: there is no such event.
    """
    events = AuditEvent.objects.order_by("sequence")
    events = events.filter(sequence__gt=trail.beginning().sequence)
    if first is not None:
        events = events.filter(sequence__gte=first)
    if last is not None:
        events = events.filter(sequence__lte=last)
    if since is not None:
        events = events.filter(at__gte=since)
    if until is not None:
        events = events.filter(at__lt=until)
    oldest, newest = events.first(), events.last()
    if oldest is None or newest is None:
        raise ExportError("there is no such event")
    return EventRange(ChainLink(oldest.sequence - 1, oldest.previous_hash), newest.sequence)


def export(chosen: EventRange, *, key: Ed25519PrivateKey, actor: Actor) -> Iterator[str]:
    """Lines of an export: a header, an event each, and the seal. The export is itself an event.

    Args:
        chosen: which events.
        key: signs the seal.
        actor: who exports.

    Yields:
        Lines of canonical JSON, each with its line end. Memory does not grow with the range.

    Raises:
        ExportError: an event is missing; what was written has no seal and does not verify.
    """
    made_at = timezone.now()
    details = {"first": chosen.after.sequence + 1, "last": chosen.last, "format": FORMAT}
    record(Action.EXPORT_MADE, actor=actor, target_label="audit trail", details=details)
    running = hashlib.sha256()
    for item in _items(chosen, made_at, actor, public_base64(key)):
        encoded = canonical(item) + b"\n"
        running.update(encoded)
        yield encoded.decode("ascii")
        if item["type"] == "event":
            head = item["hash"]
    seal = {
        "type": "seal",
        "events": chosen.last - chosen.after.sequence,
        "first": chosen.after.sequence + 1,
        "last": chosen.last,
        "head": head,
        "sha256": running.hexdigest(),
    }
    signature = key.sign(FORMAT.encode() + b"\n" + canonical(seal))
    signed = {**seal, "signature": base64.b64encode(signature).decode("ascii")}
    yield canonical(signed).decode("ascii") + "\n"


def _items(
    chosen: EventRange, made_at: datetime, actor: Actor, public_key: str
) -> Iterator[dict[str, Any]]:
    yield {
        "type": "header",
        "format": FORMAT,
        "exported_at": instant(made_at),
        "exported_by": actor.name,
        "begins_after": {"sequence": chosen.after.sequence, "hash": chosen.after.hash},
        "public_key": public_key,
    }
    expected = chosen.after.sequence + 1
    while expected <= chosen.last:
        events = AuditEvent.objects.filter(sequence__gte=expected, sequence__lte=chosen.last)
        chunk = list(events.order_by("sequence")[:CHUNK])
        if not chunk or [e.sequence for e in chunk] != list(range(expected, expected + len(chunk))):
            raise ExportError(f"an event from {expected} on is missing: run audit_verify")
        for event in chunk:
            yield {
                "type": "event",
                "content": event.content(),
                "hash": event.hash,
                "masked_by": event.masked_by,
                "personal": None if event.is_masked else event.personal_part(),
                "salt": None if event.is_masked else event.salt,
            }
        expected += len(chunk)
