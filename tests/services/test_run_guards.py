"""The database itself keeps ended runs as they are."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, models, transaction
from django.utils import timezone

from backups.choices import ACTIVE, TERMINAL, RunState, Trigger
from backups.guards import GUARDS
from backups.models import (
    ApiCall,
    BackupRun,
    Cluster,
    Post,
    Project,
    RetentionKind,
    RetentionRun,
    RunEvent,
)
from dashboard.accounts.models import User
from dashboard.audit.trail import Action, Actor, record
from dashboard.db import triggers

pytestmark = pytest.mark.django_db
RUNS, EVENTS, CALLS = "backups_backuprun", "backups_runevent", "backups_apicall"
POSTGRES = "postgresql"
OLD = timezone.now().replace(microsecond=0) - timedelta(days=40)
CUTOFF = OLD + timedelta(days=10)


def refuses(sql: str, *parameters: Any) -> bool:
    """Whether the database refuses a statement, in the words of our triggers."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql, parameters)
    except DatabaseError as error:
        if "does not change" not in str(error):
            raise
        return True
    return False


@pytest.fixture
def cluster(db: None) -> Cluster:
    project = Project.objects.create(cloud="otc", region="eu-de", project_id="p", name="shop")
    return Cluster.objects.create(project=project, cluster_id="c", name="orders")


def make(cluster: Cluster, state: str, **columns: Any) -> BackupRun:
    """A run with an event and a finished call."""
    columns = {
        "requested_at": OLD,
        "finished_at": None if state in ACTIVE else OLD,
        "requested_by_name": "anna",
        "source_ip": "192.0.2.7",
        "trigger": Trigger.BUTTON,
        **columns,
    }
    run = BackupRun.objects.create(
        cluster=cluster, project=cluster.project, cluster_name="orders", state=state, **columns
    )
    RunEvent.objects.create(run=run, to_state=state, actor="anna", note="by hand")
    ApiCall.objects.create(
        run=run, attempt=1, purpose="collect", method="POST", path="/", status=200,
        started_at=OLD, finished_at=OLD,
    )  # fmt: skip
    return run


def opened(kind: RetentionKind, cutoff: Any = CUTOFF) -> RetentionRun:
    """A retention run as the service announces it."""
    action = Action.PERSONAL_DATA_MASKED if kind is RetentionKind.PERSONAL else Action.RETENTION_RUN
    event = record(
        action, actor=Actor.process("test"), details={"class": kind.value, "before": cutoff}
    )
    return RetentionRun.objects.create(kind=kind, cutoff=cutoff, told=event.sequence)


OTHER_VALUES = {
    "BigAutoField": 999_999,
    "ForeignKey": 999_999,
    "BigIntegerField": 99,
    "PositiveIntegerField": 99,
    "PositiveSmallIntegerField": 99,
    "PositiveBigIntegerField": 99,
    "BooleanField": True,
    "FloatField": 9.5,
    "DateTimeField": "2020-01-01 00:00:00+00:00",
    "GenericIPAddressField": "198.51.100.9",
    "CharField": "x",
    "TextField": "x",
    "JSONField": '{"x": 1}',
}


def columns_of(model: str) -> list[tuple[str, Any]]:
    fields = apps.get_model("backups", model)._meta.concrete_fields
    others = [(field.column, OTHER_VALUES[type(field).__name__]) for field in fields]
    return [(column, False if column == "sent" else value) for column, value in others]


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_no_column_of_an_ended_run_can_be_changed(cluster: Cluster, state: str) -> None:
    run = make(cluster, state)
    for column, value in columns_of("BackupRun"):
        assert refuses(f"UPDATE {RUNS} SET {column} = %s WHERE id = %s", value, run.pk), column
    assert not refuses(f"UPDATE {RUNS} SET note = note WHERE id = %s", run.pk)


