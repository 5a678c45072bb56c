"""A clock that was set back leaves nothing due in hours."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from backups.choices import RunState
from backups.models import ApiCall, BackupRun, Cluster, Connection
from backups.services.clusters import checks, readiness
from backups.services.runs import due_times, following, sweeping
from backups.services.runs.due_times import pull_in

pytestmark = pytest.mark.django_db


def seconds_ahead(at: Any) -> float:
    return float((at - timezone.now()).total_seconds())


@pytest.fixture
def connection_row() -> Connection:
    return Connection.objects.create(cloud="demo", region="r")


@pytest.mark.parametrize("ahead", [1, 7, 24 * 365])
@pytest.mark.parametrize("state", [RunState.ACCEPTED, RunState.UNKNOWN])
def test_records_are_read_again_at_once(make_run: Any, state: RunState, ahead: float) -> None:
    run = make_run()
    then = timezone.now() + timedelta(hours=ahead)
    BackupRun.objects.filter(pk=run.pk).update(state=state, next_check_at=then)
    assert pull_in() == 1
    assert following.due_for_check(10) == [run.pk]


def test_a_reading_within_its_interval_stays_where_it_is(make_run: Any) -> None:
    run = make_run()
    then = timezone.now() + timedelta(seconds=following.LONGEST_PAUSE)
    BackupRun.objects.filter(pk=run.pk).update(state=RunState.ACCEPTED, next_check_at=then)
    assert pull_in() == 0
    run.refresh_from_db()
    assert run.next_check_at == then


def test_a_retry_is_made_within_its_longest_pause(make_run: Any) -> None:
    run = make_run()
    then = timezone.now() + timedelta(hours=1)
    BackupRun.objects.filter(pk=run.pk).update(not_before=then, dispatched_at=None)
    assert sweeping.due_for_sending(10) == []
    assert pull_in() == 1
    assert sweeping.due_for_sending(10) == [run.pk]


def test_a_pause_that_the_cloud_asked_for_stays(make_run: Any, settings: Any) -> None:
    run = make_run()
    ApiCall.objects.create(
        run=run,
        attempt=0,
        purpose="collect",
        method="POST",
        path="/x",
        started_at=timezone.now(),
        retry_after=3000,
    )
    then = timezone.now() + timedelta(seconds=3000)
    BackupRun.objects.filter(pk=run.pk).update(not_before=then)
    assert pull_in() == 0
    beyond = timezone.now() + timedelta(hours=7)
    BackupRun.objects.filter(pk=run.pk).update(not_before=beyond)
    assert pull_in() == 1


def test_a_message_that_was_lost_before_the_step_is_sent_again(make_run: Any) -> None:
    run = make_run()
    BackupRun.objects.filter(pk=run.pk).update(dispatched_at=timezone.now() + timedelta(hours=7))
    assert sweeping.due_for_sending(10) == [run.pk]


def test_checks_are_due_within_their_interval(make_cluster: Any) -> None:
    cluster, held = make_cluster(), make_cluster()
    then = timezone.now() + timedelta(hours=7)
    Cluster.objects.filter(pk=cluster.pk).update(check_due_at=then)
    Cluster.objects.filter(pk=held.pk).update(
        check_due_at=then, check_leased_until=then, check_leased_by=""
    )
    assert checks.claim() == []
    pull_in()
    assert set(checks.claim()) == {cluster.pk, held.pk}


def test_a_check_in_its_interval_stays_where_it_is(make_cluster: Any, settings: Any) -> None:
    cluster = make_cluster()
    checks.release(cluster.pk)
    assert pull_in() == 0
    checks.renew(cluster.pk)
    assert pull_in() == 0


def test_connections_are_read_again(connection_row: Connection) -> None:
    Connection.objects.update(next_sync_at=timezone.now() + timedelta(hours=7))
    assert pull_in() == 1
    connection_row.refresh_from_db()
    assert connection_row.next_sync_at is not None
    assert seconds_ahead(connection_row.next_sync_at) <= 0


def test_a_sync_in_its_lease_stays_where_it_is(connection_row: Connection) -> None:
    from backups.services.connections import sync

    assert sync.claim(connection_row.pk)
    assert pull_in() == 0


def test_what_a_check_finds_counts_although_the_last_one_was_dated_ahead(
    make_cluster: Any,
) -> None:
    cluster = make_cluster()
    readiness.check_cluster(cluster.pk)
    ahead = timezone.now() + timedelta(hours=7)
    Cluster.objects.filter(pk=cluster.pk).update(checked_at=ahead, readiness="not_known")
    cluster.refresh_from_db()
    stored = cluster.log_settings
    type(stored).objects.filter(pk=stored.pk).update(read_at=ahead, bucket="of-old")
    readiness.check_cluster(cluster.pk)
    cluster = Cluster.objects.get(pk=cluster.pk)
    assert cluster.readiness != "not_known"
    assert cluster.checked_at is not None
    assert seconds_ahead(cluster.checked_at) <= 0
    assert cluster.log_settings.bucket != "of-old"


def test_the_sweep_pulls_in(make_cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = make_cluster()
    Cluster.objects.filter(pk=cluster.pk).update(check_due_at=timezone.now() + timedelta(hours=7))
    leased: list[int] = []
    monkeypatch.setattr(checks, "dispatch_check", lambda ids, worth: leased.extend(ids))
    monkeypatch.setattr(sweeping, "connect_new_entries", lambda: None)
    sweeping.sweep()
    assert leased == [cluster.pk]


def test_the_longest_pauses_are_those_of_the_settings(settings: Any) -> None:
    settings.CHECK_INTERVAL = 7200.0
    assert due_times.longest_check_pause() >= 7200 * 1.2
    settings.BACKUP_MAX_ATTEMPTS, settings.BACKUP_RETRY_BASE = 12, 2.0
    settings.BACKUP_RETRY_CAP = 3000.0
    assert due_times.longest_retry_pause() >= 3000 * 1.2
