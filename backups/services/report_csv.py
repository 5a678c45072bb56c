"""The report as CSV and JSON: its figures, then a table of clusters, of causes and of actions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from backups.choices import Protection
from dashboard.accounts.models import User
from dashboard.audit.models import AuditEvent
from dashboard.version import VERSION

from .export_lines import spreadsheet
from .report import CauseCount, ClusterReport, Report, RunGroup

CLUSTER_COLUMNS = (
    *("cluster", "cluster_id", "project", "objective_hours", "protected_percent"),
    *("in_scope_s", "protected_s", "unprotected_s", "unknown_s", "longest_gap_s"),
    *("last_verified_at", "protection_at_end", *RunGroup.values),
)
CAUSE_COLUMNS = ("state", "outcome", "error_code", "settled_by_hand", "message", "runs")
ACTION_COLUMNS = ("event", "at", "action", "by", "target", "project", "reason", "before", "after")


def csv_report(report: Report, viewer: User) -> bytes:
    """A report as a file for spreadsheets. Times are in UTC, durations in seconds.

    Tables are separated by empty lines, and each begins with the names of its columns.

    Args:
        report: the report.
        viewer: who gets it.
    """
    rows: list[Sequence[object]] = [*_figures(report, viewer), (), CLUSTER_COLUMNS]
    rows += [_cluster(each) for each in report.clusters]
    rows += [(), CAUSE_COLUMNS, *map(_cause, report.causes)]
    if report.trail:
        rows += [(), ACTION_COLUMNS, *map(_action, report.trail.events)]
    return spreadsheet(rows)


def report_document(report: Report, viewer: User) -> dict[str, Any]:
    """The same as JSON: `figures` by name, `clusters`, `causes` and `actions` by column.

    Args:
        report, viewer: as for `csv_report`.
    """
    events = report.trail.events if report.trail else []
    return {
        "figures": {str(name): value for name, value in _figures(report, viewer)},
        "clusters": _named(CLUSTER_COLUMNS, map(_cluster, report.clusters)),
        "causes": _named(CAUSE_COLUMNS, map(_cause, report.causes)),
        "actions": _named(ACTION_COLUMNS, map(_action, events)),
    }


def _named(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> list[dict[str, object]]:
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _figures(report: Report, viewer: User) -> Iterator[Sequence[object]]:
    """Names and values of what the page shows above its tables."""
    days, time = report.days, report.time
    yield "report", "CSS Log Backup"
    yield "version", VERSION
    yield "as_of", _at(report.as_of)
    yield "for", viewer.get_username()
    yield "project", str(report.project or "all visible projects")
    yield "first_day", days.first.isoformat()
    yield "last_day", days.last.isoformat()
    yield "time_zone", days.zone
    yield "from", _at(days.begin)
    yield "until", _at(days.end)
    yield "judged_until", _at(report.end)
    for kind, cutoff in report.cuts:
        yield f"retention_{kind.value}_before", _at(cutoff)
    yield "objectives_recorded_since", _at(report.assumed_until)
    yield "clusters", len(report.counted)
    yield "protected_percent", time.share
    yield "always_protected", report.always_protected
    yield "unknown_s", int(time.unknown.total_seconds())
    for state in Protection:
        yield f"at_end_{state.value}", report.at_end(state)
    yield "runs", report.runs.total()
    for group in RunGroup:
        yield f"runs_{group.value}", report.runs[group]
    yield "runs_sealed", report.sealed
    yield "runs_not_sealed", report.unsealed
    if trail := report.trail:
        yield "first_event", _head(trail.first)
        yield "last_event", _head(trail.last)
        if trail.more:
            yield "actions_not_listed", f"only the first {len(trail.events)} are"
        if checked := trail.verification:
            yield "verification", checked.result
            yield "verified_at", _at(checked.finished_at)
            yield "verified_until", f"{checked.last}:{checked.head}"


def _cluster(each: ClusterReport) -> Sequence[object]:
    time = each.time
    spans = (time.in_scope, time.protected, time.unprotected, time.unknown, time.longest_gap)
    return (
        each.cluster.name,
        each.cluster.cluster_id,
        str(each.cluster.project),
        " ".join(map(str, each.hours)),
        time.share,
        *(int(span.total_seconds()) for span in spans),
        _at(each.verified_at),
        each.state.value if each.state else "",
        *(each.runs[group] for group in RunGroup),
    )


def _cause(each: CauseCount) -> Sequence[object]:
    by_hand = "yes" if each.by_hand else "no"
    return each.state.value, each.outcome, each.error_code, by_hand, each.message, each.count


def _action(event: AuditEvent) -> Sequence[object]:
    return (
        event.sequence,
        _at(event.at),
        event.action,
        event.actor_name,
        event.target_label,
        event.project_label,
        event.reason,
        _json(event.before),
        _json(event.after),
    )


def _json(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _at(moment: datetime | None) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else ""


def _head(event: AuditEvent | None) -> str:
    return f"{event.sequence}:{event.hash}" if event else ""