@pytest.mark.parametrize("state", sorted(ACTIVE))
def test_a_run_that_has_not_ended_changes_and_is_not_deleted(cluster: Cluster, state: str) -> None:
    run = make(cluster, state)
    assert not refuses(f"UPDATE {RUNS} SET note = 'x' WHERE id = %s", run.pk)
    opened(RetentionKind.SUCCESSES, timezone.now().replace(microsecond=0))
    opened(RetentionKind.FAILURES, timezone.now().replace(microsecond=0))
    for table in (EVENTS, CALLS):
        assert refuses(f"DELETE FROM {table} WHERE run_id = %s", run.pk)
    assert refuses(f"DELETE FROM {RUNS} WHERE id = %s", run.pk)


def test_events_and_finished_calls_stay(cluster: Cluster) -> None:
    run = make(cluster, RunState.SENDING)
    for column, value in columns_of("RunEvent"):
        assert refuses(f"UPDATE {EVENTS} SET {column} = %s WHERE run_id = %s", value, run.pk)
    for column, value in columns_of("ApiCall"):
        assert refuses(f"UPDATE {CALLS} SET {column} = %s WHERE run_id = %s", value, run.pk)
    under_way = ApiCall.objects.create(
        run=run, attempt=2, purpose="collect", method="POST", path="/", started_at=OLD
    )
    under_way.finished_at, under_way.status = timezone.now(), 200
    under_way.save()
    assert refuses(f"UPDATE {CALLS} SET status = 500 WHERE id = %s", under_way.pk)


def test_an_ended_run_may_lose_its_account_and_its_neighbour(cluster: Cluster) -> None:
    anna = User.objects.create_user("anna")
    held_by = make(cluster, RunState.FAILED)
    run = make(cluster, RunState.REJECTED, requested_by=anna, conflict_run=held_by)
    anna.delete()
    run.refresh_from_db()
    assert (run.requested_by, run.requested_by_name) == (None, "anna")
    assert not refuses(f"UPDATE {RUNS} SET conflict_run_id = NULL WHERE id = %s", run.pk)


@pytest.mark.parametrize(
    ("kind", "state", "goes"),
    [
        (RetentionKind.SUCCESSES, RunState.SUCCEEDED, True),
        (RetentionKind.SUCCESSES, RunState.FAILED, False),
        (RetentionKind.FAILURES, RunState.SUCCEEDED, False),
        (RetentionKind.FAILURES, RunState.FAILED, True),
        (RetentionKind.FAILURES, RunState.CANCELLED, True),
        (RetentionKind.AUDIT, RunState.FAILED, False),
        (RetentionKind.PERSONAL, RunState.SUCCEEDED, False),
    ],
)
def test_only_what_an_open_retention_run_is_about_goes(
    cluster: Cluster, kind: RetentionKind, state: RunState, goes: bool
) -> None:
    run, young = make(cluster, state), make(cluster, state, finished_at=CUTOFF)
    assert refuses(f"DELETE FROM {RUNS} WHERE id = %s", run.pk)
    door = opened(kind)
    for each in (run, young):
        expected = each is run and goes
        for table in (EVENTS, CALLS):
            sql = f"DELETE FROM {table} WHERE run_id = %s"
            assert refuses(sql, each.pk) is not expected
        assert refuses(f"DELETE FROM {RUNS} WHERE id = %s", each.pk) is not expected
    late = make(cluster, state)
    RetentionRun.objects.filter(pk=door.pk).update(finished_at=timezone.now())
    assert refuses(f"DELETE FROM {RUNS} WHERE id = %s", late.pk), "the door is closed again"


MASK = (
    f"UPDATE {RUNS} SET requested_by_name = '', requested_by_id = NULL, source_ip = NULL, "
    "masked_by = %s WHERE id = %s"
)


