"""Each run that ends gets into the audit trail's chain, and stays provable there."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from backups.choices import RunState, Trigger
from backups.models import (
    ApiCall,
    BackupRun,
    Cluster,
    Project,
    RetentionKind,
    RetentionPolicy,
    RunEvent,
    RunSeal,
    SealBatch,
)
from backups.services import retention
from backups.services.runs import seal_check, sealing, seals
from backups.services.runs.transitions import transition
from dashboard.accounts.models import User
from dashboard.audit import merkle
from dashboard.audit.models import Action, AuditEvent, Verification
from dashboard.audit.trail import Actor, record
from dashboard.audit.verification import request_verification, run_verification
from tests.audit_guards import guards_lifted
from tests.audit_retention import prune

pytestmark = pytest.mark.django_db
OLD = timezone.now() - timedelta(days=40)


@pytest.fixture
def project(db: None) -> Project:
    return Project.objects.create(cloud="otc", region="eu-de", project_id="p", name="shop")


def ended(project: Project, number: int = 1, **columns: Any) -> BackupRun:
    """A run as the services end it, with a finished and an open call."""
    cluster = Cluster.objects.create(project=project, cluster_id=f"c{number}", name="orders")
    columns = {"requested_by_name": "anna", "source_ip": "192.0.2.7", **columns}
    run = BackupRun.objects.create(
        cluster=cluster,
        project=project,
        cluster_cloud_id=cluster.cluster_id,
        cluster_name=cluster.name,
        trigger=Trigger.BUTTON,
        requested_at=OLD,
        state=RunState.ACCEPTED,
        **columns,
    )
    RunEvent.objects.create(run=run, to_state="queued", actor="anna")
    call = {"run": run, "attempt": 1, "method": "POST", "path": "/", "started_at": OLD}
    headers = {"User-Agent": "größer", "Accept": "*"}
    ApiCall.objects.create(
        purpose="collect", finished_at=OLD, retry_after=0.1, request_headers=headers, **call
    )
    ApiCall.objects.create(purpose="records", **call)
    assert transition(
        run, RunState.SUCCEEDED, actor="worker", job_id=f"j{number}", job_finished_at=OLD
    )
    return run


def test_an_end_leaves_a_pending_seal_which_becomes_a_leaf(project: Project) -> None:
    runs = [ended(project, number) for number in range(1, 4)]
    assert RunSeal.objects.filter(batch=None).count() == 3
    assert sealing.seal_pending() == 3
    assert sealing.seal_pending() == 0
    batch = SealBatch.objects.get()
    event = AuditEvent.objects.get(sequence=batch.event or 0)
    assert event.details == {"root": batch.root, "runs": [run.pk for run in runs]}
    leaves = [merkle.leaf_hash(sealing.leaf_of(seal)) for seal in batch.seals.order_by("place")]
    assert merkle.root_of(leaves) == batch.root
    seal = RunSeal.objects.get(run_id=runs[0].pk)
    assert (seal.kind, seal.altered) == ("end", "")
    facts = json.loads(seal.facts)
    assert (facts["state"], facts["job_id"]) == ("succeeded", "j1")
    assert seal.digest == seals.read([runs[0].pk])[runs[0].pk].digest


# --- what verification says

RUN, EVENT, CALL = "backups_backuprun", "backups_runevent", "backups_apicall"
SEAL, BATCH = "backups_run_seal", "backups_seal_batch"


def tamper(sql: str, *parameters: Any) -> None:
    """As the database's owner can, without triggers."""
    with guards_lifted(), connection.cursor() as cursor:
        cursor.execute(sql, parameters)


