"""Remove secrets and control characters from text that is stored, logged or shown."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterable
from typing import NoReturn
from urllib.parse import quote

REDACTED = "[redacted]"
_SHORTEST_SECRET = 4  # characters; replacing shorter ones would make ordinary text unreadable

_NAME = (
    r"(?:[\w.-]{0,40}(?:passw(?:or)?d|passcode|secret|token|authorization|cookie|credential"
    r"|access_?key|api_?key|private_?key|signature)[\w.-]{0,40}|ak|sk|access)"
)
# "password": "…", including escaped quotes (JSON inside JSON) and truncated values.
_JSON_TEXT = re.compile(
    rf"(\\{{0,4}}[\"']{_NAME}\\{{0,4}}[\"']\s{{0,9}}:\s{{0,9}}\\{{0,4}}[\"'])"
    r"(?:[^\"\\]|\\.)*",
    re.IGNORECASE | re.DOTALL,
)
_JSON_NUMBER = re.compile(rf"([\"']{_NAME}[\"']\s{{0,9}}:\s{{0,9}})-?\d[\w.+-]*", re.IGNORECASE)
_WHOLE_LINE = re.compile(
    r"(\b(?:proxy-)?(?:authorization|cookie|set-cookie)\s{0,9}[:=]\s{0,9})[^\r\n\"]+", re.IGNORECASE
)
_HEADER_LIKE = re.compile(
    rf"(?<![\w.-])({_NAME}\s{{0,9}}[:=]\s{{0,9}})[^\s,;&\"'<>]+", re.IGNORECASE
)
# Recognized by format: the product's API tokens, Keystone Fernet and PKI tokens, JSON web tokens,
# bearer values.
_TOKEN_LOOKS = re.compile(
    r"\b(?:csslb_[0-9a-f]{12}_[\w-]+"
    r"|gAAAA[\w-]{20,}|MII[A-Za-z0-9+/_=-]{60,}|eyJ[\w-]{10,}\.[\w-]*(?:\.[\w-]*)?"
    r"|(?<=Bearer )[^\s\"'<>]+)"
)
# Control characters except tab and newline, lone surrogates, line separators, text direction marks.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)


def printable(text: str) -> str:
    """Replace characters that are unsafe in a terminal, database or page with spaces.

    Line ends are kept.
    """
    return _UNPRINTABLE.sub(" ", text.replace("\r\n", "\n"))


def one_line(text: str, limit: int) -> str:
    """Fold `text` into one printable line of at most `limit` characters."""
    folded = " ".join(printable(text).split())
    return folded if len(folded) <= limit else folded[: limit - 1] + "…"


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Remove secrets and control characters from `text`.

    Args:
        text: text from an external source.
        secrets: known secret values. Each is replaced wherever it occurs, including in its JSON
            and URL encodings.

    Returns:
        The text with `[redacted]` in place of known secrets, of the values of JSON keys, headers
        and parameters whose names indicate a secret, and of strings that look like tokens.
    """
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) < _SHORTEST_SECRET:
            continue
        for spelling in {secret, json.dumps(secret)[1:-1], quote(secret, safe="")}:
            text = text.replace(spelling, REDACTED)
    text = printable(text)
    text = _JSON_TEXT.sub(rf"\g<1>{REDACTED}", text)
    text = _JSON_NUMBER.sub(rf"\g<1>{REDACTED}", text)
    text = _WHOLE_LINE.sub(rf"\g<1>{REDACTED}", text)
    text = _HEADER_LIKE.sub(rf"\g<1>{REDACTED}", text)
    return _TOKEN_LOOKS.sub(REDACTED, text)


class Secret:
    """String that shows as `[redacted]` when printed, logged, formatted or listed in a traceback.

    It cannot be pickled or serialized to JSON, so it cannot be passed as a task argument. Comparing
    two secrets takes constant time.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the plain text. Call this only where the secret is sent."""
        return self._text

    def __repr__(self) -> str:
        return REDACTED

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is neither pickled nor copied")
