"""Batches: when items become runs, and what survives."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.http import QueryDict
from django.utils import timezone

from backups.choices import Cause, RunState, Trigger
from backups.models import BackupRun, Batch, BatchItem, Cluster, Project
from backups.services import rate
from backups.services.batches import starting
from backups.services.batches.making import make_batch
from backups.services.batches.progress import progress_of
from backups.services.batches.selecting import of_filter, of_rows
from backups.services.batches.starting import TOGETHER, advance, start_waiting
from backups.services.runs.requests import Requester, request_backup
from dashboard.accounts.models import Grant, User
from dashboard.audit.models import Action, AuditEvent
from tests.services.batches.batches import (
    VERIFIED,
    Make,
    asked_by,
    end,
    everything,
    states,
)


def test_items_become_runs_as_the_queue_has_room(
    anna: User, make_clusters: Make, settings: Any
) -> None:
    settings.BACKUP_BATCH_RATE = 10.0  # a queue of TOGETHER, a burst of 20
    make_clusters(60)
    batch = make_batch(everything(anna), asked_by(anna, reason="patch day")).batch
    assert start_waiting() == 20, "the bucket's burst"
    runs = BackupRun.objects.all()
    assert {(r.trigger, r.reason, r.requested_by, r.state) for r in runs} == {
        ("bulk", "patch day", anna, "queued")
    }
    assert AuditEvent.objects.filter(action=Action.RUN_REQUESTED).count() == 20
    started = start_waiting()
    assert 20 + started <= TOGETHER, "the rest waits until these are sent"
    assert states(batch)[:20] == ["started"] * 20


def test_a_reason_that_is_required_since_then_stops_no_batch(
    anna: User, make_clusters: Make, settings: Any
) -> None:
    make_clusters()
    batch = make_batch(everything(anna), asked_by(anna)).batch
    settings.BACKUP_REASON_REQUIRED = True
    assert advance() == 1
    assert states(batch) == ["started"]


def test_two_batches_of_a_project_advance_in_turn(
    anna: User, make_clusters: Make, settings: Any
) -> None:
    settings.BACKUP_BATCH_RATE = 5.0
    one, two = make_clusters(30), make_clusters(30)
    first = make_batch(of_rows([c.pk for c in one], anna), asked_by(anna)).batch
    second = make_batch(of_rows([c.pk for c in two], anna), asked_by(anna)).batch
    assert start_waiting() == 10
    assert [states(each).count("started") for each in (first, second)] == [5, 5]


def test_a_click_on_a_waiting_cluster_goes_first_and_the_item_joins(
    anna: User, make_clusters: Make
) -> None:
    active, verified, other = make_clusters(3)
    batch = make_batch(everything(anna), asked_by(anna)).batch
    clicks = [request_backup(each, Requester("ben", Trigger.BUTTON)) for each in (active, verified)]
    assert all(click.created for click in clicks)
    end(clicks[1].run, *VERIFIED)
    assert start_waiting() == 3
    found = {item.cluster: item for item in batch.items.select_related("run", "cluster")}
    assert found[active].run == clicks[0].run
    assert found[verified].run == clicks[1].run
    assert {found[each].cause for each in (active, verified)} == {Cause.JOINED}
    assert found[other].cause == Cause.NONE
    assert BackupRun.objects.count() == 3
    assert progress_of(batch, anna).joined == 2


def test_a_job_of_the_cloud_does_not_fulfil_a_batch(anna: User, make_clusters: Make) -> None:
    """Its times are those of the cloud's clock, which may be ahead."""
    (cluster,) = make_clusters(1)
    batch = make_batch(everything(anna), asked_by(anna)).batch
    later = timezone.now() + timedelta(minutes=5)
    BackupRun.objects.create(
        cluster=cluster,
        project=cluster.project,
        cluster_cloud_id=cluster.cluster_id,
        cluster_name=cluster.name,
        cloud=cluster.project.cloud,
        region=cluster.project.region,
        project_id_in_cloud=cluster.project.project_id,
        project_name=cluster.project.name,
        requested_by_name="the cloud's schedule",
        trigger=Trigger.CLOUD,
        state=RunState.SUCCEEDED,
        requested_at=later,
        finished_at=later,
        job_id="scheduled",
    )
    assert start_waiting() == 1
    assert batch.items.get().cause == Cause.NONE


