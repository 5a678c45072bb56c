"""What is older than the policy says goes: as previewed, on record, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backups.choices import TERMINAL, RunState, Trigger
from backups.models import (
    ApiCall,
    BackupRun,
    Export,
    Firing,
    RetentionKind,
    RetentionPolicy,
    RetentionRun,
    RunEvent,
    Schedule,
)
from backups.services import retention
from dashboard.accounts.models import User
from dashboard.audit import trail, verification
from dashboard.audit.models import AuditEvent
from dashboard.audit.trail import Action, Actor
from tests.services.cloud_jobs import check, imported, job, keep, read

NOW = timezone.now()
ANNA = Actor("anna")


def days(**values: int) -> dict[str, int | None]:
    return {f"{kind.value}_days": values.get(kind.value) for kind in RetentionKind}


def policy(**values: int) -> RetentionPolicy:
    retention.change(days(**values), actor=ANNA)
    return RetentionPolicy.current()


def ended(cluster: Any, state: str, age: float, **columns: Any) -> BackupRun:
    """A run of so many days ago, with an event and a call."""
    at = NOW - timedelta(days=age)
    run = BackupRun.objects.create(
        cluster=cluster,
        project=cluster.project,
        cluster_name=cluster.name,
        state=state,
        requested_at=at,
        finished_at=at,
        requested_by_name="anna",
        source_ip="192.0.2.7",
        trigger=columns.pop("trigger", Trigger.BUTTON),
        **columns,
    )
    RunEvent.objects.create(run=run, at=at, to_state=state, actor="anna")
    RunEvent.objects.create(run=run, at=at, to_state=state, actor="host:12:0badcafe")
    ApiCall.objects.create(
        run=run,
        attempt=1,
        purpose="collect",
        method="POST",
        path="/",
        started_at=at,
        finished_at=at,
    )
    return run


def run_all(kinds: tuple[RetentionKind, ...] = retention.ORDER) -> list[RetentionRun]:
    current, done = RetentionPolicy.current(), []
    for kind in kinds:
        run = retention.start(kind, current, actor=ANNA)
        if run is not None:
            assert retention.work(run)
            run.refresh_from_db()
            done.append(run)
    return done


def test_without_a_policy_nothing_goes(make_cluster):
    ended(make_cluster(), RunState.SUCCEEDED, 10_000)
    assert [found.count for found in retention.preview(RetentionPolicy.current())] == [0] * 4
    assert run_all() == []
    assert retention.run_due() == 0
    assert BackupRun.objects.count() == 1


def test_each_class_has_its_own_time(make_cluster):
    cluster = make_cluster()
    for state in TERMINAL:
        for age in (5, 15, 25):
            ended(cluster, state, age)
    current = policy(successes=10, failures=20)
    previewed = {found.kind: found.count for found in retention.preview(current)}
    assert previewed == {
        RetentionKind.SUCCESSES: 2,
        RetentionKind.FAILURES: 5,
        RetentionKind.AUDIT: 0,
        RetentionKind.PERSONAL: 0,
    }
    done = {run.kind: run.done for run in run_all()}
    assert done == {"successes": 2, "failures": 5}
    left = {state: BackupRun.objects.filter(state=state).count() for state in TERMINAL}
    assert left.pop(RunState.SUCCEEDED) == 1
    assert set(left.values()) == {2}
    assert RunEvent.objects.count() == 2 * BackupRun.objects.count()
    assert ApiCall.objects.count() == BackupRun.objects.count()
    assert run_all() == [], "nothing is left to do, and nothing is put on record"


def test_it_is_announced_before_anything_goes(make_cluster):
    ended(make_cluster(), RunState.SUCCEEDED, 15)
    run = retention.start(RetentionKind.SUCCESSES, policy(successes=10), actor=ANNA)
    assert run is not None
    assert BackupRun.objects.count() == 1
    event = AuditEvent.objects.get(sequence=run.told)
    assert (event.action, event.actor_name) == (Action.RETENTION_RUN, "anna")
    assert event.details["class"] == "successes"
    assert (event.details["days"], event.details["about"]) == (10, "1")
    assert retention.start(RetentionKind.SUCCESSES, RetentionPolicy.current(), actor=ANNA) is None
    assert retention.work(run)
    assert not retention.work(run), "done is done"


def test_one_that_was_interrupted_is_continued(make_cluster, monkeypatch):
    monkeypatch.setattr(retention, "CHUNK", 2)
    cluster = make_cluster()
    for age in range(11, 18):
        ended(cluster, RunState.SUCCEEDED, age)
    run = retention.start(RetentionKind.SUCCESSES, policy(successes=10), actor=ANNA)
    deletable, asked = retention._deletable, []

    def dies(*arguments: Any) -> Any:
        asked.append(arguments)
        if len(asked) > 2:
            raise KeyboardInterrupt
        return deletable(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(retention, "_deletable", dies)
        with pytest.raises(KeyboardInterrupt):
            retention.work(run)
    run.refresh_from_db()
    assert (run.done, run.finished_at, BackupRun.objects.count()) == (4, None, 3)
    assert retention.run_due() == 0, "its process may be alive"
    RetentionRun.objects.update(changed_at=timezone.now() - RetentionRun.LOST_AFTER * 1.1)
    assert retention.run_due() == 1
    run.refresh_from_db()
    assert (run.done, BackupRun.objects.count()) == (7, 0)
    assert run.finished_at is not None


def test_who_was_overtaken_stops(make_cluster, monkeypatch):
    monkeypatch.setattr(retention, "CHUNK", 1)
    cluster = make_cluster()
    for age in (11, 12, 13):
        ended(cluster, RunState.SUCCEEDED, age)
    run = retention.start(RetentionKind.SUCCESSES, policy(successes=10), actor=ANNA)
    deletable = retention._deletable

    def overtaken(*arguments: Any) -> Any:
        if BackupRun.objects.count() == 2:
            RetentionRun.objects.update(claimed_by="somebody else")
        return deletable(*arguments)

    monkeypatch.setattr(retention, "_deletable", overtaken)
    assert not retention.work(run)
    assert BackupRun.objects.count() == 2
    run.refresh_from_db()
    assert run.finished_at is None


def test_what_is_under_way_stays_with_its_neighbours(make_cluster):
    """A run that is not settled may look among jobs of that time: theirs stay taken."""
    cluster, other = make_cluster(), make_cluster()
    old = NOW - timedelta(days=30)
    BackupRun.objects.create(
        cluster=cluster, project=cluster.project, state=RunState.UNKNOWN, requested_at=old,
        trigger=Trigger.BUTTON,
    )  # fmt: skip
    ended(cluster, RunState.SUCCEEDED, 30)
    ended(other, RunState.SUCCEEDED, 30)
    policy(successes=10, failures=10)
    assert [run.done for run in run_all()] == [1]
    assert set(BackupRun.objects.values_list("cluster", flat=True)) == {cluster.pk}


def test_the_protection_of_a_cluster_does_not_change(make_cluster):
    cluster = make_cluster()
    ended(cluster, RunState.SUCCEEDED, 15)
    at = NOW - timedelta(days=15)
    type(cluster).objects.filter(pk=cluster.pk).update(verified_at=at)
    policy(successes=10)
    run_all()
    cluster.refresh_from_db()
    assert cluster.verified_at == at


def test_a_run_that_named_another_as_its_conflict_outlives_it(make_cluster):
    cluster = make_cluster()
    gone = ended(cluster, RunState.SUCCEEDED, 15)
    kept = ended(cluster, RunState.REJECTED, 5, conflict_run=gone)
    policy(successes=10)
    run_all()
    kept.refresh_from_db()
    assert kept.conflict_run is None


def test_a_job_that_the_cloud_still_lists_does_not_come_back(make_cluster, cloud):
    cluster = make_cluster()
    job(cloud, cluster)
    job(cloud, cluster, failed="no bucket")
    check(cluster)
    records = read(cluster)
    assert len(imported(cluster)) == 2
    old = timezone.now() - timedelta(days=30)
    aged = [replace(record, created_at=old, finished_at=old) for record in records]
    with_old_jobs = make_cluster()
    assert keep(with_old_jobs, aged) == 2
    with_old_jobs.refresh_from_db()
    type(with_old_jobs).objects.filter(pk=with_old_jobs.pk).update(verified_at=None)
    policy(successes=10)
    assert [run.done for run in run_all()] == [1]
    assert keep(with_old_jobs, aged) == 0
    assert [run.state for run in imported(with_old_jobs)] == [RunState.FAILED]
    with_old_jobs.refresh_from_db()
    assert with_old_jobs.verified_at == old, "it is known all the same that there was one"


def test_names_and_addresses_are_masked(make_cluster):
    cluster, anna = make_cluster(), User.objects.create_user("anna")
    old = ended(cluster, RunState.FAILED, 15, requested_by=anna, reason="upgrade")
    young = ended(cluster, RunState.FAILED, 5, requested_by=anna)
    clouds = ended(cluster, RunState.SUCCEEDED, 15, trigger=Trigger.CLOUD)
    export = Export.objects.create(
        owner=anna, owner_name="anna", format="csv", requested_before=NOW, finished_at=NOW
    )
    Export.objects.filter(pk=export.pk).update(started_at=NOW - timedelta(days=15))
    deleted = Schedule.objects.create(
        name="nightly", cron="30 2 * * *", owner=anna, owner_name="anna", is_on=False,
        deleted_at=NOW - timedelta(days=15),
    )  # fmt: skip
    kept = Schedule.objects.create(name="weekly", cron="@", owner=anna, owner_name="anna")
    for schedule, days_ago in ((deleted, 15), (kept, 5)):
        fired_at = NOW - timedelta(days=days_ago)
        Firing.objects.create(
            schedule=schedule, slot=fired_at, fired_at=fired_at, result="fired", by_name="anna"
        )
    current = policy(personal=10)
    assert {p.kind: p.count for p in retention.preview(current)}[RetentionKind.PERSONAL] == 1
    (run,) = run_all()
    assert run.done == 1
    old.refresh_from_db()
    assert (old.requested_by, old.requested_by_name, old.source_ip) == (None, "", None)
    assert (old.masked_by, old.reason) == (run.told, "upgrade")
    assert set(old.events.values_list("actor", flat=True)) == {"", "host:12:0badcafe"}
    for each in (young, clouds):
        each.refresh_from_db()
        assert (each.requested_by_name, each.masked_by) == ("anna", None)
    export.refresh_from_db()
    assert (export.owner, export.owner_name) == (None, "")
    owners = dict(Schedule.objects.values_list("name", "owner_name"))
    assert owners == {"nightly": "", "weekly": "anna"}
    names = dict(Firing.objects.values_list("schedule__name", "by_name"))
    assert names == {"nightly": "", "weekly": "anna"}
    assert run_all() == []


@pytest.mark.django_db
def test_masked_and_pruned_events_leave_the_chain_whole(monkeypatch):
    for number in range(3):
        retention.change(days(successes=number + 1), actor=Actor("anna", ip="192.0.2.7"))
    later = timezone.now() + timedelta(days=20)
    monkeypatch.setattr(timezone, "now", lambda: later)
    monkeypatch.setattr(trail, "now", lambda: later)
    policy(personal=10)
    (masked,) = run_all((RetentionKind.PERSONAL,))
    assert masked.done == 3
    assert not AuditEvent.objects.filter(actor_name="anna", at__lt=masked.cutoff).exists()
    policy(audit=15)
    (pruned,) = run_all((RetentionKind.AUDIT,))
    assert pruned.done == 3
    monkeypatch.undo()
    asked = verification.request_verification()
    assert verification.run_verification(asked)
    asked.refresh_from_db()
    assert (asked.result, asked.guards_missing) == ("intact", "")


def test_the_schedule_waits_between_two_of_a_kind(make_cluster, settings):
    cluster = make_cluster()
    policy(successes=10)
    ended(cluster, RunState.SUCCEEDED, 15)
    assert retention.run_due() == 1
    ended(cluster, RunState.SUCCEEDED, 15)
    assert retention.run_due() == 0
    settings.RETENTION_INTERVAL = 1e-9
    assert retention.run_due() == 1
    settings.RETENTION_INTERVAL = 0
    ended(cluster, RunState.SUCCEEDED, 15)
    assert retention.run_due() == 0
    told = AuditEvent.objects.get(sequence=RetentionRun.objects.latest("pk").told)
    assert told.actor_name == "retention"


def test_a_change_of_the_policy_is_on_record(make_cluster):
    assert retention.change(days(successes=30), actor=ANNA, reason="law")
    assert not retention.change(days(successes=30), actor=ANNA)
    event = AuditEvent.objects.latest("sequence")
    assert (event.action, event.reason) == (Action.RETENTION_CHANGED, "law")
    assert event.before["successes_days"] is None
    assert event.after["successes_days"] == 30


def test_a_preview_counts_no_further_than_it_says(make_cluster, monkeypatch):
    monkeypatch.setattr(retention, "MOST_COUNTED", 2)
    cluster = make_cluster()
    for age in (11, 12, 13):
        ended(cluster, RunState.FAILED, age)
    found = {p.kind: p for p in retention.preview(policy(failures=10))}[RetentionKind.FAILURES]
    assert (found.count, found.more) == (2, True)


def test_a_chunk_costs_as_many_queries_whatever_is_in_it(make_cluster):
    cluster, counts = make_cluster(), []
    current = policy(successes=10)
    for size in (2, 30):
        for _ in range(size):
            ended(cluster, RunState.SUCCEEDED, 15)
        run = retention.start(RetentionKind.SUCCESSES, current, actor=ANNA)
        with CaptureQueriesContext(connection) as captured:
            assert retention.work(run)
        counts.append(len(captured))
    assert counts[1] <= counts[0]


def test_the_command_previews_and_does(make_cluster, capsys):
    ended(make_cluster(), RunState.SUCCEEDED, 15)
    policy(successes=10)
    call_command("retention")
    assert "Verified runs" in (said := capsys.readouterr().out)
    assert "1" in said
    assert BackupRun.objects.count() == 1
    call_command("retention", "--run")
    assert BackupRun.objects.count() == 0
    assert "successes: 1" in capsys.readouterr().out