def result() -> Verification:
    asked = request_verification()
    assert run_verification(asked)
    return asked


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        (f"UPDATE {RUN} SET state = 'failed' WHERE id = %s", "differs from its seal: state"),
        (f"UPDATE {RUN} SET job_id = 'j9' WHERE id = %s", "differs from its seal: job_id"),
        (f"UPDATE {RUN} SET evidence = 'proven' WHERE id = %s", "differs from its seal: evidence"),
        (f"UPDATE {RUN} SET message = 'x' WHERE id = %s", "differs from its seal: a column"),
        (f"UPDATE {EVENT} SET note = 'x' WHERE run_id = %s", "differs from its seal: a column"),
        (f"UPDATE {CALL} SET status = 200 WHERE run_id = %s", "differs from its seal: a column"),
        (f"DELETE FROM {EVENT} WHERE run_id = %s", "lacks events or calls"),
        (f"DELETE FROM {CALL} WHERE run_id = %s", "lacks events or calls"),
        (f"DELETE FROM {RUN} WHERE id = %s", "is missing, and no retention run has deleted it"),
        (f"DELETE FROM {SEAL} WHERE run_id = %s", "its seal in event 1 is missing"),
        (f"UPDATE {SEAL} SET digest = 'x' WHERE run_id = %s", "do not match its root"),
        (f"UPDATE {SEAL} SET facts = '{{}}' WHERE run_id = %s", "do not match its root"),
        (f"UPDATE {SEAL} SET facts = 'x' WHERE run_id = %s", "do not match its root"),
        (f"UPDATE {SEAL} SET covers = '' WHERE run_id = %s", "differs from its seal"),
        (f"UPDATE {SEAL} SET covers = '[' WHERE run_id = %s", "differs from its seal"),
        (f"UPDATE {BATCH} SET event = 9 WHERE %s > 0", "the seals of event 1 are missing"),
        (f"UPDATE {BATCH} SET event = NULL WHERE %s > 0", "a batch of seals has no event"),
    ],
)
def test_what_was_changed_after_the_seal_is_named(project: Project, sql: str, words: str) -> None:
    run, other = ended(project), ended(project, 2)
    sealing.seal_pending()
    intact = result()
    assert (intact.result, intact.records, intact.pending) == ("intact", 2, 0)
    if sql.startswith(f"DELETE FROM {RUN}"):
        tamper(f"DELETE FROM {EVENT} WHERE run_id = %s", run.pk)
        tamper(f"DELETE FROM {CALL} WHERE run_id = %s", run.pk)
    tamper(sql, run.pk)
    done = result()
    assert (done.result, done.broken_at) == ("broken", None)
    assert words in done.problem
    assert f"run {other.pk} " not in done.problem
    with pytest.raises(CommandError, match="sealed records: ") as raised:
        call_command("audit_verify", stdout=StringIO())
    assert raised.value.returncode == 1


def test_a_run_that_was_flipped_before_its_seal_is_named(project: Project) -> None:
    run = ended(project)
    tamper(f"UPDATE {RUN} SET state = 'failed' WHERE id = %s", run.pk)
    sealing.seal_pending()
    assert f"run {run.pk} was changed between its end and its seal: state" in result().problem


def test_a_forged_run_has_no_seal_until_a_command_seals_it_as_existing(project: Project) -> None:
    run = ended(project)
    sealing.seal_pending()
    cluster = run.cluster
    forged = BackupRun.objects.create(
        cluster=cluster, project=project, state="succeeded", finished_at=OLD, requested_at=OLD
    )
    assert f"run {forged.pk} has ended and has no seal" in result().problem
    out = StringIO()
    call_command("seal_runs", stdout=out)
    assert out.getvalue() == "1 run that had ended without a seal is sealed now\n"
    event = AuditEvent.objects.get(sequence=2)
    assert event.details
    assert event.details["existing"] == 1
    assert result().result == "intact"
    assert RunSeal.objects.get(run_id=forged.pk).kind == "existing"


