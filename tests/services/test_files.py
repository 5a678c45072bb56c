"""After a verified run its files are looked for in the bucket, as a step of its own."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from backups.choices import Readiness, RunState
from backups.models import (
    BackupRun,
    Cluster,
    Connection,
    FileCheck,
    RetentionKind,
    RetentionPolicy,
    SeenFile,
)
from backups.services import retention
from backups.services.clusters import checks, readiness
from backups.services.runs import files, following, sealing, sending
from dashboard.audit.models import Action, AuditEvent
from dashboard.audit.trail import Actor
from dashboard.audit.verification import request_verification, run_verification
from simulator.client import SimulatorControl
from tests.audit_guards import guards_lifted

BUCKET = "simulated-log-bucket"
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _on(settings) -> None:
    settings.FILE_CHECKS = True


@pytest.fixture
def verified(make_run, cloud: SimulatorControl):
    """A run that has been verified and sealed."""

    def make(cluster: Cluster) -> BackupRun:
        run = make_run(cluster)
        sending.send_run(run.pk)
        cloud.end_jobs(cluster.cluster_id)
        following.follow_run(run.pk)
        run.refresh_from_db()
        assert run.run_state is RunState.SUCCEEDED
        sealing.seal_pending()
        return run

    return make


def looked(run: BackupRun, times: int = 1) -> FileCheck:
    """The check of a run's files after so many looks, each of them due."""
    for _time in range(times):
        FileCheck.objects.filter(run=run, checked_at=None).update(due_at=timezone.now())
        files.check_files(files.due_for_files(10))
    return FileCheck.objects.get(run=run)


def test_the_files_of_a_run_are_seen_stored_and_recorded(
    verified, make_cluster, cloud: SimulatorControl
) -> None:
    cluster = make_cluster()
    run = verified(cluster)
    assert files.due_for_files(10) == []  # not before the first pause
    check = looked(run)
    assert (check.result, check.files, check.size, check.why) == ("seen", 4, 10_000, "")
    assert (check.bucket, check.due_at) == (BUCKET, None)
    assert check.prefix == f"css/log/{cluster.cluster_id[:8]}/"
    seen = list(run.seen_files.all())
    assert {each.name.rpartition("/")[2].removeprefix(cluster.name) for each in seen} == {
        ".log",
        "_index_search_slowlog.log",
        "_index_indexing_slowlog.log",
        "_deprecation.log",
    }
    assert check.newest_at == max(each.modified_at for each in seen)
    event = AuditEvent.objects.get(sequence=check.event)
    assert (event.action, event.target_id) == (Action.RUN_FILES_CHECKED, str(run.pk))
    assert event.details["digest"] == check.digest == files.digest_of(check.__dict__, seen)
    before = run.version, run.finished_at
    run.refresh_from_db()
    assert (run.version, run.finished_at) == before
    assert looked(run) == check
    assert AuditEvent.objects.filter(action=Action.RUN_FILES_CHECKED).count() == 1
    asked = [entry for entry in cloud.ledger() if entry.endpoint == "objects"]
    assert len(asked) == 1


def test_files_that_are_listed_late_are_looked_for_again(
    verified, make_cluster, cloud: SimulatorControl
) -> None:
    cluster = make_cluster(files_late=3600)
    run = verified(cluster)
    pending = looked(run)
    assert (pending.result, pending.attempts) == ("", 1)
    assert pending.due_at is not None
    cloud.change_cluster(cluster.cluster_id, files_late=0)
    assert looked(run).result == "seen"


def test_nothing_new_is_a_fact_and_no_failure(verified, make_cluster) -> None:
    run = verified(make_cluster(files=0))
    check = looked(run, files.LOOKS)
    assert (check.result, check.files, check.size, check.problem) == ("nothing", 0, 0, "")
    run.refresh_from_db()
    assert run.run_state is RunState.SUCCEEDED


def test_files_of_an_earlier_time_or_run_do_not_count(
    verified, make_cluster, cloud: SimulatorControl
) -> None:
    cluster = make_cluster(files=1)
    old = f"css/log/{cluster.cluster_id[:8]}/{cluster.name}.log"
    cloud.add_objects(BUCKET, old, age=3600)
    first = verified(cluster)
    assert looked(first).files == 1
    assert looked(verified(cluster)).files == 1
    names = list(SeenFile.objects.values_list("name", "modified_at"))
    assert len(set(names)) == 2


