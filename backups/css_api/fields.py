"""One JSON object, read with checked types; what is wrong is named by its place."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from dashboard.http.redact import one_line

from .answer import fold, normalised
from .times import plausible

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_YES = {"true", "1", "yes", "on"}
_NO = {"false", "0", "no", "off", ""}
_NUMBER = re.compile(r"-?\d{1,20}(?:\.\d{1,9})?")


class ShapeError(ValueError):
    """A document is not what the endpoint promises; the text names the field."""


def is_id(value: str) -> bool:
    """Whether `value` is fit to be an id in a path."""
    return bool(_ID.fullmatch(value)) and value.strip(".") != ""


class Fields:
    """Reads one JSON object with checked types; `where` is its place, for error texts."""

    def __init__(self, data: Mapping[object, object], where: str) -> None:
        self.data = fold(data)
        self.where = where

    @classmethod
    def of(cls, value: object, where: str) -> Fields:
        """Wrap `value`, which must be an object."""
        if not isinstance(value, dict):
            raise ShapeError(f"{where.rstrip('.') or 'the body'} is {_type(value)}, not an object")
        return cls(value, where)

    def get(self, *names: str) -> object:
        """The first value that is not null under any of `names`, however they are written."""
        values = (self.data.get(normalised(name)) for name in names)
        return next((value for value in values if value is not None), None)

    def has(self, name: str) -> bool:
        """Whether the field is there, null or not."""
        return normalised(name) in self.data

    def text(self, *names: str, limit: int = 255) -> str:
        """A text on one line; a number is taken as text, null or absence as ""."""
        value = self.get(*names)
        if value is None:
            return ""
        return self._as_text(value, names[0], limit)

    def texts(self, *names: str, separator: str | None = None) -> tuple[str, ...]:
        """A list of texts; a single text counts as a list (split at `separator`)."""
        value = self.get(*names)
        if value is None:
            return ()
        if isinstance(value, str):
            parts = value.split(separator) if separator else [value]
            return tuple(text for part in parts if (text := one_line(part, 255)))
        if not isinstance(value, list):
            raise self._wrong(names[0], value, "a list of texts")
        items = [item for item in value if item is not None]
        return tuple(self._as_text(item, f"{names[0]}[{n}]", 255) for n, item in enumerate(items))

    def id(self, *names: str) -> str:
        """An id that is fit for a path."""
        value = self.text(*names, limit=200)
        if not is_id(value):
            raise ShapeError(f"{self.where}{names[0]} is {'not an id' if value else 'missing'}")
        return value

    def flag(self, *names: str, default: bool) -> bool:
        """A yes or no: a boolean, 0 or 1, or the word for it."""
        value = self.get(*names)
        if value is None:
            return default
        word = str(value).strip().lower() if isinstance(value, bool | int | str) else ""
        if isinstance(value, bool | int | str) and word in _YES | _NO:
            return word in _YES
        raise self._wrong(names[0], value, "true or false")

    def count(self, *names: str) -> int | None:
        """A number of rows, None where there is none."""
        value = self.get(*names)
        if value is None:
            return None
        if isinstance(value, str) and re.fullmatch(r"\d{1,9}", value.strip()):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**9:
            raise self._wrong(names[0], value, "a number of rows")
        return value

    def time(self, *names: str, lenient: bool = False) -> datetime | None:
        """A time in milliseconds or seconds since 1970 (number or text) or in ISO 8601, as UTC.

        Args:
            names: spellings of the field.
            lenient: True where nothing depends on it: one that cannot be read is None.
        """
        value = self.get(*names)
        if value is None or value in ("", "0", 0):
            return None
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            if lenient:
                return None
            raise self._wrong(names[0], value, "a time")
        moment = _time(value)
        if moment is None and not lenient:
            raise ShapeError(f"{self.where}{names[0]} is not a time that can be read")
        return moment

    def rows(self, *names: str, required: bool = True, any_kind: bool = False) -> Iterator[Fields]:
        """A list of objects; null is an empty one.

        Args:
            names: spellings of the field.
            required: False where it may be missing.
            any_kind: an item that is no object is one without fields, and no error.
        """
        value = self.get(*names)
        if value is None:
            if required and not self.has(names[0]) and self.count("totalSize", "total") != 0:
                raise ShapeError(f"{self.where}{names[0]} is missing")
            value = []
        if not isinstance(value, list):
            raise self._wrong(names[0], value, "a list")
        return (
            Fields.of(
                {} if any_kind and not isinstance(row, dict) else row,
                f"{self.where}{names[0]}[{n}].",
            )
            for n, row in enumerate(value)
        )

    def _as_text(self, value: object, name: str, limit: int) -> str:
        if isinstance(value, str):
            return one_line(value, limit)
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                return one_line(str(value), limit)
            except ValueError:  # an integer of thousands of digits
                raise ShapeError(f"{self.where}{name} is a number without end") from None
        raise self._wrong(name, value, "a text")

    def _wrong(self, name: str, value: object, wanted: str) -> ShapeError:
        return ShapeError(f"{self.where}{name} is {_type(value)}, not {wanted}")


def _time(value: float | str) -> datetime | None:
    return plausible(_read_time(value))


def _read_time(value: float | str) -> datetime | None:
    try:
        if isinstance(value, str):
            text = value.strip()
            if not _NUMBER.fullmatch(text):
                moment = datetime.fromisoformat(text)
                # The cloud writes its times without a zone and does not say which: UTC is assumed.
                return (
                    moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
                )
            value = float(text)
        if not math.isfinite(value) or value <= 0:
            return None
        # 10^11 seconds is the year 5138, 10^11 milliseconds is 1973.
        return datetime.fromtimestamp(value / 1000 if value >= 1e11 else value, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _type(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    names = {str: "a text", list: "a list", dict: "an object"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), "unreadable")