def test_masking_needs_an_open_door_and_empties_all_of_it(cluster: Cluster) -> None:
    run, young = make(cluster, RunState.FAILED), make(cluster, RunState.FAILED, requested_at=CUTOFF)
    earlier = opened(RetentionKind.SUCCESSES)
    assert refuses(MASK, earlier.told, run.pk)
    door = opened(RetentionKind.PERSONAL)
    assert refuses(MASK, door.told + 1, run.pk)
    assert refuses(MASK, None, run.pk)
    assert refuses(MASK.replace("source_ip = NULL, ", ""), door.told, run.pk)
    assert refuses(MASK.replace("= ''", "= 'bert'"), door.told, run.pk)
    assert refuses(MASK.replace("SET ", "SET reason = 'x', "), door.told, run.pk)
    assert refuses(MASK, door.told, young.pk)
    assert refuses(f"UPDATE {EVENTS} SET actor = '' WHERE run_id = %s", run.pk)
    assert not refuses(MASK, door.told, run.pk)
    assert refuses(f"UPDATE {RUNS} SET requested_by_name = 'anna' WHERE id = %s", run.pk)
    assert refuses(f"UPDATE {EVENTS} SET actor = 'bert' WHERE run_id = %s", run.pk)
    assert not refuses(f"UPDATE {EVENTS} SET actor = '' WHERE run_id = %s", run.pk)


def test_a_door_is_opened_only_by_its_own_event() -> None:
    def announces(kind: RetentionKind, told: int, cutoff: Any = CUTOFF, **more: Any) -> bool:
        try:
            with transaction.atomic():
                RetentionRun.objects.create(kind=kind, cutoff=cutoff, told=told, **more)
                transaction.set_rollback(True)
        except IntegrityError:
            return False
        return True

    def event(**details: Any) -> int:
        return record(Action.RETENTION_RUN, actor=Actor.process("test"), details=details).sequence

    right = event(**{"class": "failures", "before": CUTOFF})
    assert announces(RetentionKind.FAILURES, right)
    assert not announces(RetentionKind.FAILURES, right + 1)
    assert not announces(RetentionKind.SUCCESSES, right)
    assert not announces(RetentionKind.PERSONAL, right)
    assert not announces(RetentionKind.FAILURES, right, CUTOFF + timedelta(seconds=1))
    assert not announces(RetentionKind.FAILURES, right, done=1)
    assert not announces(RetentionKind.FAILURES, event(before=CUTOFF))
    assert not announces(RetentionKind.FAILURES, event(**{"class": "failures"}))
    opened(RetentionKind.SUCCESSES)
    assert not announces(RetentionKind.FAILURES, right), "older than one that was used"


def test_a_retention_run_stays_as_it_was_announced() -> None:
    door = opened(RetentionKind.FAILURES)
    table = "backups_retentionrun"
    for column in ("cutoff = '2030-01-01 00:00:00+00:00'", "kind = 'successes'", "told = 99"):
        assert refuses(f"UPDATE {table} SET {column} WHERE id = %s", door.pk), column
    assert not refuses(f"UPDATE {table} SET done = 5 WHERE id = %s", door.pk)
    RetentionRun.objects.filter(pk=door.pk).update(finished_at=timezone.now())
    assert refuses(f"UPDATE {table} SET done = 6 WHERE id = %s", door.pk)
    assert refuses(f"UPDATE {table} SET finished_at = NULL WHERE id = %s", door.pk)
    assert refuses(f"DELETE FROM {table}")


@pytest.mark.skipif(connection.vendor != POSTGRES, reason="SQLite has no TRUNCATE")
@pytest.mark.parametrize("table", [RUNS, EVENTS, CALLS, "backups_retentionrun"])
def test_no_table_is_emptied_at_once(table: str) -> None:
    assert refuses(f"TRUNCATE {table} CASCADE")


def test_a_guard_that_is_gone_is_missed_and_made_again() -> None:
    assert triggers.missing(connection) == set()
    with connection.cursor() as cursor:
        suffix = f" ON {RUNS}" if connection.vendor == POSTGRES else ""
        cursor.execute(f"DROP TRIGGER backups_run_stays{suffix}")
    assert triggers.missing(connection) == {"backups_run_stays"}
    call_command("migrate", "backups", verbosity=0)
    assert triggers.missing(connection) == set()


def test_a_table_that_is_altered_keeps_its_guards(cluster: Cluster) -> None:
    """As a migration does it: the guards are lifted, and stand again afterwards."""
    plan = [(None, False)]
    GUARDS._lift(connection.alias, plan)
    assert GUARDS.missing(connection) == GUARDS.names(connection)
    if connection.vendor == POSTGRES:  # SQLite makes tables anew outside of a transaction only
        field = models.CharField(max_length=600, blank=True)
        field.set_attributes_from_name("note")
        old = BackupRun._meta.get_field("note")
        field.model = BackupRun
        with connection.schema_editor() as editor:
            editor.alter_field(BackupRun, old, field)
    GUARDS._restore(connection.alias, plan)
    assert GUARDS.missing(connection) == set()
    run = make(cluster, RunState.FAILED)
    assert refuses(f"UPDATE {RUNS} SET note = 'x' WHERE id = %s", run.pk)


