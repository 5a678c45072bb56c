"""Batches: what a preview says, and what is stored."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backups.choices import Cause, ItemState
from backups.models import BackupRun, Batch, BatchItem, Cluster, Connection, Project
from backups.services.batches import selecting
from backups.services.batches.making import BatchKeyReused, BatchProblem, make_batch
from backups.services.batches.selecting import of_filter, of_rows, preview
from backups.services.runs.requests import request_backup
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.audit.models import Action, AuditEvent
from tests.grants import give
from tests.services.batches.batches import (
    Make,
    asked_by,
    everything,
    states,
)


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
