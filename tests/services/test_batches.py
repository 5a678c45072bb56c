"""Batches: what is stored, when items become runs, and what survives."""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backups.choices import Cause, ItemState, RunState, Trigger, Work
from backups.models import BackupRun, Batch, BatchItem, Cluster, Connection, Project
from backups.services import rate
from backups.services.batches import selecting, starting
from backups.services.batches.making import (
    BatchKeyReused,
    BatchProblem,
    cancel_batch,
    make_batch,
    retry_batch,
)
from backups.services.batches.progress import progress_of
from backups.services.batches.selecting import of_filter, of_rows, preview
from backups.services.batches.starting import TOGETHER, advance, end_batches, start_waiting
from backups.services.clusters.manage import own_labels, set_labels
from backups.services.runs.requests import Requester, request_backup
from backups.services.runs.transitions import transition
from dashboard.accounts.access import Role, RoleRequired
from dashboard.accounts.models import Grant, User
from dashboard.audit.models import Action, AuditEvent
from dashboard.audit.trail import Actor
from tests.grants import give

_numbers = itertools.count(1)
Make = Callable[..., list[Cluster]]


@pytest.fixture(autouse=True)
def broker(redis_url: str, settings: Any) -> Iterator[None]:
    """An empty bucket list: every test has another project, and so another bucket."""
    settings.BACKUP_BATCH_RATE = 100.0
    rate.close()
    yield
    rate.close()


@pytest.fixture
def project(db: None) -> Project:
    return Project.objects.create(
        cloud="otc", region="eu-de", project_id=f"batches-{next(_numbers)}", name="shop"
    )


@pytest.fixture
def anna(project: Project) -> User:
    return give(User.objects.create_user(f"anna-{next(_numbers)}"), Role.OPERATOR)


@pytest.fixture
def make_clusters(project: Project) -> Make:
    def make(count: int = 1, **columns: Any) -> list[Cluster]:
        values = {"project": project, "status": "200", "readiness": "ready"} | columns
        rows = [
            Cluster(cluster_id=f"id-{number}", name=f"cluster-{number}", **values)
            for number in itertools.islice(_numbers, count)
        ]
        return Cluster.objects.bulk_create(rows)

    return make


def asked_by(user: User, **more: Any) -> Requester:
    return Requester(user.get_username(), Trigger.BULK, user=user, **more)


def everything(user: User) -> selecting.Selection:
    return of_filter(QueryDict(), user)[0]


def states(batch: Batch) -> list[str]:
    return list(batch.items.order_by("pk").values_list("state", flat=True))


def end(run: BackupRun, *steps: RunState, **columns: Any) -> None:
    for step in steps:
        if run.run_state is RunState.QUEUED and step is RunState.SENDING:
            BackupRun.objects.filter(pk=run.pk).update(state=step, sent_at=timezone.now())
            run.refresh_from_db()
        else:
            assert transition(run, step, actor="test", **columns)


VERIFIED = (RunState.SENDING, RunState.ACCEPTED, RunState.SUCCEEDED)
REFUSED = (RunState.SENDING, RunState.REJECTED)


# --- what would be done --------------------------------------------------------------------------


def test_a_preview_groups_what_is_left_out_by_cause(
    anna: User, project: Project, make_clusters: Make
) -> None:
    now = timezone.now()
    make_clusters(3)
    make_clusters(2, readiness="backup_off", checked_at=now)
    make_clusters(1, readiness="backup_off", checked_at=now - timedelta(hours=1))  # too old
    make_clusters(1, readiness="busy", checked_at=now)
    [running] = make_clusters()
    request_backup(running, asked_by(anna))
    make_clusters(1, gone_at=now)
    make_clusters(1, archived_at=now)
    away = Project.objects.create(cloud="away", project_id="away")
    Connection.objects.create(cloud="away", project=away, disconnected_at=now)
    make_clusters(1, project=away)
    found = preview(of_filter(QueryDict("show=all"), anna)[0])
    assert found.counts == {
        Cause.NONE: 4,
        Cause.BACKUP_OFF: 2,
        Cause.BUSY: 1,
        Cause.RUNNING: 1,
        Cause.GONE: 1,
        Cause.ARCHIVED: 1,
        Cause.DISCONNECTED: 1,
    }
    assert (found.ready, found.possible, found.total) == (4, 8, 11)
    assert found.skipped[0] == (Cause.BACKUP_OFF, 2)
    assert preview(everything(anna)).total == 9, "without a filter: what is present"