# --- the door for late evidence


def corrected(run: BackupRun, event: int, **columns: Any) -> bool:
    """Whether the database refuses to give a run its job."""
    values = {
        "state": "succeeded",
        "job_id": "j1",
        "record_id": "r1",
        "job_type": "Manual",
        "evidence": "inferred",
        "corrected_from": run.state,
        "corrected_by": event,
        "version": run.version + 1,
        **columns,
    }
    sets = ", ".join(f"{column} = %s" for column in values)
    return refuses(f"UPDATE {RUNS} SET {sets} WHERE id = %s", *values.values(), run.pk)


def told(run: BackupRun, action: Action = Action.RUN_CORRECTED) -> int:
    return record(action, actor=Actor.process("test"), target=run).sequence


@pytest.mark.parametrize("state", ["not_started", "unverified"])
@pytest.mark.parametrize("to", ["succeeded", "failed"])
def test_a_run_without_its_job_may_be_given_it_once(cluster: Cluster, state: str, to: str) -> None:
    run = make(cluster, state)
    assert not corrected(run, told(run), state=to)
    run.refresh_from_db()
    assert (run.state, run.corrected_from) == (to, state)
    assert corrected(run, told(run), state="failed", job_id="j2", corrected_from=to)
    assert corrected(run, told(run), state="failed", corrected_from=state)


@pytest.mark.parametrize("state", sorted(TERMINAL - {"not_started", "unverified"}))
def test_no_other_run_is_corrected(cluster: Cluster, state: str) -> None:
    run = make(cluster, state)
    assert corrected(run, told(run))


@pytest.mark.parametrize(
    "columns",
    [
        {"state": "rejected"},
        {"state": "accepted"},
        {"state": "not_started"},
        {"job_id": None},
        {"corrected_from": "unverified"},
        {"corrected_by": None},
        {"note": "x"},
        {"requested_by_name": ""},
        {"finished_at": "2020-01-01 00:00:00+00:00"},
    ],
)
def test_a_correction_changes_nothing_else(cluster: Cluster, columns: dict[str, Any]) -> None:
    run = make(cluster, "not_started")
    assert corrected(run, told(run), **columns)


def test_a_correction_needs_an_event_of_its_own_kind_about_this_run(cluster: Cluster) -> None:
    run, other = make(cluster, "not_started"), make(cluster, "not_started")
    assert corrected(run, 999_999)
    assert corrected(run, told(run, Action.RUN_SETTLED))
    assert corrected(run, told(other))


def test_a_run_that_has_its_job_is_not_given_another(cluster: Cluster) -> None:
    run = make(cluster, "unverified", job_id="j0")
    assert corrected(run, told(run))


def test_what_a_post_came_to_and_which_job_it_made_stay(cluster: Cluster) -> None:
    run = make(cluster, RunState.SENDING)
    post = Post.objects.create(run=run, attempt=1, sent_at=OLD)
    posts = "backups_post"
    assert not refuses(
        f"UPDATE {posts} SET result = 'accepted', status = 200 WHERE id = %s", post.pk
    )
    assert refuses(f"UPDATE {posts} SET result = 'open' WHERE id = %s", post.pk)
    assert refuses(f"UPDATE {posts} SET baseline = '[]' WHERE id = %s", post.pk)
    assert not refuses(f"UPDATE {posts} SET job_id = 'j1' WHERE id = %s", post.pk)
    assert refuses(f"UPDATE {posts} SET job_id = 'j2' WHERE id = %s", post.pk)
    assert not refuses(f"UPDATE {posts} SET active = %s WHERE id = %s", False, post.pk)
    assert refuses(f"DELETE FROM {posts} WHERE id = %s", post.pk)
