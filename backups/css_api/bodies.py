"""What is sent, from typed values to JSON; docs/css-api.md sections 1a and 1d have the sources."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from .types import LogPolicy, LogQuery, LogStorage

Body = LogStorage | LogPolicy | LogQuery


def as_json(body: Body) -> bytes:
    """The body of a request as it goes over the wire."""
    if isinstance(body, LogStorage):
        fields = _storage(body)
    elif isinstance(body, LogPolicy):
        fields = {"period": body.period}
    else:
        fields = _query(body)
    return json.dumps(fields).encode()


def _storage(storage: LogStorage) -> dict[str, object]:
    # The documents spell two of these names in two other ways; this is what is known to work.
    # No auto_enable: the policy has calls of its own, in which it cannot be lost by omission.
    return {
        "agency": storage.agency,
        "logBasePath": storage.base_path,
        "logBucket": storage.bucket,
    }


def _query(query: LogQuery) -> dict[str, object]:
    fields: dict[str, object] = {
        "instance_name": query.node,
        "log_type": query.log_type,
        "level": "|".join(query.levels) or "ALL",
        "limit": query.limit,
    }
    if query.before is not None:
        fields["time_index"] = _time_index(query.before)
    if query.keyword:
        fields["keyword"] = query.keyword
    return fields


def _time_index(moment: datetime) -> str:
    utc = moment.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S},{utc.microsecond // 1000:03d}"
