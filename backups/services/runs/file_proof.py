"""Hold the files that were seen in the bucket against the audit trail: part of its verification.

dashboard.audit.verification calls it by way of the setting AUDIT_RECORD_CHECKS.
"""

from __future__ import annotations

from collections.abc import Iterator

from backups.models import BackupRun, FileCheck
from dashboard.audit.models import Action, AuditEvent
from dashboard.audit.trail import beginning
from dashboard.audit.verification import RecordsReport

from .files import DIGESTED, digest_of

CHUNK = 200
NAMED = 20  # problems that are described; the others are counted


def check(after: int | None) -> RecordsReport:
    """Compare concluded checks with the digests in their events.

    Args:
        after: sequence of the last verified event: only later ones are compared. None: all.
    """
    count, problems = 0, []
    for number, found in _compared(max(after or 0, beginning().sequence)):
        count += number
        problems += found
    # the runs themselves are counted by seal_check
    return RecordsReport(0, problems[:NAMED], max(len(problems) - NAMED, 0), 0)


def _compared(after: int) -> Iterator[tuple[int, list[str]]]:
    events = AuditEvent.objects.filter(action=Action.RUN_FILES_CHECKED).order_by("sequence")
    while chunk := list(events.filter(sequence__gt=after)[:CHUNK]):
        after = chunk[-1].sequence
        by_event = {event.sequence: event for event in chunk}
        rows = FileCheck.objects.filter(event__in=by_event).prefetch_related("run__seen_files")
        checks = {row.event: row for row in rows}
        runs = {int(event.target_id) for event in chunk}
        kept = set(BackupRun.objects.filter(pk__in=runs).values_list("pk", flat=True))
        problems = []
        for sequence, event in by_event.items():
            row, pk = checks.get(sequence), int(event.target_id)
            if row is None:
                if pk in kept:
                    problems.append(f"run {pk}: the files of event {sequence} are missing")
                continue
            columns = {name: getattr(row, name) for name in DIGESTED}
            digest = digest_of(columns, row.run.seen_files.all())
            if row.run_id != pk or digest != (event.details or {}).get("digest"):
                problems.append(f"run {pk}: its files differ from event {sequence}")
        yield len(chunk), problems
