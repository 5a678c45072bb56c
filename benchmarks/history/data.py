"""A realistic history: a few busy clusters, nine of ten backups verified."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from backups.models import ApiCall, BackupRun, Cluster, ClusterTag, Project, RunEvent

CLUSTERS = 2000
BUSY = 20  # clusters that have six of ten runs
PROJECTS = 20
DAYS = 365
EXPLAINED = 200  # newest runs that have events and calls, for the run page

# share in thousandths, state, outcome, HTTP status, code, message, reason of the failed job
KINDS: list[tuple[int, str, str, int | None, str, str, str]] = [
    (900, "succeeded", "accepted", 200, "", "", ""),
    (30, "rejected", "conflict", 409, "CSS.3004", "A backup is in progress.", ""),
    (15, "rejected", "precondition_failed", 412, "CSS.0004", "Log backup is not enabled", ""),
    (4, "rejected", "forbidden", 403, "CSS.0010", "The user is not authorized", ""),
    (1, "rejected", "invalid_request", 400, "CSS.5301", "The cluster is frozen.", ""),
    (30, "failed", "accepted", 200, "", "", "OBS returned 503 for the bucket"),
    (10, "unverified", "accepted", 200, "", "", ""),
    (5, "not_started", "unanswered", None, "", "", ""),
    (5, "cancelled", "", None, "", "", ""),
]
TRIGGERS = [("schedule", 70), ("button", 15), ("bulk", 10), ("cli", 3), ("api", 1), ("cloud", 1)]
RARE_WORD = "zeppelin"  # in the messages of a few runs out of 50,000


def inventory() -> list[Cluster]:
    """Create projects and clusters; every hundredth cluster has a label."""
    projects = [
        Project.objects.create(
            cloud="otc", region="eu-de", project_id=f"{number:032x}", name=f"project-{number:02}"
        )
        for number in range(PROJECTS)
    ]
    clusters = Cluster.objects.bulk_create(
        Cluster(
            project=projects[number % PROJECTS],
            cluster_id=f"{number:08x}-0000-4000-8000-000000000000",
            name=f"cluster-{number:05}",
            engine="opensearch",
        )
        for number in range(CLUSTERS)
    )
    ClusterTag.objects.bulk_create(
        ClusterTag(cluster=cluster, origin="own", key="team", value="search")
        for cluster in clusters[::100]
    )
    return clusters


def columns() -> list[str]:
    """The columns of a run in the order of `rows`."""
    return [field.column for field in BackupRun._meta.concrete_fields]


def rows(clusters: list[Cluster], number: int, seed: int) -> Iterator[list[Any]]:
    """Yield `number` runs, oldest first, the last one now; the same ones for the same seed."""
    rng = random.Random(seed)
    now = datetime.now(UTC)
    start, step = now - timedelta(days=DAYS), timedelta(days=DAYS) / number
    busy, quiet = clusters[:BUSY], clusters[BUSY:]
    kinds = rng.choices(range(len(KINDS)), [kind[0] for kind in KINDS], k=1 << 16)
    triggers = rng.choices([t for t, _ in TRIGGERS], [share for _, share in TRIGGERS], k=65521)
    names = columns()
    template = {field.column: field.get_default() for field in BackupRun._meta.concrete_fields} | {
        "requested_by_id": None,
        "attempt": 1,
        "version": 4,
    }
    for index in range(1, number + 1):
        at = start + step * index
        cluster = rng.choice(busy) if rng.random() < 0.6 else rng.choice(quiet)
        _, state, outcome, status, code, message, failed = KINDS[kinds[index % (1 << 16)]]
        if message and index % 50_000 < 50:
            message += f" ({RARE_WORD})"
        finished = at + timedelta(seconds=30)
        accepted = outcome == "accepted"
        row = template | {
            "id": index,
            "cluster_id": cluster.pk,
            "project_id": cluster.project_id,
            "cluster_cloud_id": cluster.cluster_id,
            "cluster_name": cluster.name,
            "cloud": "otc",
            "region": "eu-de",
            "project_id_in_cloud": cluster.project.project_id,
            "project_name": cluster.project.name,
            "requested_by_name": f"user-{index * 7919 % 50:02}",
            "trigger": triggers[index % 65521],
            "source_ip": "10.1.2.3",
            "requested_at": at,
            "not_before": at,
            "state": state,
            "outcome": outcome,
            "http_status": status,
            "error_code": code,
            "message": message,
            "failed_message": failed,
            "request_id": f"{index:032x}" if status else "",
            "sent_at": at if status else None,
            "answered_at": at if status else None,
            "finished_at": finished,
            "job_id": f"{index:032x}" if accepted else None,
            "job_type": "Manual" if accepted else "",
            "job_created_at": at if accepted else None,
            "job_finished_at": finished if accepted else None,
            "log_path": "logs-bucket/css/log" if accepted else "",
        }
        yield [row[name] for name in names]


def explain_last(number: int) -> None:
    """Create events and calls for the newest runs, for the run page."""
    for pk in range(max(1, number - EXPLAINED), number + 1):
        run = BackupRun.objects.get(pk=pk)
        RunEvent.objects.bulk_create(
            RunEvent(run=run, at=run.requested_at, to_state=state, note="as in use")
            for state in ("queued", "sending", "accepted", run.state)
        )
        ApiCall.objects.bulk_create(
            ApiCall(
                run=run,
                attempt=1,
                purpose=purpose,
                method="POST",
                path=f"/v1.0/p/clusters/{run.cluster_cloud_id}/logs/{purpose}",
                started_at=run.requested_at,
                finished_at=run.requested_at,
                duration_ms=120,
                status=200,
            )
            for purpose in ("baseline", "collect", "records")
        )


def load(table: str, names: list[str], lines: Iterator[list[Any]]) -> None:
    """Write rows as fast as possible; indexes are dropped and created again afterwards."""
    if connection.vendor == "postgresql":
        _load_postgresql(table, names, lines)
    else:
        _load_sqlite(table, names, lines)


def _load_postgresql(table: str, names: list[str], lines: Iterator[list[Any]]) -> None:
    listed = ", ".join(f'"{name}"' for name in names)
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # do not check foreign keys
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s "
            "AND indexname NOT IN (SELECT conname FROM pg_constraint)",
            [table],
        )
        indexes = cursor.fetchall()
        for name, _ in indexes:
            cursor.execute(f'DROP INDEX "{name}"')
        with cursor.copy(f'COPY "{table}" ({listed}) FROM STDIN') as copy:
            for line in lines:
                copy.write_row(line)
        cursor.execute("SET maintenance_work_mem = '1GB'")
        for _, definition in indexes:
            cursor.execute(definition)
        cursor.execute(
            f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM \"{table}\""  # noqa: S608 - our own table's name
        )
        cursor.execute(f'VACUUM ANALYZE "{table}"')
        cursor.execute("SET session_replication_role = DEFAULT")


def _load_sqlite(table: str, names: list[str], lines: Iterator[list[Any]]) -> None:
    listed = ", ".join(f'"{name}"' for name in names)
    places = ", ".join("?" for _ in names)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA foreign_keys = OFF")
        cursor.execute("PRAGMA synchronous = OFF")
        cursor.execute("PRAGMA cache_size = -400000")
        cursor.execute(
            # Unique ones stay: the guards against REPLACE look for the keys of each new row.
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = %s "
            "AND sql NOT LIKE %s",
            [table, "CREATE UNIQUE %"],
        )
        indexes = cursor.fetchall()
        for name, _ in indexes:
            cursor.execute(f'DROP INDEX "{name}"')
    raw = connection.connection
    adapt = connection.ops.adapt_datetimefield_value
    raw.execute("BEGIN")
    raw.executemany(
        f'INSERT INTO "{table}" ({listed}) VALUES ({places})',  # noqa: S608 - names of ours
        ([adapt(v) if isinstance(v, datetime) else v for v in line] for line in lines),
    )
    raw.execute("COMMIT")
    with connection.cursor() as cursor:
        for _, definition in indexes:
            cursor.execute(definition)
        cursor.execute("ANALYZE")


def celery_results(number: int) -> None:
    """Fill django-celery-results, the usual storage of Celery results, with as many rows."""
    from django_celery_results.models import TaskResult

    now = datetime.now(UTC)
    names = [field.column for field in TaskResult._meta.concrete_fields]
    template = {field.column: field.get_default() for field in TaskResult._meta.concrete_fields}

    def lines() -> Iterator[list[Any]]:
        start, step = now - timedelta(days=DAYS), timedelta(days=DAYS) / number
        for index in range(1, number + 1):
            at = start + step * index
            row = template | {
                "id": index,
                "task_id": f"{index:032x}",
                "task_name": "backups.tasks.send_run",
                "task_args": f"[{index}]",
                "status": "SUCCESS" if index % 10 else "FAILURE",
                "content_type": "application/json",
                "content_encoding": "utf-8",
                "result": "null" if index % 10 else '{"exc": "Conflict: a backup is in progress"}',
                "date_created": at,
                "date_started": at,
                "date_done": at + timedelta(seconds=1),
            }
            yield [row[name] for name in names]

    load(TaskResult._meta.db_table, names, lines())