def test_clusters_of_projects_that_are_only_seen_are_not_permitted(
    project: Project, make_clusters: Make
) -> None:
    seen = Project.objects.create(cloud="otc", project_id="seen")
    hidden = Project.objects.create(cloud="otc", project_id="hidden")
    user = User.objects.create_user("ops")
    give(user, Role.OPERATOR, project=project)
    give(user, Role.VIEWER, project=seen)
    own, watched, out_of_sight = (
        make_clusters(1, project=each)[0] for each in (project, seen, hidden)
    )
    found = preview(of_rows([own.pk, watched.pk, out_of_sight.pk], user))
    assert found.counts == {Cause.NONE: 1, Cause.NOT_PERMITTED: 1}
    assert found.missing == 1
    batch = make_batch(of_rows([own.pk, watched.pk], user), asked_by(user), anyway=True).batch
    assert dict(batch.items.values_list("cluster", "state")) == {
        own.pk: ItemState.WAITING,
        watched.pk: ItemState.SKIPPED,
    }


# --- storing -------------------------------------------------------------------------------------


def test_a_batch_is_stored_by_one_insert_and_one_event(anna: User, make_clusters: Make) -> None:
    ready = make_clusters(40)
    make_clusters(2, readiness="backup_off", checked_at=timezone.now())
    events = AuditEvent.objects.count()
    selection = of_filter(QueryDict("q=cluster-&sort=-verified&page=3"), anna)[0]
    with CaptureQueriesContext(
        connection,
    ) as captured:
        batch = make_batch(selection, asked_by(anna, reason="patch day")).batch
    inserts = [
        q for q in captured.captured_queries if 'INSERT INTO "backups_batchitem"' in q["sql"]
    ]
    assert len(inserts) == 1
    assert len(captured) < 25, "whatever their number"
    assert states(batch).count("waiting") == 40
    assert dict(batch.items.exclude(cause="").values_list("state", "cause")) == {
        "skipped": "backup_off"
    }
    assert AuditEvent.objects.count() == events + 1
    event = AuditEvent.objects.latest("sequence")
    ids = "".join(f"{each}\n" for each in sorted(one.cluster_id for one in ready))
    assert event.action == Action.BATCH_REQUESTED
    assert event.details == {
        "filter": "q=cluster-&show=present",
        "clusters": 40,
        "sha256": hashlib.sha256(ids.encode()).hexdigest(),
        "not_ready": {"backup_off": 2},
        "anyway": False,
    }
    assert (event.reason, event.target_id) == ("patch day", str(batch.pk))
    assert not BackupRun.objects.exists(), "no cluster is held before its turn"


@pytest.mark.parametrize(
    ("columns", "anyway", "why"),
    [
        ({"name": "another"}, False, "nothing matches the filter"),
        ({"readiness": "busy"}, False, "You can back it up anyway"),
        ({"archived_at": True}, True, "cannot be backed up"),
    ],
)
def test_a_batch_of_nothing_is_refused_with_a_reason(
    anna: User, make_clusters: Make, columns: dict[str, Any], anyway: bool, why: str
) -> None:
    now = timezone.now()
    [cluster] = make_clusters(1, checked_at=now)
    values = {name: now if value is True else value for name, value in columns.items()}
    Cluster.objects.filter(pk=cluster.pk).update(**values)
    selection = of_filter(QueryDict("show=all&q=cluster-"), anna)[0]
    with pytest.raises(BatchProblem, match=why):
        make_batch(selection, asked_by(anna), anyway=anyway)
    assert not Batch.objects.exists()