def test_permission_is_looked_at_again_when_an_item_becomes_a_run(
    anna: User, make_clusters: Make
) -> None:
    make_clusters(3)
    batch = make_batch(everything(anna), asked_by(anna)).batch
    Grant.objects.filter(user=anna).delete()
    start_waiting()
    assert set(batch.items.values_list("state", "cause")) == {("skipped", "not_permitted")}
    assert not BackupRun.objects.exists()


@pytest.mark.parametrize("gone", ["deleted", "inactive"])
def test_an_account_that_is_gone_sends_nothing(anna: User, make_clusters: Make, gone: str) -> None:
    make_clusters(2)
    batch = make_batch(everything(anna), asked_by(anna)).batch
    if gone == "deleted":
        anna.delete()
    else:
        User.objects.filter(pk=anna.pk).update(is_active=False)
    start_waiting()
    assert set(batch.items.values_list("state", "cause")) == {("skipped", "not_permitted")}


def test_what_changed_meanwhile_is_skipped_with_its_cause(anna: User, make_clusters: Make) -> None:
    gone, archived, off, well = make_clusters(4)
    batch = make_batch(everything(anna), asked_by(anna)).batch
    now = timezone.now()
    Cluster.objects.filter(pk=gone.pk).update(gone_at=now)
    Cluster.objects.filter(pk=archived.pk).update(archived_at=now)
    Cluster.objects.filter(pk=off.pk).update(readiness="backup_off", checked_at=now)
    start_waiting()
    assert dict(batch.items.values_list("cluster", "cause")) == {
        gone.pk: "gone",
        archived.pk: "archived",
        off.pk: "backup_off",
        well.pk: "",
    }
    assert [run.cluster for run in BackupRun.objects.all()] == [well]


def test_a_command_without_an_account_needs_no_permission(make_clusters: Make) -> None:
    make_clusters(2)
    selection = of_filter(QueryDict(), None)[0]
    batch = make_batch(selection, Requester("root (command line)", Trigger.CLI)).batch
    start_waiting()
    assert states(batch) == ["started", "started"]


@pytest.mark.django_db(transaction=True)
def test_a_start_that_dies_half_way_leaves_nothing_and_is_done_again(
    anna: User, make_clusters: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clusters(3)
    batch = make_batch(everything(anna), asked_by(anna)).batch

    def die(*args: object) -> None:
        raise SystemExit("the machine stops")

    with monkeypatch.context() as context:
        context.setattr(BatchItem.objects, "bulk_update", die)
        with pytest.raises(SystemExit):
            start_waiting()
    assert not BackupRun.objects.exists()
    assert states(batch) == ["waiting"] * 3
    assert start_waiting() == 3
    assert start_waiting() == 0
    assert BackupRun.objects.count() == 3


def test_a_batch_that_cannot_go_on_does_not_hold_up_another(
    anna: User, make_clusters: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clusters(2)
    first = make_batch(everything(anna), asked_by(anna)).batch
    Cluster.objects.create(project=Project.objects.get(), cluster_id="later", name="later")
    second = make_batch(everything(anna), asked_by(anna)).batch
    settle = starting._settle

    def fail(batch: Batch, items: list[BatchItem]) -> None:
        if batch == first:
            raise RuntimeError("a fault in the code")
        settle(batch, items)

    monkeypatch.setattr(starting, "_settle", fail)
    assert start_waiting() == 3
    assert states(first) == ["waiting"] * 2
    assert states(second) == ["started"] * 3


def test_without_redis_nothing_is_started_and_nothing_is_lost(
    anna: User, make_clusters: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dashboard.celery import app

    make_clusters(2)
    batch = make_batch(everything(anna), asked_by(anna)).batch
    nowhere = app.connection_for_write("redis://127.0.0.1:1/0")
    with monkeypatch.context() as context:
        context.setattr(app, "connection_for_write", lambda *args, **options: nowhere)
        assert start_waiting() == 0
    rate.close()
    assert states(batch) == ["waiting"] * 2
    assert start_waiting() == 2
