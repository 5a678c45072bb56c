"""Values of events: redaction before they are stored, and the bytes that are hashed.

docs/audit.md specifies the hashed form. `tools/verify_audit_export.py` implements it a second time
on purpose: a verifier that shared this code would share its bugs.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

# version of the hashed form; a change needs a new number, and stored events keep theirs
CONTENT_FORM = 1
GENESIS = "0" * 64  # the previous hash of the first event
REDACTED = "[redacted]"
MAX_TEXT_LENGTH = 2_000
MAX_ITEMS = 200
MAX_DEPTH = 6
_MAX_SAFE_INTEGER = 2**53  # larger numbers lose precision in many JSON parsers

_SECRET_NAME = re.compile(
    r"passw(?:or)?d|passcode|passphrase|secret|token|authorization|cookie|credential|session_?key"
    r"|access_?key|api_?key|private_?key|signing_?key|signature|^(?:ak|sk|pwd|otp)$",
    re.IGNORECASE,
)
# Names of values about a secret that are not secret.
_HARMLESS_NAME = re.compile(
    r"_(?:name|label|count|type|at|until|expires)$|(?<!key)_id$", re.IGNORECASE
)
# Keystone's tokens, JSON web tokens, bearer and basic credentials, private keys, passwords in URLs
_SECRET_LOOKS = re.compile(
    r"\bgAAAA[\w-]{20,}|\bMII[A-Za-z0-9+/_=-]{60,}|\beyJ[\w-]{10,}\.[\w-]*(?:\.[\w-]*)?"
    r"|(?<=\bbearer )[^\s\"'<>]+|(?<=\bbasic )[A-Za-z0-9+/=]{8,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)",
    re.IGNORECASE | re.DOTALL,
)
# Control characters except tab and newline, lone surrogates, line separators, text direction marks.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)


def canonical(value: Any) -> bytes:
    """Return the canonical JSON of a value.

    Args:
        value: of dicts with string keys, lists, strings, integers, booleans and None; no floats,
            whose form differs between languages and databases.

    Returns:
        JSON with keys sorted by code point, no white space, and non-ASCII characters as \\uXXXX.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    ).encode("ascii")


def sha256(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON of a value, in lower-case hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()


def personal_digest(salt: str, personal: Mapping[str, Any]) -> str:
    """Return the digest that replaces the personal data in the content of an event.

    Args:
        salt: random, in hexadecimal. Masking deletes it, so that names and addresses cannot be
            guessed from the digest.
        personal: the personal data.
    """
    return sha256({"personal": dict(personal), "salt": salt})


def instant(moment: datetime) -> str:
    """Format a time as it is hashed: UTC to the millisecond, as in 2026-01-31T12:00:00.000Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def text(value: object, limit: int = MAX_TEXT_LENGTH) -> str:
    """Return printable text of at most `limit` characters, with likely secrets redacted."""
    clean = _SECRET_LOOKS.sub(REDACTED, str(value)[: 4 * limit])
    clean = _UNPRINTABLE.sub(" ", clean.replace("\r\n", "\n"))
    return clean if len(clean) <= limit else f"{clean[: limit - 1]}…"


def line(value: object, limit: int) -> str:
    """Return the same as `text`, on a single line."""
    return text(" ".join(text(value, 4 * limit).split()), limit)


def storable(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a copy of values that can be stored, hashed and displayed.

    Args:
        values: names and values, nested to a depth of six at most.

    Returns:
        None for None. Otherwise a copy with `[redacted]` for values with the name of a secret, long
        strings and lists truncated, times as UTC, and values without an exact JSON form as text:
        databases format decimals and floats differently.
    """
    return None if values is None else _mapping(values, MAX_DEPTH)


def _mapping(values: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    kept = {}
    for key, value in list(values.items())[:MAX_ITEMS]:
        name = line(key, 200)
        secret = _SECRET_NAME.search(name) and not _HARMLESS_NAME.search(name)
        empty = value is None or isinstance(value, bool) or value == ""
        kept[name] = REDACTED if secret and not empty else _value(value, depth - 1)
    return kept


def _value(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < _MAX_SAFE_INTEGER else str(int(value))
    if isinstance(value, str):
        return text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    if isinstance(value, datetime) and value.tzinfo is not None:
        return instant(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return _mapping(value, depth) if depth > 0 else "[…]"
    if isinstance(value, Iterable):
        if depth <= 0:
            return "[…]"
        ordered = sorted(value, key=str) if isinstance(value, set | frozenset) else list(value)
        more = [f"[{len(ordered) - MAX_ITEMS} more]"] if len(ordered) > MAX_ITEMS else []
        return [_value(each, depth - 1) for each in ordered[:MAX_ITEMS]] + more
    return text(value)