@pytest.mark.parametrize("named_alike", [False, True])
def test_two_clusters_with_one_prefix(
    verified, make_cluster, cloud: SimulatorControl, named_alike: bool
) -> None:
    one, other = make_cluster(base_path="shared"), make_cluster(base_path="shared")
    if named_alike:
        Cluster.objects.filter(pk=other.pk).update(name=one.name)
    for each in (one, other):
        readiness.check_cluster(each.pk)
    run, foreign = verified(one), verified(other)
    found = looked(run, files.LOOKS)
    if named_alike:
        assert (found.result, found.files) == ("unattributed", 0)
        assert found.why.startswith("Shared prefix: not attributable")
        return
    assert (found.result, found.files, found.why) == ("seen", 4, "")
    assert looked(foreign).files == 4
    assert all(each.name.rpartition("/")[2].startswith(one.name) for each in run.seen_files.all())


def test_files_of_other_names_are_not_credited(
    verified, make_cluster, cloud: SimulatorControl
) -> None:
    cluster = make_cluster(files=0)
    run = verified(cluster)
    cloud.add_objects(BUCKET, f"css/log/{cluster.cluster_id[:8]}/elsewhere.log")
    check = looked(run, files.LOOKS)
    assert (check.result, check.files) == ("unattributed", 0)
    assert "not named after the cluster" in check.why


@pytest.mark.parametrize(
    ("refusal", "problem", "ready"),
    [
        ("denied", "denied", Readiness.READY),
        ("missing", "no_bucket", Readiness.STORAGE_MISSING),
        ("moved", "other_region", Readiness.READY),
    ],
)
def test_a_problem_of_the_storage_is_said_and_shown_with_the_readiness(
    verified,
    make_cluster,
    cloud: SimulatorControl,
    refusal: str,
    problem: str,
    ready: Readiness,
) -> None:
    cluster = make_cluster()
    run = verified(cluster)
    readiness.check_cluster(cluster.pk)
    cloud.refuse_bucket(BUCKET, refusal)
    check = looked(run)
    assert (check.result, check.problem, check.files) == ("not_checked", problem, None)
    assert BUCKET in check.why
    assert checks.claim() == [cluster.pk]
    readiness.check_cluster(cluster.pk)
    cluster.refresh_from_db()
    assert cluster.readiness == ready
    assert check.why in cluster.check_error
    cloud.refuse_bucket(BUCKET, "")
    assert looked(verified(cluster)).result == "seen"
    readiness.check_cluster(cluster.pk)
    cluster.refresh_from_db()
    assert (cluster.readiness, cluster.check_error) == (Readiness.READY, "")


def test_a_failing_storage_is_tried_again_and_given_up(
    verified, make_cluster, cloud: SimulatorControl
) -> None:
    run = verified(make_cluster())
    cloud.refuse_bucket(BUCKET, "busy")
    assert looked(run, len(files.PAUSES)).result == ""
    check = looked(run)
    assert (check.result, check.problem) == ("not_checked", "failing")
    assert "503 SlowDown" in check.why


