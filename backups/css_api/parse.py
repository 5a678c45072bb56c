"""Documents → types. Every spelling that docs/css-api.md names is accepted; what is unknown is
left alone; what is wrong is named: `ShapeError` carries the field, the client adds the answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Generic, TypeVar

from .fields import Fields, ShapeError
from .types import (
    ClusterInfo,
    Instance,
    JobType,
    LogLine,
    LogLines,
    LogRecord,
    LogSettings,
    RecordStatus,
)

T = TypeVar("T")

LONGEST_LINE = 8000  # characters of one log line


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Rows of one answer; `total` is what the cloud says there is in all, None when it does not."""

    rows: tuple[T, ...]
    total: int | None


def clusters(document: object) -> Page[ClusterInfo]:
    """`GET /clusters`. Raises ShapeError.

    A cluster with an id is there, whatever else is wrong with its row: such a one is listed with
    an unknown status, so that neither it nor the others look as if they had gone.
    """
    fields = Fields.of(document, "")
    rows = fields.rows("clusters")
    return Page(tuple(_listed(row) for row in rows), fields.count("totalSize", "total"))


def cluster(document: object) -> ClusterInfo:
    """`GET /clusters/{id}`, whether or not it is wrapped in `cluster`. Raises ShapeError."""
    fields = Fields.of(document, "")
    wrapped = fields.get("cluster")
    return _cluster(Fields.of(wrapped, "cluster.") if isinstance(wrapped, dict) else fields)


def log_settings(document: object) -> LogSettings:
    """`GET …/logs/settings`: no configuration, or logSwitch off, is off. Raises ShapeError."""
    fields = Fields.of(document, "")
    if not fields.has("logConfiguration"):
        if fields.has("realTimeLogCollectRecord"):
            return LogSettings(enabled=False)
        if not fields.has("logSwitch"):
            raise ShapeError("logConfiguration is missing")
        settings = fields
    else:
        found = fields.get("logConfiguration")
        if found is None:
            return LogSettings(enabled=False)
        settings = Fields.of(found, "logConfiguration.")
    return LogSettings(
        enabled=settings.flag("logSwitch", default=True),
        bucket=settings.text("obsBucket", "logBucket", "bucket"),
        base_path=settings.text("basePath", "logBasePath", limit=1024),
        agency=settings.text("agency"),
        auto_enabled=settings.flag("autoEnable", default=False),
        period=settings.text("period"),
        updated_at=settings.time("updateAt", "updatedAt", lenient=True),
    )


def log_records(document: object) -> Page[LogRecord]:
    """`GET …/logs/records`. Raises ShapeError.

    A row that cannot be read is a record of which nothing is known: it proves nothing, keeps the
    others from being taken for all that there is, and does not keep them from being read.
    """
    fields = Fields.of(document, "")
    rows = fields.rows("clusterLogRecord", "clusterLogRecords", any_kind=True)
    seen: Counter[str] = Counter()
    return Page(
        tuple(_listed_record(row, seen) for row in rows), fields.count("totalSize", "total")
    )


def log_lines(document: object) -> LogLines:
    """`POST …/logs/search`. Raises ShapeError."""
    fields = Fields.of(document, "")
    return LogLines(
        tuple(
            LogLine(
                date=row.text("date", limit=40),
                level=row.text("level", limit=20),
                content=row.text("content", limit=LONGEST_LINE),
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
    """A row of the list; what cannot be read of it is left out."""
    try:
        return _cluster(row)
    except ShapeError:
        name = row.get("name")
        return ClusterInfo(
            id=row.id("id"), name=row.text("name") if isinstance(name, str) else "", status=""
        )


Item = TypeVar("Item")


def _or_none(read: Callable[[], tuple[Item, ...]]) -> tuple[Item, ...]:
    """What is only shown, and no reason to know nothing of a cluster where it cannot be read."""
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
        # The same row has the same key when it is read again, wherever it then stands; of rows that
        # are alike each has its own.
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
        # a time that cannot be read is as good as none: the job is known by its id all the same
        created_at=fields.time("createAt", "createdAt", "created", lenient=True),
        finished_at=fields.time("finishedAt", "finishAt", lenient=True),
        log_path=fields.text("logPath", limit=1024),
        failed_message=fields.text("failedMsg", "failedMessage", limit=2000),
    )


Word = TypeVar("Word", RecordStatus, JobType)


def _member(words: type[Word], text: str, otherwise: Word) -> Word:
    return next((word for word in words if word.lower() == text.lower()), otherwise)
