"""What the seal of a run covers, and the pending seal that its last transaction leaves.

The digest covers the run's row, its events and its calls, without what may change after the end:
names, accounts and addresses, which masking and deleted accounts empty; references to other runs;
columns for the product's own bookkeeping; the answer of a call that had not finished. Times count
to the millisecond, the precision of dumpdata. docs/audit.md has the list of columns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from django.db import connection
from django.utils import timezone

from backups.models import ApiCall, BackupRun, RunEvent, RunSeal
from dashboard.audit.values import canonical, instant, sha256

# Version of the digested form. A change of the columns below needs a new number, and digests that
# are stored keep theirs.
FORM = 1
RUN_COLUMNS = (
    *("id", "cluster_id", "project_id", "cluster_cloud_id", "cluster_name", "cloud", "region"),
    *("project_id_in_cloud", "project_name", "trigger", "reason", "idempotency_key"),
    *(
        "requested_at",
        "state",
        "outcome",
        "note",
        "attempt",
        "sent_at",
        "answered_at",
        "http_status",
    ),
    *("error_code", "message", "request_id", "conflict_holder", "checks", "job_id", "record_id"),
    *("job_type", "job_created_at", "job_finished_at", "log_path", "failed_message", "evidence"),
    *("finished_at", "settled_by_hand", "corrected_from", "corrected_by"),
)
EVENT_COLUMNS = ("id", "at", "from_state", "to_state", "outcome", "note")
REQUEST_COLUMNS = (
    *("id", "attempt", "purpose", "method", "path", "url", "request_headers", "request_body"),
    "started_at",
)
ANSWER_COLUMNS = (
    *("finished_at", "duration_ms", "status", "answer_date", "request_id", "error_code"),
    *("message", "transport_error", "sent", "retry_after", "body_kind", "body_size", "excerpt"),
)
# what the leaf says in clear text, beside the digest
FACTS = (
    *("cluster_cloud_id", "project_id_in_cloud", "trigger", "requested_at", "state", "outcome"),
    *("sent_at", "answered_at", "http_status", "job_id", "record_id", "job_created_at"),
    *("job_finished_at", "evidence", "finished_at", "settled_by_hand", "corrected_from"),
)


# every run that ends executes this, and the ORM takes several times as long
_PEND = (
    "INSERT INTO backups_run_seal (run_id, kind, made_at, facts, place, digest, covers, altered) "
    "VALUES (%s, %s, %s, %s, 0, '', '', '')"
)


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a seal says about a run.

    Attributes:
        facts: FACTS of the row.
        content: what is digested: `form`, `run`, `events`, `calls`.
        covers: ids of the `events`, the finished `calls` and the calls still `open`.
    """

    facts: dict[str, Any]
    content: dict[str, Any]
    covers: dict[str, list[int]]

    @property
    def digest(self) -> str:
        """SHA-256 of the content, in hexadecimal."""
        return sha256(self.content)


def pend(run: BackupRun, changes: Mapping[str, Any], kind: RunSeal.Kind = RunSeal.Kind.END) -> None:
    """Store the pending seal of a run, in the transaction that ends or corrects it.

    One INSERT, and nothing is read: it has the facts that this transaction writes. The sealer
    compares them with the row.

    Args:
        run: the run.
        changes: the columns that the transaction writes, with their values.
        kind: what the transaction does.
    """
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    with connection.cursor() as cursor:
        cursor.execute(_PEND, [run.pk, kind.value, now, _text(facts_of(changes))])


def pend_all(runs: Iterable[BackupRun], kind: RunSeal.Kind = RunSeal.Kind.END) -> None:
    """Store the pending seals of runs whose rows were read or written in this transaction."""
    RunSeal.objects.bulk_create(
        [
            RunSeal(
                run_id=run.pk,
                kind=kind,
                facts=_text(facts_of({name: getattr(run, name) for name in FACTS})),
            )
            for run in runs
        ]
    )


def facts_of(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the FACTS that are among the columns, without what the database computes."""
    return {
        name: plain(columns[name])
        for name in FACTS
        if name in columns and not hasattr(columns[name], "resolve_expression")
    }


def _text(value: Mapping[str, Any]) -> str:
    return canonical(dict(value)).decode("ascii")


def plain(value: Any) -> Any:
    """Return a column's value as it is digested: times and floats as text."""
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, float):
        return repr(value)
    return value


def read(
    run_ids: Collection[int], covered: Mapping[int, Mapping[str, Collection[int]]] | None = None
) -> dict[int, Sealed]:
    """Read what seals say, or should say, about runs. Takes three queries.

    Args:
        run_ids: primary keys; the result lacks those of runs that do not exist.
        covered: by run, the ids that its seal covers; events and calls that were added later are
            then left out, and the answers of calls that were open. None: everything there is.
    """
    runs = BackupRun.objects.filter(pk__in=run_ids).order_by()
    rows = {row[0]: row for row in runs.values_list(*RUN_COLUMNS)}
    events = _by_run(RunEvent, EVENT_COLUMNS, run_ids)
    calls = _by_run(ApiCall, (*REQUEST_COLUMNS, *ANSWER_COLUMNS), run_ids)
    return {
        pk: _sealed(row, events[pk], calls[pk], None if covered is None else covered.get(pk))
        for pk, row in rows.items()
    }


def _by_run(
    model: type[RunEvent] | type[ApiCall], columns: tuple[str, ...], run_ids: Collection[int]
) -> defaultdict[int, list[tuple[Any, ...]]]:
    found: defaultdict[int, list[tuple[Any, ...]]] = defaultdict(list)
    rows = model._default_manager.filter(run__in=run_ids).order_by("id")
    for run_id, *row in rows.values_list("run_id", *columns):
        found[run_id].append(tuple(row))
    return found


def _sealed(
    row: tuple[Any, ...],
    events: list[tuple[Any, ...]],
    calls: list[tuple[Any, ...]],
    covered: Mapping[str, Collection[int]] | None,
) -> Sealed:
    if covered is not None:
        events = [each for each in events if each[0] in covered["events"]]
        calls = [
            each for each in calls if each[0] in covered["calls"] or each[0] in covered["open"]
        ]
    asked = len(REQUEST_COLUMNS)  # the first column of the answer is finished_at
    finished = {
        call[0]
        for call in calls
        if (call[asked] is not None if covered is None else call[0] in covered["calls"])
    }
    names = (*REQUEST_COLUMNS, *ANSWER_COLUMNS)
    run = _object(RUN_COLUMNS, row)
    return Sealed(
        facts={name: run[name] for name in FACTS},
        content={
            "form": FORM,
            "run": run,
            "events": [_object(EVENT_COLUMNS, each) for each in events],
            "calls": [
                _object(names if call[0] in finished else REQUEST_COLUMNS, call) for call in calls
            ],
        },
        covers={
            "events": [each[0] for each in events],
            "calls": [call[0] for call in calls if call[0] in finished],
            "open": [call[0] for call in calls if call[0] not in finished],
        },
    )


def _object(names: tuple[str, ...], row: tuple[Any, ...]) -> dict[str, Any]:
    return {name: plain(value) for name, value in zip(names, row, strict=False)}
