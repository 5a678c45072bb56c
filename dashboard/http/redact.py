"""Keeping secrets and control characters out of what is stored, logged or shown."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterable
from typing import NoReturn
from urllib.parse import quote

REDACTED = "[redacted]"
_SHORTEST_SECRET = 4  # a shorter one would blank out half of every sentence

_NAME = (
    r"(?:[\w.-]{0,40}(?:passw(?:or)?d|passcode|secret|token|authorization|cookie|credential"
    r"|access_?key|api_?key|private_?key|signature)[\w.-]{0,40}|ak|sk|access)"
)
# "password": "…", also with the quotes escaped (JSON inside JSON) and with the value cut off.
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
# Keystone's Fernet and PKI tokens, JSON web tokens, our own API tokens, bearer values: known by
# their looks.
_TOKEN_LOOKS = re.compile(
    r"\b(?:csslb_[0-9a-f]{12}_[\w-]+"
    r"|gAAAA[\w-]{20,}|MII[A-Za-z0-9+/_=-]{60,}|eyJ[\w-]{10,}\.[\w-]*(?:\.[\w-]*)?"
    r"|(?<=Bearer )[^\s\"'<>]+)"
)
# Control characters but tab and newline, lone surrogates, line separators, text direction marks.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)


def printable(text: str) -> str:
    """Replace what must not reach a terminal, a database or a page by a space; keep line ends."""
    return _UNPRINTABLE.sub(" ", text.replace("\r\n", "\n"))


def one_line(text: str, limit: int) -> str:
    """Fold `text` into one printable line of at most `limit` characters."""
    folded = " ".join(printable(text).split())
    return folded if len(folded) <= limit else folded[: limit - 1] + "…"


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Take secrets and control characters out of `text`.

    Args:
        text: anything that came from outside.
        secrets: values known to be secret; each goes wherever it occurs, also in the spelling
            that JSON or a URL gives it.

    Returns:
        The text, with `[redacted]` for every known secret, for the value of every JSON key, header
        or parameter whose name tells a secret, and for what looks like a token.
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
    """A secret text: printed, logged, formatted or in a traceback's locals it is `[redacted]`.

    It cannot be pickled, nor be made JSON, so it cannot become the argument of a task. Two of them
    are compared in a time that does not depend on where they differ.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one place that sends it."""
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
