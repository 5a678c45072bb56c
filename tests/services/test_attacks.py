"""Ways around the guards, which are refused, and ways to disarm them, which are named."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from backups.choices import RunState, Trigger
from backups.guards import BEGINNINGS
from backups.models import BackupRun, Cluster, Post, Project, RetentionKind, RunSeal, ScopeChange
from backups.services.runs import sealing
from dashboard.audit.models import Action, Anchor, AuditEvent
from dashboard.audit.trail import Actor, record
from dashboard.audit.verification import request_verification, run_verification
from dashboard.db import triggers
from tests.audit_guards import guards_lifted
from tests.services.test_run_guards import OLD, make, opened, refuses
from tests.services.test_sealing import ended, project

__all__ = ["project"]
pytestmark = pytest.mark.django_db
POSTGRES = connection.vendor == "postgresql"
on_sqlite = pytest.mark.skipif(POSTGRES, reason="PostgreSQL has no REPLACE")
on_postgresql = pytest.mark.skipif(not POSTGRES, reason="of PostgreSQL only")
RUN = "backups_backuprun"


@pytest.fixture
def beginnings() -> Iterator[None]:
    """The guard against runs that begin with their end, which tests go without otherwise."""
    triggers.CONNECTED.append(BEGINNINGS)
    with transaction.atomic():
        BEGINNINGS.install(connection)
    yield
    triggers.CONNECTED.remove(BEGINNINGS)
    BEGINNINGS.remove(connection)


def columns_of(table: str) -> list[str]:
    with connection.cursor() as cursor:
        return [row.name for row in connection.introspection.get_table_description(cursor, table)]


def copied(verb: str, table: str, key: str, source: Any, **changes: str) -> tuple[str, Any]:
    """An INSERT of a copy of a row with changed columns, which are SQL."""
    names = columns_of(table)
    values = ", ".join(changes.get(name, f'"{name}"') for name in names)
    quoted = ", ".join(f'"{name}"' for name in names)
    return f"{verb} INTO {table} ({quoted}) SELECT {values} FROM {table} WHERE {key} = %s", source


# --- SQLite: REPLACE deletes rows without running DELETE triggers


@pytest.fixture
def keys(project: Project) -> BackupRun:
    """An ended run that has all keys that another row can take."""
    cluster = Cluster.objects.create(project=project, cluster_id="c1", name="orders")
    columns = {"job_id": "j1", "record_id": "r1", "idempotency_key": "k1"}
    where = {"cluster_cloud_id": "c1", "project_id_in_cloud": "p"}
    run = make(cluster, RunState.SUCCEEDED, **columns, **where)
    Post.objects.create(run=run, attempt=1, sent_at=OLD, active=False)
    return run


@on_sqlite
@pytest.mark.parametrize("verb", ["REPLACE", "INSERT OR REPLACE", "INSERT OR IGNORE"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"id": "99", "record_id": "''", "idempotency_key": "NULL"},
        {"id": "99", "job_id": "'j9'", "idempotency_key": "NULL"},
        {"id": "99", "job_id": "'j9'", "record_id": "'r9'"},
    ],
    ids=["by id", "by job", "by record", "by idempotency key"],
)
def test_no_insert_takes_the_place_of_an_ended_run(
    keys: BackupRun, verb: str, changes: dict[str, str]
) -> None:
    assert refuses(*copied(verb, RUN, "id", keys.pk, state="'failed'", **changes))
    assert BackupRun.objects.get().state == "succeeded"


@on_sqlite
@pytest.mark.parametrize("key", ["id = 1", "job_id = 'j1'", "record_id = 'r1'", "idempotency_key"])
def test_no_update_of_another_run_takes_the_place_of_an_ended_one(
    keys: BackupRun, key: str
) -> None:
    other = make(keys.cluster, RunState.QUEUED, cluster_cloud_id="c1", project_id_in_cloud="p")
    change = {"id = 1": f"id = {keys.pk}", "idempotency_key": "idempotency_key = 'k1'"}.get(
        key, key
    )
    assert refuses(f"UPDATE OR REPLACE {RUN} SET {change} WHERE id = %s", other.pk)
    assert BackupRun.objects.count() == 2


@on_sqlite
@pytest.mark.parametrize("table", ["backups_runevent", "backups_apicall", "backups_post"])
@pytest.mark.parametrize("verb", ["REPLACE", "INSERT OR IGNORE"])
def test_no_insert_takes_the_place_of_what_belongs_to_a_run(
    keys: BackupRun, table: str, verb: str
) -> None:
    assert refuses(*copied(verb, table, "run_id", keys.pk))
    if table == "backups_post":
        assert refuses(*copied(verb, table, "run_id", keys.pk, id="99"))


@on_sqlite
def test_no_update_of_an_open_call_or_post_takes_the_place_of_another(keys: BackupRun) -> None:
    other = make(keys.cluster, RunState.SENDING)
    call, open_call = keys.api_calls.get(), other.api_calls.get()
    with guards_lifted():
        other.api_calls.update(finished_at=None)
    sql = "UPDATE OR REPLACE backups_apicall SET id = %s WHERE id = %s"
    assert refuses(sql, call.pk, open_call.pk)
    posts = [
        Post.objects.create(run=other, attempt=n, sent_at=OLD, active=n == 1, cluster_cloud_id="c1")
        for n in (1, 2)
    ]
    assert refuses("UPDATE OR REPLACE backups_post SET active = 1 WHERE id = %s", posts[1].pk)
    assert Post.objects.count() == 3


@on_sqlite
def test_no_insert_takes_the_place_of_a_door_a_seal_or_an_anchor(project: Project) -> None:
    run = ended(project)
    seal = RunSeal.objects.get()
    change = {"facts": "'{}'"}
    assert refuses(*copied("REPLACE", "backups_run_seal", "id", seal.pk, **change))
    assert refuses(*copied("REPLACE", "backups_run_seal", "id", seal.pk, id="99", **change))
    sealing.seal_pending()
    batch = RunSeal.objects.get().batch_id
    assert refuses(*copied("REPLACE", "backups_seal_batch", "id", batch))
    door = opened(RetentionKind.SUCCESSES)
    assert refuses(*copied("REPLACE", "backups_retentionrun", "id", door.pk, kind="'failures'"))
    assert BackupRun.objects.get() == run
    first, last = AuditEvent.objects.get(sequence=1), AuditEvent.objects.latest("sequence")
    retention = record(Action.RETENTION_RUN, actor=Actor.process("test"))
    Anchor.objects.create(sequence=1, hash=first.hash, at=first.at, recorded_by=retention.sequence)
    sql = "REPLACE INTO audit_anchor (sequence, hash, at, recorded_by) VALUES (%s, %s, %s, %s)"
    with (
        pytest.raises(IntegrityError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(sql, [last.sequence, last.hash, last.at, retention.sequence])


# --- runs that begin with their end


FORGED = {
    "ended": {"state": "succeeded", "trigger": "button"},
    "with an answer": {"outcome": "accepted"},
    "masked": {"masked_by": 1},
    "settled": {"settled_by_hand": True},
    "without a job": {"job_id": None},
    "rejected": {"state": "rejected"},
    "by somebody": {"source_ip": "192.0.2.7"},
    "sent": {"sent_at": OLD},
    "accepted": {"state": "accepted", "trigger": "button", "job_id": None, "finished_at": None},
}


def born(project: Project, **columns: Any) -> BackupRun:
    """A run like a job that is imported."""
    cluster = Cluster.objects.get_or_create(project=project, cluster_id="c1")[0]
    values = {"trigger": Trigger.CLOUD, "state": "succeeded", "job_id": "j1", "finished_at": OLD}
    return BackupRun.objects.create(cluster=cluster, project=project, **values | columns)


@pytest.mark.parametrize("columns", FORGED.values(), ids=FORGED)
@pytest.mark.usefixtures("beginnings")
def test_no_run_begins_with_its_end(project: Project, columns: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError, match="does not change"), transaction.atomic():
        born(project, **columns)


@pytest.mark.usefixtures("beginnings")
def test_a_job_of_the_cloud_and_a_request_begin(project: Project) -> None:
    born(project)
    born(project, trigger="button", state="queued", job_id=None, finished_at=None)
    assert triggers.missing(connection) == set()


def test_a_run_that_was_forged_like_a_job_of_the_cloud_has_no_seal(project: Project) -> None:
    forged = born(project)
    asked = request_verification()
    assert run_verification(asked)
    assert asked.problem == f"run {forged.pk} has ended and has no seal"


def test_nobody_writes_a_sealed_seal(project: Project) -> None:
    ended(project)
    batch = RunSeal.objects.get()
    sealing.seal_pending()
    batch.refresh_from_db()
    connection.check_constraints()  # PostgreSQL truncates no table with deferred checks
    for sql in (
        "UPDATE backups_run_seal SET digest = 'x'",
        "UPDATE backups_run_seal SET batch_id = NULL",
        "UPDATE backups_seal_batch SET root = 'x'",
        "UPDATE backups_seal_batch SET event = NULL",
        "DELETE FROM backups_run_seal",
        "DELETE FROM backups_seal_batch",
        *(["TRUNCATE backups_run_seal, backups_seal_batch"] if POSTGRES else []),
    ):
        assert refuses(sql), sql
    with pytest.raises(IntegrityError, match="does not change"), transaction.atomic():
        RunSeal.objects.create(run_id=9, facts="{}", batch_id=batch.batch_id, digest="x")


@pytest.mark.django_db(transaction=True)
def test_a_dump_with_sealed_and_pending_runs_is_loaded_and_verifies(
    project: Project, beginnings: None, tmp_path: Path
) -> None:
    """With times to the millisecond, as dumpdata writes them."""
    with BEGINNINGS.lifted(connection):
        now = timezone.now().replace(microsecond=123_456)
        ended(project, answered_at=now, http_status=200)
        sealing.seal_pending()
        ended(project, 2, answered_at=now)
    changes = ScopeChange.objects.count()
    path = tmp_path / "dump.json"
    call_command("dumpdata", "audit", "backups", output=str(path), verbosity=0)
    with guards_lifted(), transaction.atomic(), connection.cursor() as cursor:
        for table in (
            *("backups_run_seal", "backups_seal_batch", "backups_runevent", "backups_apicall"),
            *(RUN, "backups_scope_change", "backups_objective_change"),
            *("backups_cluster", "backups_project", "audit_event", "audit_verification"),
        ):
            cursor.execute(f"DELETE FROM {table}")
    call_command("load_dump", str(path), verbosity=0)
    assert BackupRun.objects.get(job_id="j1").answered_at == now.replace(microsecond=123_000)
    assert ScopeChange.objects.count() == changes > 0, "those of the dump, and no others"
    assert triggers.missing(connection) == set()
    sealing.seal_pending()
    asked = request_verification()
    assert run_verification(asked)
    assert (asked.problem, asked.records) == ("", 2)


# --- PostgreSQL: what disarms the guards is named

DISARMED = {
    "function": (
        "CREATE OR REPLACE FUNCTION backups_run_stays() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RETURN NEW; END $$",
        "backups_run_stays",
    ),
    "search path": ("ALTER FUNCTION backups_run_stays() RESET search_path", "backups_run_stays"),
    "owner's rights": ("ALTER FUNCTION backups_run_stays() SECURITY DEFINER", "backups_run_stays"),
    "other function": (
        "CREATE SCHEMA evil; CREATE FUNCTION evil.audit_refuse() RETURNS trigger LANGUAGE plpgsql "
        "AS $$ BEGIN RETURN OLD; END $$; DROP TRIGGER audit_anchor_delete ON audit_anchor; "
        "CREATE TRIGGER audit_anchor_delete BEFORE DELETE ON audit_anchor "
        "FOR EACH ROW EXECUTE FUNCTION evil.audit_refuse()",
        "audit_anchor_delete",
    ),
    "condition": (
        "CREATE OR REPLACE TRIGGER backups_run_stays BEFORE UPDATE ON backups_backuprun "
        "FOR EACH ROW WHEN (OLD.id < 0) EXECUTE FUNCTION backups_run_stays()",
        "backups_run_stays",
    ),
    "column": (
        "CREATE OR REPLACE TRIGGER backups_run_stays BEFORE UPDATE OF note ON backups_backuprun "
        "FOR EACH ROW EXECUTE FUNCTION backups_run_stays()",
        "backups_run_stays",
    ),
    "disabled": (
        "ALTER TABLE backups_backuprun DISABLE TRIGGER backups_run_stays",
        "backups_run_stays",
    ),
    "replica only": (
        "ALTER TABLE backups_backuprun ENABLE REPLICA TRIGGER backups_run_stays",
        "backups_run_stays",
    ),
    "session": (
        "SET LOCAL session_replication_role = replica",
        "session_replication_role is replica",
    ),
    "rule": (
        "CREATE RULE gone AS ON DELETE TO backups_backuprun DO INSTEAD NOTHING",
        "rule gone",
    ),
    "row security": (
        "ALTER TABLE audit_event ENABLE ROW LEVEL SECURITY",
        "row security of audit_event",
    ),
    "another trigger": (
        "CREATE TRIGGER zzz BEFORE UPDATE ON backups_backuprun "
        "FOR EACH ROW EXECUTE FUNCTION backups_refuse()",
        "trigger zzz",
    ),
    "inheritance": (
        "CREATE TABLE forged () INHERITS (backups_runevent)",
        "table forged below backups_runevent",
    ),
}


@on_postgresql
@pytest.mark.parametrize(("sql", "named"), DISARMED.values(), ids=DISARMED)
def test_what_disarms_the_guards_is_named(sql: str, named: str) -> None:
    assert triggers.missing(connection) == set()
    with connection.cursor() as cursor:
        cursor.execute(sql)
    assert triggers.missing(connection) == {named}
    with pytest.raises(CommandError, match=named):
        call_command("audit_verify", stdout=StringIO())


@on_sqlite
def test_a_guard_that_was_gutted_is_named() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER backups_run_taken")
        cursor.execute(
            "CREATE TRIGGER backups_run_taken BEFORE INSERT ON backups_backuprun "
            "BEGIN SELECT 1; END"
        )
    assert triggers.missing(connection) == {"backups_run_taken"}


def test_a_command_restores_the_guards_and_records_that(project: Project) -> None:
    run = ended(project)
    with connection.cursor() as cursor:
        on = f" ON {RUN}" if POSTGRES else ""
        cursor.execute(f"DROP TRIGGER backups_run_stays{on}")
        if POSTGRES:
            cursor.execute(DISARMED["rule"][0])
    out = StringIO()
    if POSTGRES:
        with pytest.raises(
            CommandError, match="remove by hand, as the owner of the tables: rule gone"
        ):
            call_command("restore_guards", stdout=out)
    else:
        call_command("restore_guards", stdout=out)
    assert out.getvalue() == "restored: backups_run_stays\n"
    event = AuditEvent.objects.get(action="guards_restored")
    assert event.details == {"restored": ["backups_run_stays"]}
    assert refuses(f"UPDATE {RUN} SET note = 'x' WHERE id = %s", run.pk)
    assert triggers.missing(connection) == ({"rule gone"} if POSTGRES else set())
