"""The bytes that are hashed. Pure; docs/audit.md describes the same for whoever verifies outside.

`tools/verify_audit_export.py` does it a second time on purpose: a verifier that shared this code
would share its mistakes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

VERSION = 1  # of the form below; a change of it is a new number, old events keep theirs
GENESIS = "0" * 64  # stands for the hash before the first event


def canonical(value: Any) -> bytes:
    """JSON in the one spelling that is hashed.

    Args:
        value: of dicts with text keys, lists, texts, integers, booleans and None; no floats, whose
            spelling differs between languages and databases.

    Returns:
        Keys sorted by code point, no white space, every character outside ASCII as \\uXXXX.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    ).encode("ascii")


def sha256(value: Any) -> str:
    """The SHA-256 of a value's canonical JSON, in lower-case hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()


def personal_digest(salt: str, personal: Mapping[str, Any]) -> str:
    """What stands for the personal part in an event's content.

    Args:
        salt: random, in hexadecimal; it goes when the personal part is masked, and then names and
            addresses cannot be guessed from the digest.
        personal: the personal part.
    """
    return sha256({"personal": dict(personal), "salt": salt})


def instant(moment: datetime) -> str:
    """A moment as it is hashed: UTC to the millisecond, as in 2026-01-31T12:00:00.000Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
