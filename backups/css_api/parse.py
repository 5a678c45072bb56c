"""JSON documents → types.

Every spelling in docs/css-api.md is accepted and unknown fields are ignored. A wrong field raises
`ShapeError`, which names the field; the client adds the answer.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Generic, TypeVar

from dashboard.http.redact import one_line, printable

from .answer import fold, normalised, plausible
from .types import (
    ClusterInfo,
    Instance,
    JobType,
    LogLine,
    LogLines,
    LogRecord,
    LogSettingsInfo,
    RecordStatus,
)

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_YES = {"true", "1", "yes", "on"}
_NO = {"false", "0", "no", "off", ""}
_NUMBER = re.compile(r"-?\d{1,20}(?:\.\d{1,9})?")


class ShapeError(ValueError):
    """A document does not have the documented shape; the text names the field."""


def is_id(value: str) -> bool:
    """Whether `value` is safe as an id in a path."""
    return bool(_ID.fullmatch(value)) and value.strip(".") != ""


class Fields:
    """Typed access to one JSON object; `where` is its path, for error messages."""

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
        """The first non-null value under any of `names`, in any spelling."""
        values = (self.data.get(normalised(name)) for name in names)
        return next((value for value in values if value is not None), None)

    def has(self, name: str) -> bool:
        """Whether the field exists, null or not."""
        return normalised(name) in self.data

    def text(self, *names: str, limit: int = 255) -> str:
        """A text on one line; numbers are converted, null and missing are ""."""
        value = self.get(*names)
        if value is None:
            return ""
        return self._as_text(value, names[0], limit)

    def lines(self, *names: str, limit: int) -> str:
        """A text that keeps its lines, without blank space at its ends; null and missing are ""."""
        value = self.get(*names)
        if isinstance(value, str):
            return printable(value[:limit]).strip("\n ")
        return self.text(*names, limit=limit)

    def texts(self, *names: str, separator: str | None = None) -> tuple[str, ...]:
        """A list of texts; a single text is split at `separator`."""
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
        """An id that is safe in a path."""
        value = self.text(*names, limit=200)
        if not is_id(value):
            raise ShapeError(f"{self.where}{names[0]} is {'not an id' if value else 'missing'}")
        return value

    def flag(self, *names: str, default: bool) -> bool:
        """A boolean, also as 0 or 1 or as a word."""
        value = self.get(*names)
        if value is None:
            return default
        word = str(value).strip().lower() if isinstance(value, bool | int | str) else ""
        if isinstance(value, bool | int | str) and word in _YES | _NO:
            return word in _YES
        raise self._wrong(names[0], value, "true or false")

    def count(self, *names: str) -> int | None:
        """A number of rows, None if missing."""
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
            lenient: return None for an invalid time instead of raising.
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
            raise ShapeError(f"{self.where}{names[0]} is not a valid time")
        return moment

    def rows(self, *names: str, required: bool = True, any_kind: bool = False) -> Iterator[Fields]:
        """A list of objects; null is an empty one.

        Args:
            names: spellings of the field.
            required: False if it may be missing.
            any_kind: treat an item that is not an object as an empty object.
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
                raise ShapeError(f"{self.where}{name} is not a finite number") from None
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
                # The cloud omits the time zone and does not document it: assume UTC.
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


T = TypeVar("T")

LONGEST_LINE = 8000  # characters of one log entry
_LONGEST_LOG = 4_000_000  # characters of the log of a Logstash node
_MOST_LINES = 10_000


@dataclass(frozen=True, slots=True)
class ListPage(Generic[T]):
    """Rows of one answer; `total` is the number of all rows, None if the cloud omits it."""

    rows: tuple[T, ...]
    total: int | None


def clusters(document: object) -> ListPage[ClusterInfo]:
    """`GET /clusters`. Raises ShapeError.

    A row with a valid id counts as a cluster even if other fields are wrong: it is listed with an
    unknown status, so that it does not look as if it were gone.
    """
    fields = Fields.of(document, "")
    rows = fields.rows("clusters")
    return ListPage(tuple(_listed(row) for row in rows), fields.count("totalSize", "total"))


def cluster(document: object) -> ClusterInfo:
    """`GET /clusters/{id}`, with or without the wrapper `cluster`. Raises ShapeError."""
    fields = Fields.of(document, "")
    wrapped = fields.get("cluster")
    return _cluster(Fields.of(wrapped, "cluster.") if isinstance(wrapped, dict) else fields)


def log_settings(document: object) -> LogSettingsInfo:
    """`GET …/logs/settings`; without a configuration log backup is off. Raises ShapeError."""
    fields = Fields.of(document, "")
    if not fields.has("logConfiguration"):
        if fields.has("realTimeLogCollectRecord"):
            return LogSettingsInfo(enabled=False)
        if not fields.has("logSwitch"):
            raise ShapeError("logConfiguration is missing")
        settings = fields
    else:
        found = fields.get("logConfiguration")
        if found is None:
            return LogSettingsInfo(enabled=False)
        settings = Fields.of(found, "logConfiguration.")
    return LogSettingsInfo(
        enabled=settings.flag("logSwitch", default=True),
        bucket=settings.text("obsBucket", "logBucket", "bucket"),
        base_path=settings.text("basePath", "logBasePath", limit=1024),
        agency=settings.text("agency"),
        auto_enabled=settings.flag("autoEnable", default=False),
        period=settings.text("period"),
        updated_at=settings.time("updateAt", "updatedAt", lenient=True),
    )


