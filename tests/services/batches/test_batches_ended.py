"""Batches: their end, cancelling, retries, and who sees them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backups.choices import Cause, RunState, Trigger
from backups.models import BackupRun, Batch, Cluster, Project
from backups.services.batches import starting
from backups.services.batches.making import BatchProblem, cancel_batch, make_batch, retry_batch
from backups.services.batches.progress import progress_of
from backups.services.batches.starting import advance, end_batches, start_waiting
from backups.services.runs.requests import Requester, request_backup
from dashboard.accounts.access import Role, RoleRequired
from dashboard.accounts.models import User
from dashboard.audit.models import Action, AuditEvent
from dashboard.audit.trail import Actor
from tests.grants import give
from tests.services.batches.batches import (
    REFUSED,
    VERIFIED,
    Make,
    asked_by,
    end,
    everything,
    states,
)


def test_a_batch_ends_with_its_last_run(anna: User, make_clusters: Make) -> None:
    make_clusters(2)
    batch = make_batch(everything(anna), asked_by(anna)).batch
    advance()
    one, two = BackupRun.objects.order_by("pk")
    end(one, *VERIFIED)
    assert end_batches() == 0
    end(two, *REFUSED, outcome="conflict", error_code="CSS.0011")
    assert end_batches() == 1
    batch.refresh_from_db()
    assert batch.finished_at is not None
    found = progress_of(batch, anna)
    assert (found.total, found.done, found.percent) == (2, 2, 100)
    assert (found.verified, found.failed) == (1, 1)
    [refusal] = found.refusals
    assert (refusal.run, refusal.count) == (two, 1)
    assert found.left is None


def test_a_batch_that_cannot_be_ended_holds_up_no_other(
    anna: User, make_clusters: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clusters(1)
    broken, sound = (make_batch(everything(anna), asked_by(anna)).batch for _ in range(2))
    for batch in (broken, sound):
        batch.items.update(state="cancelled")
    told = starting._announce_end

    def announce_end(batch: Batch) -> None:
        if batch.pk == broken.pk:
            raise ValueError("figures that do not add up")
        told(batch)

    monkeypatch.setattr(starting, "is_subscribed", lambda kind: True)
    with monkeypatch.context() as context:
        context.setattr(starting, "_announce_end", announce_end)
        assert end_batches() == 1
    assert list(Batch.objects.open()) == [broken]
    assert end_batches() == 1, "once it can be"


def test_cancelling_is_one_update_and_takes_back_what_is_queued(
    anna: User, make_clusters: Make, settings: Any
) -> None:
    settings.BACKUP_BATCH_RATE = 2.0
    make_clusters(10)
    batch = make_batch(everything(anna), asked_by(anna)).batch
    start_waiting()
    sent, queued, *more = BackupRun.objects.order_by("pk")
    end(sent, RunState.SENDING)
    with CaptureQueriesContext(connection) as captured:
        count = cancel_batch(batch, anna, actor=Actor("anna", anna))
    updates = [
        q for q in captured.captured_queries if q["sql"].startswith('UPDATE "backups_batchitem"')
    ]
    assert len(updates) == 1
    assert count == 9
    sent.refresh_from_db()
    queued.refresh_from_db()
    assert (sent.state, queued.state) == ("sending", "cancelled")
    assert set(states(batch)[1 + len(more) + 1 :]) == {"cancelled"}
    batch.refresh_from_db()
    assert batch.cancelled_by_name == "anna"
    event = AuditEvent.objects.get(action=Action.BATCH_CANCELLED)
    assert event.details == {"clusters": 10 - 2 - len(more)}
    assert start_waiting() == 0
    end(sent, RunState.REJECTED, outcome="conflict")
    assert end_batches() == 1
    with pytest.raises(BatchProblem, match="Nothing of this batch is waiting"):
        cancel_batch(batch, anna, actor=Actor("anna", anna))


def test_cancelling_leaves_projects_where_one_may_not(
    anna: User, project: Project, make_clusters: Make
) -> None:
    other = Project.objects.create(cloud="otc", project_id="another")
    make_clusters(1)
    make_clusters(1, project=other)
    batch = make_batch(everything(anna), asked_by(anna)).batch
    ops = give(User.objects.create_user("ops"), Role.OPERATOR, project=project)
    eve = give(User.objects.create_user("eve"), Role.VIEWER)
    with pytest.raises(RoleRequired):
        cancel_batch(batch, eve, actor=Actor("eve", eve))
    assert cancel_batch(batch, ops, actor=Actor("ops", ops)) == 1
    assert dict(batch.items.values_list("project", "state")) == {
        project.pk: "cancelled",
        other.pk: "waiting",
    }
    assert progress_of(batch, ops).total == 1, "one counts what one sees"


def test_the_failed_are_requested_again_as_a_linked_batch(anna: User, make_clusters: Make) -> None:
    make_clusters(3)
    batch = make_batch(everything(anna), asked_by(anna)).batch
    start_waiting()
    verified, failed, mended = BackupRun.objects.order_by("pk")
    end(verified, *VERIFIED)
    end(failed, *REFUSED, outcome="throttled")
    end(mended, *REFUSED, outcome="conflict")
    later = timezone.now() + timedelta(seconds=1)
    Cluster.objects.filter(pk=mended.cluster_id).update(verified_at=later)
    again = retry_batch(batch, asked_by(anna), idempotency_key="r" * 16).batch
    assert again.retry_of == batch
    assert [item.cluster for item in again.items.all()] == [failed.cluster]
    assert retry_batch(batch, asked_by(anna), idempotency_key="r" * 16).batch == again
    details = AuditEvent.objects.filter(action=Action.BATCH_REQUESTED).latest("sequence").details
    assert details is not None
    assert details["retry_of"] == batch.pk


def test_a_batch_is_seen_by_those_who_see_one_of_its_clusters(
    anna: User, project: Project, make_clusters: Make
) -> None:
    other = Project.objects.create(cloud="otc", project_id="not-in-it")
    make_clusters(1)
    batch = make_batch(everything(anna), asked_by(anna)).batch
    here = give(User.objects.create_user("here"), Role.VIEWER, project=project)
    there = give(User.objects.create_user("there"), Role.VIEWER, project=other)
    assert list(Batch.objects.visible_to(here)) == [batch]
    assert not Batch.objects.visible_to(there).exists()
    assert list(Batch.objects.visible_to(anna)) == [batch]


@pytest.mark.django_db(transaction=True)
def test_a_cluster_that_is_requested_at_the_same_moment_is_joined_by_the_next_tick(
    anna: User, make_clusters: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backups.services.runs import requests as service

    [cluster] = make_clusters(1)
    batch = make_batch(everything(anna), asked_by(anna)).batch
    usual = BackupRun.objects.bulk_create

    def late(*args: Any, **options: Any) -> Any:
        """The other request is stored after this one has looked for it."""
        service._run(cluster, Requester("ben", Trigger.BUTTON), None, timezone.now(), 0).save()
        return usual(*args, **options)

    with monkeypatch.context() as context:
        context.setattr(BackupRun.objects, "bulk_create", late)
        assert start_waiting() == 0
    assert states(batch) == ["waiting"]
    with transaction.atomic():
        made = request_backup(cluster, Requester("ben", Trigger.BUTTON))
    assert start_waiting() == 1
    item = batch.items.get()
    assert (item.run, item.cause) == (made.run, Cause.JOINED)


def test_the_ticker_has_waiting_items_started_and_ends_what_is_done(
    anna: User, make_clusters: Make, monkeypatch: pytest.MonkeyPatch
) -> None:

    published: list[str] = []
    monkeypatch.setattr(starting, "dispatch_batches", lambda: published.append("start_batches"))
    starting.look_after()
    assert not published, "without a batch nothing is published"
    make_clusters(1)
    batch = make_batch(everything(anna), asked_by(anna)).batch
    starting.look_after()
    assert published == ["start_batches"]
    start_waiting()
    end(BackupRun.objects.get(), *VERIFIED)
    starting.look_after()
    batch.refresh_from_db()
    assert (published, batch.finished_at is not None) == (["start_batches"], True)
