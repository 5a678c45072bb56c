"""Bytes → `Answer`: classify the body and extract the error, in every format the cloud uses.

docs/css-api.md §4 lists the formats. No body makes this module raise.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser

from dashboard.http.redact import one_line, printable, redact
from dashboard.http.transport import RawAnswer

from .types import Answer, BodyKind

_EXCERPT = 4_000  # characters
_MESSAGE = 2_000
_WINDOW = 65_536  # characters passed to redaction, which cannot recognise a truncated token
_REQUEST_ID = 128
_LONGEST_WAIT = 86_400.0  # seconds

_CODE_KEYS = ("errcode", "errorcode", "code")
_MESSAGE_KEYS = (
    "externalmessage", "errormsg", "errmsg", "errormessage", "message", "msg", "detail", "title",
    "errordescription", "error",
)  # fmt: skip
_REQUEST_ID_HEADERS = ("X-Request-Id", "X-Openstack-Request-Id", "Request-Id", "X-Trace-Id")
_CODE = re.compile(r"(?=[^.]*[A-Za-z])[A-Za-z0-9_-]{1,40}(?:\.[A-Za-z0-9_-]{1,40}){0,3}")
_CODE_PREFIX = re.compile(r"\s*([A-Za-z][A-Za-z0-9]{1,15}\.\d{3,8})\s*(?:[:(\s]|$)")
_HTML = re.compile(
    r"\s*(?:<!--.{0,2000}?-->\s*)?<(?:!doctype\s+html|html|head|body|title)\b", re.I | re.S
)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer and its JSON document.

    Attributes:
        answer: what is stored.
        document: the parsed body, None if it is not JSON; read only by `parse`.
    """

    answer: Answer
    document: object = None


def read_answer(raw: RawAnswer, *, method: str, path: str, secrets: tuple[str, ...] = ()) -> Reply:
    """Turn bytes into an answer; never raises.

    Args:
        raw: the response as the transport read it.
        method: HTTP method of the request.
        path: path and query of the request.
        secrets: values to redact.

    Returns:
        The answer and the parsed document.
    """
    kind, text, document = _look_at(raw)
    code, message = "", ""
    ok = 200 <= raw.status < 300
    if isinstance(document, dict):
        code, message = _error_in(document, ok=ok)
    elif kind is BodyKind.HTML:
        message = "" if ok else _html_text(text[:_WINDOW])
    elif kind in (BodyKind.TEXT, BodyKind.TRUNCATED):
        prefix = _CODE_PREFIX.match(text[:100])
        code = prefix[1] if prefix else ""
        message = text[:_WINDOW] if code or not ok else ""
    elif kind is BodyKind.JSON_OTHER:
        message = document if isinstance(document, str) and not ok else ""
    elif kind is BodyKind.OVERSIZED:
        message = f"the answer is larger than {len(raw.body)} bytes"
    excerpt = redact(text[:_WINDOW], secrets)
    if raw.cut_short:
        excerpt = f"{excerpt[: _EXCERPT - 40]}\n[the answer was cut off here]"
    return Reply(
        Answer(
            method=method,
            path=path,
            status=raw.status,
            request_id=_request_id(raw.headers, document),
            error_code=code,
            message=one_line(redact(message[:_WINDOW], secrets), _MESSAGE),
            body_kind=kind,
            excerpt=excerpt[:_EXCERPT],
            size=len(raw.body),
            duration_ms=raw.duration_ms,
            retry_after=retry_after(raw.headers),
            date=answered_on(raw.headers),
        ),
        document,
    )


def normalised(key: str) -> str:
    """A key for lookup: `errCode`, `err_code` and `ErrCode` are equal."""
    return key.replace("_", "").replace("-", "").lower()


def fold(data: Mapping[object, object]) -> dict[str, object]:
    """The object with normalised keys; of equal keys the first with a value wins."""
    known: dict[str, object] = {}
    for key, value in data.items():
        if isinstance(key, str) and known.get(name := normalised(key)) is None:
            known[name] = value
    return known


def _look_at(raw: RawAnswer) -> tuple[BodyKind, str, object]:
    """Kind, text and document of the body."""
    body = raw.body
    text, clean = _decode(body)
    if raw.oversized:
        return BodyKind.OVERSIZED, text[:_WINDOW], None
    if not text.strip():
        return (BodyKind.TRUNCATED if raw.cut_short else BodyKind.EMPTY), "", None
    try:
        document: object = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):  # RecursionError: brackets nested thousands deep
        if raw.cut_short:
            return BodyKind.TRUNCATED, text, None
    else:
        if raw.cut_short:
            return BodyKind.TRUNCATED, text, document
        is_object = isinstance(document, dict)
        return (BodyKind.JSON_OBJECT if is_object else BodyKind.JSON_OTHER), text, document
    if "\x00" in text or (not clean and text.count("\ufffd") * 10 > len(text)):
        return BodyKind.BINARY, f"({len(body)} bytes that are not text)", None
    return (BodyKind.HTML if _HTML.match(text) else BodyKind.TEXT), text, None


