"""Exports of the history: streamed in constant memory, and recorded in the audit trail."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from backups.lists.history import RUN_KEYSET, HistoryFilter, Runs
from backups.models import BackupRun, Export, ExportAs
from dashboard.audit.models import Action
from dashboard.audit.trail import Actor, record
from dashboard.db.keyset import PageQuery
from dashboard.web.moments import zone_names

from .export_lines import CSV, JSON_LINES, CellType, Column, LineFormat, Lines, head, write

BATCH = 1000  # runs in the first batch; later batches have about _BATCH_BYTES
_BATCH_BYTES = 4_000_000
_MOST = 20_000  # runs
_REPORT_EVERY = 1.0  # seconds between two updates of the progress
# Without progress for this long the process of an export is dead.
LOST_AFTER = timedelta(minutes=2)

# Keys as in serialize.run_line, and the files in the bucket; add new ones at the end.
COLUMNS: dict[str, Column] = {
    "run_id": Column("id", CellType.NUMBER),
    "requested_at": Column("requested_at", CellType.TIME),
    "cluster_id": Column("cluster_cloud_id"),
    "cluster": Column("cluster_name"),
    "cloud": Column("cloud"),
    "region": Column("region"),
    "project_id": Column("project_id_in_cloud"),
    "project": Column("project_name"),
    "requested_by": Column("requested_by_name"),
    "trigger": Column("trigger", CellType.WORD),
    "reason": Column("reason"),
    "source_ip": Column("source_ip", CellType.ADDRESS),
    "state": Column("state", CellType.WORD),
    "outcome": Column("outcome", CellType.WORD),
    "http_status": Column("http_status", CellType.NUMBER),
    "error_code": Column("error_code"),
    "message": Column("message"),
    "request_id": Column("request_id"),
    "attempts": Column("attempt", CellType.NUMBER),
    "sent_at": Column("sent_at", CellType.TIME),
    "answered_at": Column("answered_at", CellType.TIME),
    "finished_at": Column("finished_at", CellType.TIME),
    "job_id": Column("job_id"),
    "record_id": Column("record_id"),
    "job_type": Column("job_type"),
    "job_created_at": Column("job_created_at", CellType.TIME),
    "job_finished_at": Column("job_finished_at", CellType.TIME),
    "log_path": Column("log_path"),
    "failed_message": Column("failed_message"),
    "conflict_holder": Column("conflict_holder"),
    "conflict_run_id": Column("conflict_run_id", CellType.NUMBER),
    "evidence": Column("evidence", CellType.WORD),
    "corrected_from": Column("corrected_from", CellType.WORD),
    "files": Column("file_check__result", CellType.WORD),
    "files_seen": Column("file_check__files", CellType.NUMBER),
    "files_bytes": Column("file_check__size", CellType.NUMBER),
}


def line_format(kind: ExportAs, zone: str = "") -> LineFormat:
    """The line format of an export.

    Args:
        kind: the export's format.
        zone: time zone of the times in a spreadsheet; "" for UTC.
    """
    match kind:
        case ExportAs.EXCEL:
            return LineFormat(zone=zone or "UTC")
        case ExportAs.JSONL:
            return JSON_LINES
        case _:
            return CSV


def knows_zone(zone: str) -> bool:
    """Whether this machine and the database know a time zone."""
    if zone not in zone_names():
        return False
    if connection.vendor == "postgresql":
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT timezone(%s, now())", [zone])
        except DatabaseError:
            return False
    return True


def begin(
    found: HistoryFilter, kind: ExportAs, shape: LineFormat, *, query: str, actor: Actor
) -> Export:
    """Store an export with its audit event, before its first line is sent.

    Args:
        found: a valid filter for what the user may export.
        kind: the export's format.
        shape: the line format.
        query: the filter as a URL query, with an offset in each time.
        actor: for the audit trail.
    """
    with transaction.atomic():
        export = Export.objects.create(
            owner=found.viewer,
            owner_name=found.viewer.get_username(),
            token=actor.token,
            format=kind.suffix,
            query=query,
            requested_before=found.now,
        )
        until = found.form.cleaned_data.get("until") or found.now
        record(
            Action.EXPORT_MADE,
            actor=actor,
            target=export,
            details={
                "format": kind.value,
                **({"zone": shape.zone} if shape.zone else {}),
                "filter": query,
                # the bounds of a relative time window
                "since": found.begins_at,
                "until": min(until, found.now),
            },
        )
    return export


def stream(
    export: Export, found: HistoryFilter, shape: LineFormat | None = None
) -> Iterator[bytes]:
    """Write the matching runs, newest first.

    Each batch is a separate query that starts at the end of the previous one, so that a slow reader
    holds no transaction and no database cursor. Runs requested after the export are not included.

    Args:
        export: its row; the progress is stored there about once a second.
        found: a valid filter.
        shape: the line format; None for that of the export.

    Yields:
        Whole lines, UTF-8.
    """
    shape = shape or line_format(ExportAs(export.format))
    rows, reported = 0, time.monotonic()
    state = Export.State.BROKEN_OFF
    try:
        yield head(COLUMNS, shape)
        for batch in _batches(found.branches(), export.requested_before, shape):
            rows += (
                batch.count
            )  # before the yield: a reader that disconnects may have received them
            yield batch.content
            if time.monotonic() - reported >= _REPORT_EVERY:
                reported = time.monotonic()
                _update(export, rows=rows)
        state = Export.State.COMPLETE
    finally:  # also when the reader disconnects
        _update(export, rows=rows, state=state, finished_at=timezone.now())


def _update(export: Export, **changes: Any) -> None:
    Export.objects.filter(pk=export.pk).update(changed_at=timezone.now(), **changes)


def _batches(branches: list[Runs], before: datetime, shape: LineFormat) -> Iterator[Lines]:
    branches = [branch.filter(requested_at__lt=before) for branch in branches]
    page, size = PageQuery(), BATCH
    while True:
        if len(branches) == 1:
            batch = write(RUN_KEYSET.select(branches[0], page)[:size], COLUMNS, shape)
            end = batch.last
        else:
            cursors = RUN_KEYSET.cursors(branches, page, size)
            runs = BackupRun.objects.filter(pk__in=[cursor.pk for cursor in cursors])
            found = RUN_KEYSET.select(runs, PageQuery())
            batch = write(found, COLUMNS, shape) if cursors else Lines()
            end = cursors[-1] if cursors else None
        if end is None:
            return
        yield batch
        page = PageQuery(older=end)
        size = min(_MOST, max(1, batch.count * _BATCH_BYTES // max(1, len(batch.content))))