def test_an_error_of_our_own_ends_as_well(
    verified, make_cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = verified(make_cluster())
    monkeypatch.setattr(files, "storage_for", lambda run: None)
    assert looked(run, len(files.PAUSES) + 1).why.startswith("An error in the dashboard")


@pytest.mark.parametrize("when", ["for all", "before", "meanwhile", "disconnected"])
def test_it_can_be_switched_off(
    verified, make_cluster, cloud: SimulatorControl, settings, when: str
) -> None:
    cluster = make_cluster()
    project = cluster.project
    row = Connection.objects.create(cloud=project.cloud, region=project.region, project=project)
    if when == "for all":
        settings.FILE_CHECKS = False
    row.file_checks = when != "before"
    row.save()
    run = verified(cluster)
    if when in ("for all", "before"):
        assert not FileCheck.objects.exists()
        return
    if when == "meanwhile":
        row.file_checks = False
    else:
        row.disconnected_at = timezone.now()
    row.save()
    check = looked(run)
    assert (check.result, check.files) == ("not_checked", None)
    assert not [entry for entry in cloud.ledger() if entry.endpoint == "objects"]


def test_old_runs_are_not_checked(verified, make_cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LATEST", timedelta(0))
    verified(make_cluster())
    assert not FileCheck.objects.exists()


def test_a_place_that_cannot_be_one_ends_at_once(
    verified, make_cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = verified(make_cluster())
    monkeypatch.setattr(files, "_place", lambda run: ("b" * 1000, "p" * 1025))
    check = looked(run)
    assert (check.result, check.problem) == ("not_checked", "no_place")
    assert (len(check.bucket), len(check.prefix)) == (255, 1024)


def test_a_problem_is_forgotten_with_the_switch(verified, make_cluster, cloud) -> None:
    cluster = make_cluster()
    run = verified(cluster)
    cloud.refuse_bucket(BUCKET, "missing")
    looked(run)
    assert files.lasting_problem(cluster.pk) is not None
    Connection.objects.create(cloud=run.cloud, region=run.region, file_checks=False)
    assert files.lasting_problem(cluster.pk) is None


def test_retention_deletes_a_run_with_its_files(verified, make_cluster) -> None:
    run = verified(make_cluster())
    looked(run)
    past = timezone.now() - timedelta(days=40)
    with guards_lifted():
        BackupRun.objects.filter(pk=run.pk).update(
            finished_at=past, requested_at=past, job_finished_at=past
        )
    retention.change(
        {**RetentionPolicy(pk=1).as_dict(), "successes_days": 10}, actor=Actor.process("test")
    )
    started = retention.start(
        RetentionKind.SUCCESSES, RetentionPolicy.objects.get(), actor=Actor.process("test")
    )
    assert started is not None
    retention.work(started)
    assert not BackupRun.objects.exists()
    assert not FileCheck.objects.exists()
    assert not SeenFile.objects.exists()


def refused(sql: str, *parameters: object) -> bool:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql, parameters)
    except DatabaseError as error:
        return "does not change" in str(error)
    return False


def test_the_database_keeps_a_concluded_check_and_its_files(verified, make_cluster) -> None:
    cluster = make_cluster()
    run = verified(cluster)
    conclude = "UPDATE backups_file_check SET checked_at = due_at, digest = %s, event = %s"
    event = AuditEvent.objects.order_by("-sequence").first()
    assert event is not None
    assert refused(conclude, "a" * 64, event.sequence)
    assert refused("UPDATE backups_file_check SET result = 'seen'")
    assert refused("DELETE FROM backups_file_check")
    check = looked(run)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:  # otherwise TRUNCATE is refused for another reason
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for sql in (
        "UPDATE backups_file_check SET files = 5",
        "UPDATE backups_file_check SET checked_at = NULL",
        "DELETE FROM backups_file_check",
        "UPDATE backups_seen_file SET size = 1",
        "DELETE FROM backups_seen_file",
        "INSERT INTO backups_seen_file (run_id, name, size, etag, modified_at)"
        " SELECT run_id, 'x', 1, '', modified_at FROM backups_seen_file",
        *(
            ["TRUNCATE backups_seen_file", "TRUNCATE backups_file_check"]
            if connection.vendor == "postgresql"
            else [
                "REPLACE INTO backups_file_check (id, run_id, attempts, result, why, problem,"
                f" bucket, prefix, digest) VALUES (99, {run.pk}, 0, '', '', '', '', '', '')"
            ]
        ),
    ):
        assert refused(sql), sql
    assert check == FileCheck.objects.get()
    second = BackupRun.objects.create(
        cluster=cluster,
        project=cluster.project,
        cluster_cloud_id=cluster.cluster_id,
        cluster_name=cluster.name,
        trigger="button",
        idempotency_key=uuid.uuid4().hex,
    )
    with pytest.raises(DatabaseError, match="does not change"), transaction.atomic():
        FileCheck.objects.create(run=second, result="seen", checked_at=timezone.now())


def test_verification_holds_files_against_the_audit_trail(verified, make_cluster) -> None:
    run = verified(make_cluster())
    looked(run)
    asked = request_verification()
    assert run_verification(asked)
    assert asked.result == "intact", asked.problem
    with guards_lifted(), connection.cursor() as cursor:
        cursor.execute("UPDATE backups_seen_file SET size = size + 1")
    asked = request_verification()
    assert run_verification(asked)
    assert f"run {run.pk}" in asked.problem
    assert "files" in asked.problem
