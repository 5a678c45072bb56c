"""Types of the cloud's API: frozen dataclasses.

Sources: docs/css-api.md names the document for every field, and where documents disagree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class BodyKind(StrEnum):
    """Kind of a response body, regardless of its Content-Type."""

    EMPTY = "empty"
    JSON_OBJECT = "json_object"
    JSON_OTHER = "json_other"
    HTML = "html"
    TEXT = "text"
    BINARY = "binary"
    OVERSIZED = "oversized"
    TRUNCATED = "truncated"


@dataclass(frozen=True, slots=True)
class Answer:
    """One response of the cloud, without secrets.

    Attributes:
        method: HTTP method of the request.
        path: path and query of the request (no scheme, no host).
        status: HTTP status code.
        request_id: the cloud's request id (header or body), "" for none.
        error_code: code in the body such as "CSS.3004" or "APIGW.0301", "" for none.
        message: error text in the body, one line, at most 2,000 characters.
        body_kind: kind of the body.
        excerpt: start of the body, redacted, at most 4,000 characters.
        size: bytes of body received (after decoding), up to the cap.
        duration_ms: from the first byte sent to the last byte read, in milliseconds.
        retry_after: seconds that the cloud asked to wait, None for none.
        date: the response's `Date` (whole seconds, rounded down), None if missing or if a cache
            responded.
    """

    method: str
    path: str
    status: int
    request_id: str = ""
    error_code: str = ""
    message: str = ""
    body_kind: BodyKind = BodyKind.EMPTY
    excerpt: str = ""
    size: int = 0
    duration_ms: int = 0
    retry_after: float | None = None
    date: datetime | None = None

    @property
    def ok(self) -> bool:
        """A 2xx without an error code in the body (the documents list CSS.0011 as a 202)."""
        return 200 <= self.status < 300 and not self.error_code


@dataclass(frozen=True, slots=True)
class Instance:
    """One node of a cluster."""

    id: str
    name: str
    type: str
    status: str


@dataclass(frozen=True, slots=True)
class ClusterInfo:
    """A cluster as `GET /clusters` and `GET /clusters/{id}` describe it.

    `status` is "100" (creating), "200" (available), "300" (unavailable), "303" (failed) or
    another value. `actions` are the running operations, also an open set.
    """

    id: str
    name: str
    status: str
    engine: str = ""
    version: str = ""
    actions: tuple[str, ...] = ()
    instances: tuple[Instance, ...] = ()
    endpoints: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    created: datetime | None = None
    failed_code: str = ""
    failed_message: str = ""


@dataclass(frozen=True, slots=True)
class LogSettingsInfo:
    """`GET …/logs/settings`: `enabled` is False without a configuration or with logSwitch off."""

    enabled: bool
    bucket: str = ""
    base_path: str = ""
    agency: str = ""
    auto_enabled: bool = False
    period: str = ""
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LogStorage:
    """Destination of log backups, sent to turn log backup on or to change it.

    Attributes:
        bucket: OBS bucket, in the cluster's region.
        base_path: folder in it.
        agency: IAM agency that allows CSS to write to the bucket.
    """

    bucket: str
    base_path: str
    agency: str


@dataclass(frozen=True, slots=True)
class LogPolicy:
    """Schedule of the cloud's own daily backup.

    Attributes:
        period: the hour with its zone, such as "00:00 GMT+08:00"; whole hours only.
    """

    period: str


@dataclass(frozen=True, slots=True)
class LogQuery:
    """A search in a node's log.

    Attributes:
        node: name of the node, from the cluster's detail.
        log_type: deprecation, indexingSlow, searchSlow or instance; no effect for Logstash.
        levels: DEBUG, INFO, WARN, ERROR; none for all, TRACE and DEPRECATION included. No effect
            for Logstash.
        limit: maximum number of lines, 1 to 10,000.
        before: only lines older than this, on the cloud's clock, UTC.
        keyword: at most 64 letters, digits, `_ - . [ ]` and spaces.
        old_names: send the names of the parameters that were documented until 2025-12, which do not
            include limit, before and keyword.
    """

    node: str
    log_type: str
    levels: tuple[str, ...] = ()
    limit: int = 100
    before: datetime | None = None
    keyword: str = ""
    old_names: bool = False


@dataclass(frozen=True, slots=True)
class LogLine:
    """One entry of a node's log.

    Attributes:
        date: as the cloud wrote it, in UTC; "" for Logstash.
        level: as the cloud wrote it; "" for Logstash.
        content: the text, of several lines where there is a stack trace.
    """

    date: str
    level: str
    content: str


@dataclass(frozen=True, slots=True)
class LogLines:
    """Entries of a node's log.

    Attributes:
        lines: newest first; those of Logstash in the cloud's order.
        complete: whether there are no more, None if the cloud does not say.
        narrowed_here: the cloud knows neither limit, time nor keyword, so they were applied to what
            it returned.
    """

    lines: tuple[LogLine, ...]
    complete: bool | None
    narrowed_here: bool = False


class RecordStatus(StrEnum):
    """Status of a cloud job; unknown values are UNRECOGNISED."""

    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAIL = "FAIL"
    UNRECOGNISED = "UNRECOGNISED"


class JobType(StrEnum):
    """Who started the cloud's job."""

    MANUAL = "Manual"
    AUTO = "Auto"
    UNRECOGNISED = "Unrecognised"


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One row of `GET …/logs/records`: one log backup job of the cloud.

    Times are aware UTC datetimes on the cloud's clock, None if missing.
    """

    record_id: str
    job_id: str
    status: RecordStatus
    raw_status: str
    job_type: JobType
    created_at: datetime | None
    finished_at: datetime | None = None
    log_path: str = ""
    failed_message: str = ""


@dataclass(frozen=True, slots=True)
class LogRecords:
    """Result of one reading of `GET …/logs/records`.

    Attributes:
        rows: newest first by `created_at`, those without a time last.
        date: `Date` of the first response, rounded down to a second, None without one. Records
            created later are not listed.
    """

    rows: tuple[LogRecord, ...]
    date: datetime | None = None


@dataclass(frozen=True, slots=True)
class ProjectIdentity:
    """The project and endpoint of a clouds.yaml entry."""

    cloud: str
    region: str
    project_id: str
    project_name: str
    endpoint: str = field(repr=False)