def test_too_many_are_refused_with_what_to_do(
    anna: User, make_clusters: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clusters(4)
    monkeypatch.setattr(selecting, "MOST", 3)
    with pytest.raises(BatchProblem, match="Narrow the filter") as raised:
        make_batch(everything(anna), asked_by(anna))
    assert raised.value.found is not None
    assert raised.value.found.is_too_large
    assert not BatchItem.objects.exists()


def test_the_same_key_is_one_batch_and_another_request_is_refused(
    anna: User, make_clusters: Make
) -> None:
    first, second = make_clusters(2)
    made = make_batch(of_rows([first.pk], anna), asked_by(anna), idempotency_key="k" * 16)
    again = make_batch(of_rows([first.pk], anna), asked_by(anna), idempotency_key="k" * 16)
    assert (made.created, again.created, again.batch) == (True, False, made.batch)
    for selection, requester in (
        (of_rows([first.pk, second.pk], anna), asked_by(anna)),
        (of_rows([first.pk], anna), asked_by(anna, reason="another")),
    ):
        with pytest.raises(BatchKeyReused, match=f"batch {made.batch.pk}"):
            make_batch(selection, requester, idempotency_key="k" * 16)
    ben = give(User.objects.create_user("ben"), Role.OPERATOR)
    assert make_batch(of_rows([first.pk], ben), asked_by(ben), idempotency_key="k" * 16).created
    assert Batch.objects.count() == 2


# --- items become runs ---------------------------------------------------------------------------


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


# --- the end -------------------------------------------------------------------------------------


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
    from backups.services.batches import starting

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


# --- other work than backups ---------------------------------------------------------------------


@pytest.fixture
def admin(project: Project) -> User:
    return give(User.objects.create_user(f"admin-{next(_numbers)}"), Role.ADMIN)


def do(user: User, work: Work, values: dict[str, Any], **more: Any) -> Batch:
    selection = replace(everything(user), work=work)
    batch = make_batch(selection, asked_by(user, **more), values=values).batch
    advance()
    batch.refresh_from_db()
    return batch


def test_labels_are_set_and_removed_with_an_event_each(admin: User, make_clusters: Make) -> None:
    one, two = make_clusters(2)
    set_labels(one, {"team": "shop", "old": ""}, Actor("ben"))
    batch = do(admin, Work.LABEL, {"labels": {"env": "prod"}, "remove": ["old"]})
    assert states(batch) == ["done", "done"]
    assert batch.finished_at is not None
    assert [own_labels(each) for each in (one, two)] == [
        {"env": "prod", "team": "shop"},
        {"env": "prod"},
    ]
    event = AuditEvent.objects.about(one).latest("sequence")
    assert (event.actor_name, event.before, event.after) == (
        admin.get_username(),
        {"labels": {"old": "", "team": "shop"}},
        {"labels": {"env": "prod", "team": "shop"}},
    )
    requested = AuditEvent.objects.get(action=Action.BATCH_REQUESTED)
    assert requested.details is not None
    assert (requested.details["work"], requested.details["labels"]) == ("label", {"env": "prod"})


@pytest.mark.django_db(transaction=True)
def test_labels_that_somebody_sets_at_the_same_moment_are_kept(
    admin: User, make_clusters: Make
) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("on SQLite one transaction writes at a time")
    [cluster] = make_clusters()
    request = replace(of_rows([cluster.pk], admin), work=Work.LABEL)
    values = {"labels": {"b": "2"}, "remove": []}
    make_batch(request, asked_by(admin), values=values)

    def work() -> None:
        try:
            advance()
        finally:
            connection.close()

    worker = threading.Thread(target=work)
    with transaction.atomic():
        assert set_labels(cluster, {"a": "1"}, Actor("anna"))
        worker.start()
        blocked = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            mine = cursor.fetchone()
            until = time.monotonic() + 10
            found = 0
            while not found and time.monotonic() < until:
                cursor.execute("SELECT pg_stat_clear_snapshot()")
                cursor.execute(blocked, mine)
                found = cursor.fetchone()[0]
        assert found
    worker.join(10)
    assert not worker.is_alive()
    assert own_labels(cluster) == {"a": "1", "b": "2"}


def test_an_objective_is_set_and_taken_back(admin: User, make_clusters: Make) -> None:
    make_clusters(2)
    assert states(do(admin, Work.OBJECTIVE, {"hours": 12})) == ["done", "done"]
    assert set(Cluster.objects.values_list("objective_hours", flat=True)) == {12}
    do(admin, Work.OBJECTIVE, {"hours": None})
    assert set(Cluster.objects.values_list("objective_hours", flat=True)) == {None}


def test_archiving_leaves_clusters_with_a_run_in_progress(admin: User, make_clusters: Make) -> None:
    idle, busy = make_clusters(2)
    request_backup(busy, asked_by(admin))
    batch = do(admin, Work.ARCHIVE, {}, reason="moved away")
    assert dict(batch.items.values_list("cluster", "state")) == {
        idle.pk: "done",
        busy.pk: "skipped",
    }
    assert set(Cluster.objects.exclude(archived_at=None)) == {idle}
    assert AuditEvent.objects.get(action=Action.CLUSTER_ARCHIVED).reason == "moved away"


def test_checks_are_due_at_once(anna: User, make_clusters: Make) -> None:
    make_clusters(2, check_due_at=timezone.now() + timedelta(hours=1))
    assert states(do(anna, Work.CHECK, {})) == ["done", "done"]
    assert not Cluster.objects.filter(check_due_at__gt=timezone.now()).exists()


def test_what_is_not_possible_says_why_and_the_others_go_on(
    admin: User, make_clusters: Make
) -> None:
    full, well = make_clusters(2)
    set_labels(full, {f"key-{n}": "" for n in range(20)}, Actor("ben"))
    batch = do(admin, Work.LABEL, {"labels": {"one-more": ""}, "remove": []})
    found = {item.cluster: item for item in batch.items.select_related("cluster")}
    assert (found[full].state, found[full].cause) == ("skipped", Cause.IMPOSSIBLE)
    assert found[full].note == "At most 20 labels."
    assert found[well].state == "done"
    assert len(own_labels(full)) == 20


@pytest.mark.parametrize(
    ("work", "values", "why"),
    [
        (Work.LABEL, {"labels": {}, "remove": []}, "Enter labels"),
        (Work.LABEL, {"labels": {"a b": ""}, "remove": []}, "a key is"),
        (Work.OBJECTIVE, {"hours": 0}, "An objective is"),
        (Work.ARCHIVE, {}, "Enter a reason"),
    ],
)
def test_work_that_cannot_be_done_is_refused_before_it_is_stored(
    admin: User, make_clusters: Make, work: Work, values: dict[str, Any], why: str
) -> None:
    make_clusters(1)
    with pytest.raises(BatchProblem, match=why):
        do(admin, work, values)
    assert not Batch.objects.exists()


def test_an_operator_may_not_label_and_a_right_that_is_lost_counts(
    anna: User, admin: User, make_clusters: Make
) -> None:
    make_clusters(1)
    with pytest.raises(BatchProblem, match="cannot"):
        do(anna, Work.LABEL, {"labels": {"a": ""}, "remove": []})
    selection = replace(everything(admin), work=Work.LABEL)
    values = {"labels": {"a": ""}, "remove": []}
    batch = make_batch(selection, asked_by(admin), values=values).batch
    Grant.objects.filter(user=admin).delete()
    advance()
    assert set(batch.items.values_list("state", "cause")) == {("skipped", "not_permitted")}