def _decode(body: bytes) -> tuple[str, bool]:
    """The body as text, and whether it is valid UTF-8 (or has a UTF-16 BOM)."""
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return body.decode("utf-16", "replace"), True
    try:
        return body.decode("utf-8-sig"), True
    except UnicodeDecodeError:
        return body.decode("utf-8-sig", "replace"), False


def _no_number(name: str) -> None:
    """NaN and Infinity are not JSON: read as null."""


def _error_in(document: object, *, ok: bool) -> tuple[str, str]:
    """The error code and message of a JSON object.

    On a 2xx only unambiguous keys count, and only where errors are placed: a failed cluster has
    `failedReason.errorCode` in a successful answer.
    """
    code = message = ""
    for level, data in enumerate(_levels(document, ok=ok)):
        plain = level == 0 and ok
        for key in _CODE_KEYS[:2] if plain else _CODE_KEYS:
            value = data.get(key)
            # Keystone's code is the HTTP status as a number: that is not an error code.
            if not code and isinstance(value, str) and _CODE.fullmatch(value.strip()):
                code = value.strip()
        for key in _MESSAGE_KEYS[:4] if plain else _MESSAGE_KEYS:
            value = data.get(key)
            if not message and isinstance(value, str):
                message = value
    if not code:
        prefix = _CODE_PREFIX.match(message[:100])
        code = prefix[1] if prefix else ""
    return code, message


def _levels(document: object, *, ok: bool) -> Iterator[dict[str, object]]:
    """The object, then nested objects that may contain an error, up to two levels deep, folded."""
    waiting: list[tuple[object, int]] = [(document, 0)]
    seen = 0
    while waiting and seen < 50:
        item, depth = waiting.pop(0)
        if isinstance(item, list):
            waiting += [(inner, depth) for inner in item[:5] if isinstance(inner, dict)]
        if not isinstance(item, dict):
            continue
        seen += 1
        folded = fold(item)
        yield folded
        if depth < 2:
            waiting += [
                (value, depth + 1)
                for key, value in folded.items()
                if isinstance(value, dict | list) and (not ok or key in {"error", "errors"})
            ]


class _Words(HTMLParser):
    """Collects a page's text, without scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self._skipping = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in {"script", "style"}:
            self._skipping = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self._skipping:
            self._skipping = ""

    def handle_data(self, data: str) -> None:
        if not self._skipping:
            self.words.append(data)


def _html_text(page: str) -> str:
    words = _Words()
    try:
        words.feed(page)
    except (AssertionError, ValueError, RecursionError):  # the parser gives up on some fragments
        return ""
    return " ".join(words.words)


def _request_id(headers: Mapping[str, str], document: object) -> str:
    value: object = next((headers[name] for name in _REQUEST_ID_HEADERS if headers.get(name)), "")
    if not value:
        for data in _levels(document, ok=False):
            value = data.get("requestid")
            if isinstance(value, str) and value:
                break
    if not isinstance(value, str):
        return ""
    return "".join(printable(value).split())[:_REQUEST_ID]


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait according to an answer's `Retry-After`, None if missing or not valid.

    Args:
        headers: of the answer, case-insensitive. A date is relative to the answer's own `Date`,
            because the cloud's clock may differ from ours.
    """
    value = (headers.get("Retry-After") or "").strip()
    if not value:
        return None
    try:
        # a repeated header is one value with commas: take the longest wait
        seconds = max(float(part) for part in value.split(","))
    except ValueError:
        until = _date(value)
        if until is None:
            return None
        now = _date((headers.get("Date") or "").strip()) or datetime.now(UTC)
        seconds = (until - now).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_WAIT) if math.isfinite(seconds) else None


def answered_on(headers: Mapping[str, str]) -> datetime | None:
    """The `Date` of an answer, None if missing, not valid, or from a cache.

    Args:
        headers: of the answer, case-insensitive.
    """
    if (headers.get("Age") or "0").strip() not in {"", "0"}:
        return None
    return plausible(_date((headers.get("Date") or "").strip()))


def plausible(moment: datetime | None) -> datetime | None:
    """The time, or None for one at either end of the calendar.

    Such a time is an error of the cloud. Arithmetic on it, and converting it to some time zones,
    would overflow.
    """
    return moment if moment is not None and 1970 <= moment.year < 9999 else None


def _date(value: str) -> datetime | None:
    """Parse an HTTP date; None if it is not valid."""
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    try:
        if not 2000 <= moment.year < 2200:  # times computed from it must be valid as well
            return None
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:  # year 1 or 9999, with an offset
        return None