def test_what_waits_for_its_seal_for_over_a_minute_is_told(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    ended(project)
    done = result()
    assert (done.result, done.pending) == ("intact", 0)
    tamper(f"UPDATE {SEAL} SET made_at = %s", OLD)
    out = StringIO()
    call_command("audit_verify", stdout=out)
    assert "1 ended runs have been unsealed for over a minute" in out.getvalue()


def test_a_seal_survives_all_that_may_change(project: Project) -> None:
    """Masking, a deleted account, a call that finishes later, late events, a correction."""
    anna = User.objects.create_user("anna")
    run = ended(project, requested_by=anna)
    sealing.seal_pending()
    anna.delete()
    late = run.api_calls.get(purpose="records")
    late.finished_at, late.status = timezone.now(), 200
    late.save()
    RunEvent.objects.create(run=run, to_state="succeeded", note="joined")
    policy = RetentionPolicy(personal_days=1)
    door = retention.start(RetentionKind.PERSONAL, policy, actor=Actor.process("test"))
    assert door is not None
    assert retention.work(door)
    run.refresh_from_db()
    assert run.masked_by == door.told
    assert result().problem == ""


def test_a_corrected_run_is_sealed_again(project: Project) -> None:
    run = ended(project)
    sealing.seal_pending()
    event = record(Action.RUN_CORRECTED, actor=Actor.process("test"), target=run)
    changes = {"state": "failed", "corrected_from": "succeeded", "corrected_by": event.sequence}
    with guards_lifted():
        BackupRun.objects.filter(pk=run.pk).update(**changes)
    seals.pend(run, changes, RunSeal.Kind.CORRECTION)
    assert result().result == "intact", "still pending"
    sealing.seal_pending()
    assert result().problem == ""
    tamper(f"UPDATE {RUN} SET state = 'succeeded' WHERE id = %s", run.pk)
    assert f"run {run.pk} differs from its seal: state" in result().problem
    tamper(f"UPDATE {RUN} SET state = 'failed', corrected_by = 1 WHERE id = %s", run.pk)
    assert f"run {run.pk} was corrected, and no event says so" in result().problem


def test_what_retention_deletes_is_not_missing(project: Project) -> None:
    run = ended(project)
    tamper(f"UPDATE {RUN} SET finished_at = %s WHERE id = %s", OLD, run.pk)
    tamper(f"DELETE FROM {SEAL}")
    sealing.pend_existing()
    sealing.seal_pending()
    policy = RetentionPolicy(successes_days=1, audit_days=1)
    door = retention.start(RetentionKind.SUCCESSES, policy, actor=Actor.process("test"))
    assert door is not None
    assert retention.work(door)
    assert not BackupRun.objects.exists()
    assert result().problem == ""


def test_a_corrected_run_is_deleted_as_what_it_was_corrected_to(project: Project) -> None:
    """Successes are often kept for a shorter time than failures, and the first seal says failed."""
    run = ended(project)
    with guards_lifted():
        BackupRun.objects.filter(pk=run.pk).update(state="failed", finished_at=OLD)
    tamper(f"DELETE FROM {SEAL}")
    seals.pend_all(BackupRun.objects.all())
    sealing.seal_pending()
    event = record(Action.RUN_CORRECTED, actor=Actor.process("test"), target=run)
    changes = {"state": "succeeded", "corrected_from": "failed", "corrected_by": event.sequence}
    with guards_lifted():
        BackupRun.objects.filter(pk=run.pk).update(**changes)
    seals.pend(run, changes, RunSeal.Kind.CORRECTION)
    sealing.seal_pending()
    policy = RetentionPolicy(successes_days=1)
    door = retention.start(RetentionKind.SUCCESSES, policy, actor=Actor.process("test"))
    assert door is not None
    assert retention.work(door)
    assert not BackupRun.objects.exists()
    assert result().problem == ""


def test_retention_seals_what_is_pending_before_it_deletes(project: Project) -> None:
    run = ended(project)
    tamper(f"UPDATE {RUN} SET finished_at = %s WHERE id = %s", OLD, run.pk)
    tamper(f"DELETE FROM {SEAL}")
    sealing.pend_existing()
    policy = RetentionPolicy(successes_days=1)
    door = retention.start(RetentionKind.SUCCESSES, policy, actor=Actor.process("test"))
    assert door is not None
    assert retention.work(door)
    assert not BackupRun.objects.exists()
    assert result().problem == ""


def test_runs_are_held_against_seals_whose_event_retention_deleted(project: Project) -> None:
    run = ended(project)
    sealing.seal_pending()
    prune(timezone.now() + timedelta(seconds=1), actor=Actor.process("test"))
    assert not AuditEvent.objects.filter(action="runs_sealed").exists()
    done = result()
    assert (done.problem, done.records) == ("", 1)
    tamper(f"UPDATE {RUN} SET state = 'failed' WHERE id = %s", run.pk)
    assert f"run {run.pk} differs from its seal: state" in result().problem


def test_many_batches_are_read_in_parts(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "MOST", 2)
    monkeypatch.setattr(seal_check, "CHUNK", 2)
    runs = [ended(project, number) for number in range(1, 12)]
    assert sealing.seal_pending() == 11
    assert SealBatch.objects.count() == 6
    assert (result().problem, result().records) == ("", 11)
    tamper(f"UPDATE {RUN} SET state = 'failed' WHERE id = %s", runs[8].pk)
    assert result().problem == f"run {runs[8].pk} differs from its seal: state"


def test_both_databases_digest_alike(db: None) -> None:
    """A dump of one is loaded into the other, with times to the millisecond."""
    at = datetime(2030, 1, 31, 12, 0, 0, 123_999, tzinfo=UTC)
    project = Project.objects.create(pk=9001, cloud="otc", region="eu-de", project_id="p")
    cluster = Cluster.objects.create(pk=9001, project=project, cluster_id="c1", name="ö")
    run = BackupRun.objects.create(
        pk=9001, cluster=cluster, project=project, state="failed", requested_at=at, sent_at=at,
        finished_at=at, message="größer \U0001f600\t", http_status=200, step_uptime=0.1,
    )  # fmt: skip
    RunEvent.objects.create(pk=9001, run=run, at=at, to_state="failed", actor="anna")
    ApiCall.objects.create(
        pk=9001, run=run, attempt=1, method="GET", path="/", started_at=at, finished_at=at,
        retry_after=1.1, request_headers={"b": "ü", "a": ["1"]}, body_size=2**40,
    )  # fmt: skip
    ApiCall.objects.create(pk=9002, run=run, attempt=2, method="GET", path="/", started_at=at)
    found = seals.read([9001])[9001]
    assert found.digest == ("59feeac90e6cdc07d275c6c37c4f38c5ff8390e03a380dc884855875e2798032")


def test_the_daily_verification_reads_what_is_new(project: Project) -> None:
    old = ended(project)
    sealing.seal_pending()
    assert result().complete
    new = ended(project, 2)
    sealing.seal_pending()
    asked = request_verification()
    assert run_verification(asked, complete=False)
    # the last verified event is read again, because the others are only worth as much as it is
    assert (asked.result, asked.complete, asked.first, asked.records) == ("intact", False, 1, 1)
    tamper(f"UPDATE {RUN} SET message = 'x' WHERE id = %s", new.pk)
    tamper(f"DELETE FROM {EVENT} WHERE run_id = %s", old.pk)
    tamper(f"DELETE FROM {CALL} WHERE run_id = %s", old.pk)
    tamper(f"DELETE FROM {RUN} WHERE id = %s", old.pk)
    asked = request_verification()
    assert run_verification(asked, complete=False)
    assert f"run {old.pk} is missing" in asked.problem
    assert f"run {new.pk} " not in asked.problem, "sealed before the last verification"
    asked = request_verification()
    assert run_verification(asked, complete=False)
    assert asked.complete, "after a problem everything is read"


def test_every_column_of_a_run_is_sealed_or_may_change() -> None:
    may_change = {
        # masking, deleted accounts and runs
        *("requested_by_id", "requested_by_name", "source_ip", "masked_by", "conflict_run_id"),
        # the product's own bookkeeping
        *("version", "claimed_by", "claimed_at", "dispatched_at", "not_before", "step_uptime"),
        *("retry_conflict_until", "next_check_at", "records_readable_at", "readable_uptime"),
    }
    for model, sealed, others in (
        (BackupRun, seals.RUN_COLUMNS, may_change),
        (RunEvent, seals.EVENT_COLUMNS, {"run_id", "actor"}),
        (ApiCall, (*seals.REQUEST_COLUMNS, *seals.ANSWER_COLUMNS), {"run_id"}),
    ):
        columns = {field.attname for field in model._meta.concrete_fields}
        assert set(sealed) | others == columns
        assert not set(sealed) & others