def log_records(document: object) -> ListPage[LogRecord]:
    """`GET …/logs/records`. Raises ShapeError.

    An unreadable row becomes a record with unknown fields: it proves nothing, but shows that the
    list has another record, and does not prevent reading the others.
    """
    fields = Fields.of(document, "")
    rows = fields.rows("clusterLogRecord", "clusterLogRecords", any_kind=True)
    seen: Counter[str] = Counter()
    return ListPage(
        tuple(_listed_record(row, seen) for row in rows), fields.count("totalSize", "total")
    )


def log_lines(document: object) -> LogLines:
    """`POST …/logs/search`. Raises ShapeError.

    Logstash nodes have their log as one text instead of a list of entries.
    """
    fields = Fields.of(document, "")
    if fields.has("instanceLog") and not fields.get("logList"):
        lines = fields.lines("instanceLog", limit=_LONGEST_LOG).split("\n")
        kept = [line[:LONGEST_LINE] for line in lines if line.strip()]
        return LogLines(tuple(LogLine("", "", line) for line in kept[:_MOST_LINES]), None)
    return LogLines(
        tuple(
            LogLine(
                date=row.text("date", limit=40),
                level=row.text("level", limit=20),
                content=row.lines("content", limit=LONGEST_LINE),
            )
            for row in fields.rows("logList")
        ),
        fields.flag("completed", default=False) if fields.has("completed") else None,
    )


def _cluster(fields: Fields) -> ClusterInfo:
    store = fields.get("datastore")
    engine = Fields.of(store, f"{fields.where}datastore.") if isinstance(store, dict) else None
    reason = fields.get("failedReason", "failedReasons")
    if isinstance(reason, list):
        reason = reason[0] if reason else None
    failed = Fields.of(reason, f"{fields.where}failedReason.") if isinstance(reason, dict) else None
    return ClusterInfo(
        id=fields.id("id", "clusterId"),
        name=fields.text("name", "clusterName"),
        status=fields.text("status"),
        engine=engine.text("type") if engine else fields.text("datastore", "engine"),
        version=engine.text("version") if engine else "",
        actions=fields.texts("actions"),
        instances=tuple(
            Instance(
                id=node.text("id"),
                name=node.text("name"),
                type=node.text("type"),
                status=node.text("status"),
            )
            for node in fields.rows("instances", required=False)
        ),
        endpoints=_or_none(lambda: fields.texts("endpoint", "endpoints", separator=",")),
        tags=_or_none(lambda: _tags(fields)),
        created=fields.time("created", "createdAt", "createAt", lenient=True),
        failed_code=failed.text("errorCode", "errCode") if failed else "",
        failed_message=(
            failed.text("errorMsg", "errorMessage", "message", limit=2000)
            if failed
            else fields.text("failedReason", "failedReasons", limit=2000)
            if isinstance(reason, str)
            else ""
        ),
    )


def _listed(row: Fields) -> ClusterInfo:
    """A row of the list, without fields that are not valid."""
    try:
        return _cluster(row)
    except ShapeError:
        name = row.get("name")
        return ClusterInfo(
            id=row.id("id"), name=row.text("name") if isinstance(name, str) else "", status=""
        )


Item = TypeVar("Item")


def _or_none(read: Callable[[], tuple[Item, ...]]) -> tuple[Item, ...]:
    """Fields that are only displayed; empty if they are not valid."""
    try:
        return read()
    except ShapeError:
        return ()


def _tags(fields: Fields) -> tuple[tuple[str, str], ...]:
    value = fields.get("tags")
    if isinstance(value, dict):
        return tuple(
            (tag, Fields.of({"value": value[tag]}, "tags.").text("value")) for tag in value
        )
    return tuple(
        (tag.text("key"), tag.text("value")) for tag in fields.rows("tags", required=False)
    )


def _listed_record(row: Fields, seen: Counter[str]) -> LogRecord:
    try:
        return _record(row)
    except ShapeError:
        # A row keeps its key across readings, wherever it is listed; identical rows get different
        # keys.
        digest = sha256(f"{row.data!r}".encode("utf-8", "replace")).hexdigest()[:16]
        seen[digest] += 1
        return LogRecord(
            record_id=f"unreadable-{digest}-{seen[digest]}",
            job_id="",
            status=RecordStatus.UNRECOGNISED,
            raw_status="",
            job_type=JobType.UNRECOGNISED,
            created_at=None,
        )


def _record(fields: Fields) -> LogRecord:
    job_id = fields.text("jobId")
    record_id = fields.text("id", "recordId") or job_id
    if not record_id:
        raise ShapeError(f"{fields.where}id is missing")
    raw_status = fields.text("status")
    job_type = fields.text("jobTypes", "jobType")
    return LogRecord(
        record_id=record_id,
        job_id=job_id,
        status=_member(RecordStatus, raw_status, RecordStatus.UNRECOGNISED),
        raw_status=raw_status,
        job_type=_member(JobType, job_type, JobType.UNRECOGNISED),
        # an invalid time counts as none: the id still identifies the job
        created_at=fields.time("createAt", "createdAt", "created", lenient=True),
        finished_at=fields.time("finishedAt", "finishAt", lenient=True),
        log_path=fields.text("logPath", limit=1024),
        failed_message=fields.text("failedMsg", "failedMessage", limit=2000),
    )


Word = TypeVar("Word", RecordStatus, JobType)


def _member(words: type[Word], text: str, otherwise: Word) -> Word:
    return next((word for word in words if word.lower() == text.lower()), otherwise)
