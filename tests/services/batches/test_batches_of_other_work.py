"""Batches: labels, objectives, archiving and checks."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from backups.choices import Cause, Work
from backups.models import Batch, Cluster
from backups.services.batches.making import BatchProblem, make_batch
from backups.services.batches.selecting import of_rows
from backups.services.batches.starting import advance
from backups.services.clusters.manage import own_labels, set_labels
from backups.services.runs.requests import request_backup
from dashboard.accounts.models import Grant, User
from dashboard.audit.models import Action, AuditEvent
from dashboard.audit.trail import Actor
from tests.services.batches.batches import (
    Make,
    asked_by,
    everything,
    states,
)


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
