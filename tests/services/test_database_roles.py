"""PostgreSQL: the product runs as a role that owns nothing and cannot lift the guards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from backups.choices import RunState
from backups.models import BackupRun, RetentionKind, RetentionPolicy
from backups.services import retention
from backups.services.runs import following, sealing, sending
from dashboard.audit.models import AuditEvent
from dashboard.audit.trail import Actor
from dashboard.checks import check_database_role
from dashboard.db import triggers
from dashboard.db.roles import current_role, two_roles
from simulator.client import SimulatorControl
from tests.services.conftest import MakeCluster, MakeRun

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no roles"),
]


@pytest.fixture
def roles(db: None) -> Iterator[None]:
    """Both roles, in this test's transaction, which runs as the second one when it asks for it."""
    out = StringIO()
    call_command("database_roles", owner="css_test_owner", runtime="css_test_runtime", stdout=out)
    with connection.cursor() as cursor:
        cursor.execute(out.getvalue())
        cursor.execute(out.getvalue())  # it can be run again
    yield
    act_as("NONE")


def act_as(role: str) -> None:
    with connection.cursor() as cursor:
        connection.check_constraints()
        cursor.execute(f"SET LOCAL ROLE {role}")


def test_the_main_job_audit_and_retention_run_as_a_role_that_owns_nothing(
    roles: None,
    make_cluster: MakeCluster,
    make_run: MakeRun,
    cloud: SimulatorControl,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = make_cluster()
    act_as("css_test_runtime")
    run = make_run(cluster)
    sending.send_run(run.pk)
    cloud.end_jobs(cluster.cluster_id)
    following.follow_run(run.pk)
    run.refresh_from_db()
    assert run.state == RunState.SUCCEEDED
    assert sealing.seal_pending() == 1
    out = StringIO()
    call_command("audit_verify", stdout=out)
    assert "1 runs were compared with their seals" in out.getvalue()
    # the next whole second, which is a cutoff for all that there is and before all that follows
    cutoff = (timezone.now() + timedelta(seconds=1)).replace(microsecond=0)
    monkeypatch.setattr(retention, "_cutoff", lambda days, now: cutoff)
    while timezone.now() <= cutoff:
        time.sleep(0.02)
    for kind in (RetentionKind.PERSONAL, RetentionKind.SUCCESSES, RetentionKind.AUDIT):
        policy = RetentionPolicy(**{f"{kind.value}_days": 1})
        door = retention.start(kind, policy, actor=Actor.process("test"))
        assert door is not None, kind
        assert retention.work(door)
    assert not BackupRun.objects.exists()
    assert not AuditEvent.objects.filter(sequence=1).exists()
    call_command("audit_verify", stdout=StringIO())


ATTACKS = {
    "trigger": "DROP TRIGGER backups_run_stays ON backups_backuprun",
    "disabled": "ALTER TABLE backups_backuprun DISABLE TRIGGER USER",
    "function": "CREATE OR REPLACE FUNCTION backups_run_stays() RETURNS trigger LANGUAGE plpgsql "
    "AS $$ BEGIN RETURN NEW; END $$",
    "replica": "SET LOCAL session_replication_role = replica",
    "rule": "CREATE RULE gone AS ON DELETE TO audit_event DO INSTEAD NOTHING",
    "row security": "ALTER TABLE audit_event ENABLE ROW LEVEL SECURITY",
    "truncate": "TRUNCATE audit_verification",
    "drop": "DROP TABLE audit_event CASCADE",
    "inheritance": "CREATE TABLE forged () INHERITS (backups_runevent)",
    "the owner's role": "SET LOCAL ROLE css_test_owner",
    "migrations": "DELETE FROM django_migrations",
}


@pytest.mark.parametrize("sql", ATTACKS.values(), ids=ATTACKS)
def test_that_role_cannot_lift_the_guards(roles: None, sql: str) -> None:
    with connection.cursor() as cursor:
        # SET ROLE inside SET ROLE asks for the rights of the session's user, a superuser here
        cursor.execute("SET LOCAL SESSION AUTHORIZATION css_test_runtime")
        with pytest.raises(DatabaseError), transaction.atomic():
            cursor.execute(sql)
        cursor.execute("RESET SESSION AUTHORIZATION")
    assert triggers.missing(connection) == set()


def test_the_check_says_which_role_runs(roles: None) -> None:
    tables = triggers.guarded_tables(connection)
    words = {}
    for role in ("NONE", "css_test_owner", "css_test_runtime"):
        act_as(role)
        found = current_role(connection, tables)
        assert found is not None
        words[role] = found.in_words
        assert [each.id for each in check_database_role(["default"])] == (
            [] if found.is_bound else ["css.W004"]
        )
        if found.is_bound:
            call_command("database_roles", check=True, stdout=StringIO())
        else:
            with pytest.raises(CommandError, match="database role"):
                call_command("database_roles", check=True, stdout=StringIO())
    assert "is a superuser" in words["NONE"]
    assert "owns the tables" in words["css_test_owner"]
    assert words["css_test_runtime"].endswith("owns nothing: the triggers bind it")


def test_the_owner_migrates_and_restores_the_guards(roles: None) -> None:
    act_as("css_test_owner")
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER backups_run_stays ON backups_backuprun")
    call_command("migrate", verbosity=0)
    assert triggers.missing(connection) == set()
    call_command("restore_guards", stdout=StringIO())


@pytest.mark.parametrize(("owner", "runtime"), [("a", "a"), ("a; DROP", "b"), ("a", 'b"')])
def test_names_that_are_no_names_are_refused(owner: str, runtime: str) -> None:
    with pytest.raises(ValueError, match="name"):
        two_roles("dashboard", owner, runtime)
