"""Prepared statements do what the ORM does, with the same values on both databases."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F, Q
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backups import uptime
from backups.choices import RunState
from backups.models import ApiCall, BackupRun, Cluster, Post, RunEvent, Ticker
from dashboard.db.prepared import Param, Prepared, insert

WAITING = Prepared(
    lambda: BackupRun.objects.filter(
        Q(not_before__lte=Param("now")) | Q(note=Param("note")),
        pk__in=[Param("one"), Param("other")],
        state=RunState.QUEUED,
    ).order_by("-id")
)


def test_it_fetches_the_rows_that_the_orm_fetches(make_run: Any) -> None:
    first, second = make_run(), make_run()
    found = WAITING.fetch(now=timezone.now(), note="", one=first.pk, other=second.pk)
    assert found == [second, first]
    for run in found:
        same = BackupRun.objects.get(pk=run.pk)
        for field in BackupRun._meta.concrete_fields:
            assert getattr(run, field.attname) == getattr(same, field.attname), field
        assert run._state.adding is False
    early = timezone.now() - timedelta(days=1)
    assert WAITING.fetch(now=early, note="x", one=first.pk, other=second.pk) == []


def test_it_fetches_tuples_with_converted_values(make_run: Any) -> None:
    run = make_run()
    columns = ("pk", "requested_at", "cluster__name", "sent_at")
    prepared = Prepared(
        lambda: BackupRun.objects.filter(cluster=Param("cluster")).values_list(*columns)
    )
    (row,) = prepared.fetch(cluster=run.cluster_id)
    assert row == BackupRun.objects.values_list(*columns).get(pk=run.pk)


def test_an_update_counts_the_rows_that_match_its_condition(make_run: Any) -> None:
    run, other = make_run(), make_run()
    now = timezone.now()
    version = F("version") + 1
    mine = Prepared(lambda: BackupRun.objects.filter(pk=Param("pk"), state=Param("state")))
    changes = {"sent_at": now, "note": "sent", "version": version, "http_status": 200}
    assert mine.update(changes, pk=run.pk, state="queued") == 1
    assert mine.update(changes | {"note": "again"}, pk=run.pk, state="queued") == 1
    assert mine.update(changes | {"sent_at": None}, pk=run.pk, state="sending") == 0
    run.refresh_from_db()
    assert (run.sent_at, run.note, run.version, run.http_status) == (now, "again", 2, 200)
    assert mine.update({"sent_at": None, "conflict_run": other}, pk=run.pk, state="queued") == 1
    run.refresh_from_db()
    assert (run.sent_at, run.conflict_run) == (None, other)
    other.refresh_from_db()
    assert other.note == ""


def test_a_condition_refuses_null_instead_of_finding_nothing(make_run: Any) -> None:
    mine = Prepared(lambda: BackupRun.objects.filter(job_id=Param("job")))
    with pytest.raises(ValueError, match="job"):
        mine.fetch(job=None)
    with pytest.raises(ValueError, match="job"):
        mine.update({"note": ""}, job=None)


def test_the_database_computes_values(make_run: Any) -> None:
    Ticker.objects.update_or_create(pk=1, defaults={"uptime": 12.5})
    run = make_run()
    mine = Prepared(lambda: BackupRun.objects.filter(pk=Param("pk")))
    assert mine.update({"step_uptime": uptime.stamp()}, pk=run.pk) == 1
    run.refresh_from_db()
    assert run.step_uptime == 12.5


def test_its_sql_is_put_together_once(make_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run, built = make_run(), []

    def rows() -> Any:
        built.append(1)
        return Cluster.objects.filter(pk=Param("pk"))

    prepared = Prepared(rows)
    prepared.fetch(pk=run.cluster_id)
    prepared.update({"name": "a"}, pk=run.cluster_id)
    made = len(built)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert prepared.fetch(pk=run.cluster_id)[0].name == "a"
        prepared.update({"name": "b"}, pk=run.cluster_id)
    assert len(built) == made
    assert len(queries) == 2
    assert Cluster.objects.get(pk=run.cluster_id).name == "b"


def test_inserted_rows_are_those_that_save_makes(make_run: Any) -> None:
    run, now = make_run(), timezone.now()
    Ticker.objects.update_or_create(pk=1, defaults={"uptime": 3.25})
    place = {"project_id_in_cloud": "p", "cluster_cloud_id": "c"}
    for attempt, stamp in ((1, 3.25), (2, uptime.stamp())):
        values: dict[str, Any] = {"active": attempt == 2, "step_uptime": stamp, **place}
        insert(Post(run=run, attempt=attempt, sent_at=now, baseline=["a", "b"], **values))
        post = Post.objects.get(run=run, attempt=attempt)
        assert (post.step_uptime, post.baseline, post.sent_at) == (3.25, ["a", "b"], now)
        assert (post.answered_at, post.active) == (None, attempt == 2)
        assert post.result == Post.Result.OPEN
    calls = [
        ApiCall(run=run, attempt=1, path=f"/{number}", started_at=now, request_headers={"a": "b"})
        for number in range(3)
    ]
    insert(*calls, returning=True)
    stored = {call.pk: call for call in ApiCall.objects.filter(run=run)}
    assert [stored[call.pk].path for call in calls] == ["/0", "/1", "/2"]
    assert stored[calls[0].pk].request_headers == {"a": "b"}
    insert(RunEvent(run=run, to_state="queued", note="%s and 100 %"))
    assert run.events.last().note == "%s and 100 %"
