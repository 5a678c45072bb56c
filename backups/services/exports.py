"""Taking the history away: streamed, in constant memory, with who took what on record."""

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

from .export_lines import CSV, JSON_LINES, Column, Kind, Lines, Shape, head, write

BATCH = 1000  # runs in memory at first; then as many as come to the size below
_BATCH_BYTES = 4_000_000
_MOST = 20_000  # runs
_REPORT_EVERY = 1.0  # seconds between two updates of the progress
# An export that has not moved for so long has lost its process.
LOST_AFTER = timedelta(minutes=2)

# The keys are those of serialize.run_line; a new one goes to the end.
COLUMNS: dict[str, Column] = {
    "run_id": Column("id", Kind.NUMBER),
    "requested_at": Column("requested_at", Kind.TIME),
    "cluster_id": Column("cluster_cloud_id"),
    "cluster": Column("cluster_name"),
    "cloud": Column("cloud"),
    "region": Column("region"),
    "project_id": Column("project_id_in_cloud"),
    "project": Column("project_name"),
    "requested_by": Column("requested_by_name"),
    "trigger": Column("trigger", Kind.WORD),
    "reason": Column("reason"),
    "source_ip": Column("source_ip", Kind.ADDRESS),
    "state": Column("state", Kind.WORD),
    "outcome": Column("outcome", Kind.WORD),
    "http_status": Column("http_status", Kind.NUMBER),
    "error_code": Column("error_code"),
    "message": Column("message"),
    "request_id": Column("request_id"),
    "attempts": Column("attempt", Kind.NUMBER),
    "sent_at": Column("sent_at", Kind.TIME),
    "answered_at": Column("answered_at", Kind.TIME),
    "finished_at": Column("finished_at", Kind.TIME),
    "job_id": Column("job_id"),
    "record_id": Column("record_id"),
    "job_type": Column("job_type"),
    "job_created_at": Column("job_created_at", Kind.TIME),
    "job_finished_at": Column("job_finished_at", Kind.TIME),
    "log_path": Column("log_path"),
    "failed_message": Column("failed_message"),
    "conflict_holder": Column("conflict_holder"),
    "conflict_run_id": Column("conflict_run_id", Kind.NUMBER),
    "evidence": Column("evidence", Kind.WORD),
    "corrected_from": Column("corrected_from", Kind.WORD),
}


def shape_of(kind: ExportAs, zone: str = "") -> Shape:
    """How the lines of an export are written.

    Args:
        zone: name of the zone of a spreadsheet's times; UTC without one.
    """
    match kind:
        case ExportAs.EXCEL:
            return Shape(zone=zone or "UTC")
        case ExportAs.JSONL:
            return JSON_LINES
        case _:
            return CSV


def knows_zone(zone: str) -> bool:
    """Whether times can be written in a zone: this machine and the database know it."""
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
    found: HistoryFilter, kind: ExportAs, shape: Shape, *, query: str, actor: Actor
) -> Export:
    """Put an export on record, with an event of the audit trail, before its first line.

    Args:
        found: a valid filter, of what its viewer may export.
        kind: what it is made as.
        shape: how its lines are written.
        query: the filter, as in a URL, with an offset at each time.
        actor: who exports.
    """
    with transaction.atomic():
        export = Export.objects.create(
            owner=found.viewer,
            owner_name=found.viewer.get_username(),
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
                # what a window that counts back from now came to
                "since": found.begins_at,
                "until": min(until, found.now),
            },
        )
    return export


def stream(export: Export, found: HistoryFilter, shape: Shape | None = None) -> Iterator[bytes]:
    """Write the runs that match, newest first.

    Every batch is a query of its own that starts where the last one ended: no transaction and no
    cursor of the database is held while a slow reader takes its time. Runs that are requested
    meanwhile are not in it.

    Args:
        export: its row; how far it has come is written there about once a second.
        found: a valid filter.
        shape: how lines are written; as the export's format has it.

    Yields:
        Whole lines, UTF-8.
    """
    shape = shape or shape_of(ExportAs(export.format))
    rows, reported = 0, time.monotonic()
    state = Export.State.BROKEN_OFF
    try:
        yield head(COLUMNS, shape)
        for batch in _batches(found.branches(), export.requested_before, shape):
            rows += batch.count  # first: who broke off may have them all the same
            yield batch.content
            if time.monotonic() - reported >= _REPORT_EVERY:
                reported = time.monotonic()
                _update(export, rows=rows)
        state = Export.State.COMPLETE
    finally:  # also where the reader has gone
        _update(export, rows=rows, state=state, finished_at=timezone.now())


def _update(export: Export, **changes: Any) -> None:
    Export.objects.filter(pk=export.pk).update(changed_at=timezone.now(), **changes)


def _batches(branches: list[Runs], before: datetime, shape: Shape) -> Iterator[Lines]:
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
