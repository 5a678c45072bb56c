"""Signed exports of the audit trail as JSON Lines, for `tools/verify_audit_export.py`."""

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

FORMAT = "css-log-backup-audit/1"
CHUNK = 2_000  # events per query
KEY_FILE_NAME = "audit_signing_key"


def signing_key() -> Ed25519PrivateKey:
    """Return the Ed25519 key in AUDIT_SIGNING_KEY, or else a key generated on first use.

    Raises:
        ImproperlyConfigured: the value is not such a key; the message does not show it.
        OSError: the generated key can be neither read nor stored.
    """
    if settings.AUDIT_SIGNING_KEY:
        return _parsed(settings.AUDIT_SIGNING_KEY, "AUDIT_SIGNING_KEY")
    path = settings.DATA_DIR / KEY_FILE_NAME
    return _parsed(generated_secret(path, nbytes=32), str(path))


def public_pem(key: Ed25519PrivateKey) -> str:
    """Return the public key as PEM."""
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode("ascii")


def public_base64(key: Ed25519PrivateKey) -> str:
    """Return the 32 bytes of the public key in base64."""
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
        pass  # raised below, without the original error, which could contain the key
    raise ImproperlyConfigured(
        f"{where} is not an Ed25519 key: use PEM (openssl genpkey -algorithm ed25519) "
        "or the base64 of 32 random bytes (openssl rand -base64 32)."
    )


class ExportError(Exception):
    """The range cannot be exported; the message says why."""


@dataclass(frozen=True, slots=True)
class EventRange:
    """Consecutive events.

    Attributes:
        after: the event before the first one.
        last: number of the last one.
    """

    after: ChainLink
    last: int


def find_range(
    first: int | None = None,
    last: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> EventRange:
    """Return the range of events that match.

    The range has no gaps, so that it can be verified: it extends from the first to the last match.

    Args:
        first, last: numbers, both included.
        since, until: times; `until` is excluded.

    Raises:
        ExportError: no event matches.
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
        raise ExportError("no event matches")
    return EventRange(ChainLink(oldest.sequence - 1, oldest.previous_hash), newest.sequence)


def export(chosen: EventRange, *, key: Ed25519PrivateKey, actor: Actor) -> Iterator[str]:
    """Yield an export: a header, one line for each event, and the seal. Records an event itself.

    Args:
        chosen: the range to export.
        key: signs the seal.
        actor: who exports.

    Yields:
        Lines of canonical JSON with line breaks. Memory use does not depend on the range.

    Raises:
        ExportError: an event is missing; the output has no seal and does not verify.
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
            raise ExportError(f"an event is missing at or after {expected}: run audit_verify")
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
