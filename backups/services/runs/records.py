"""Columns and notes of a run that come from its job's record."""

from __future__ import annotations

from typing import Any

from backups.choices import Evidence
from backups.css_api.types import LogRecord

from .posts import stored_key


def job_facts(record: LogRecord) -> dict[str, Any]:
    """The columns of a run that describe the cloud's job."""
    return {
        "job_id": stored_key(record),
        "record_id": record.record_id[:64],
        "job_type": record.job_type.value,
        "job_created_at": record.created_at,
        "job_finished_at": record.finished_at,
        "log_path": record.log_path[:1024],
        "failed_message": record.failed_message,
    }


def described(record: LogRecord, evidence: Evidence) -> str:
    """Describe a record for a sentence of the timeline."""
    grade = {
        Evidence.PROVEN: "proven to be this request's",
        Evidence.INFERRED: "the only one that fits this request",
    }
    return f"job {stored_key(record)}, {grade[evidence]}"
