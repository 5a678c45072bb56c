"""Syncs by themselves: one at a time, begun again after a death, and the one begun last counts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.utils import timezone

from backups.choices import ConnectionFault, SyncStep
from backups.models import Cluster, Connection
from backups.services.connections import manage, sync
from backups.services.connections.sync import claim, due_for_sync
from dashboard.audit.trail import Actor
from dashboard.db import leases
from simulator.client import SimulatorControl
from tests.services.cloud_jobs import at_once
from tests.services.clouds_entries import add_entry, remove_entry, the_entry

pytestmark = pytest.mark.django_db
ANNA = Actor("anna")


@pytest.fixture
def row(cloud: SimulatorControl, db: None) -> Connection:
    """The only entry, connected and due."""
    sync.connect_new_entries()
    return Connection.objects.get()


def later(seconds: float) -> None:
    """Have the lease of every connection, or its next sync, lie in the past."""
    Connection.objects.update(next_sync_at=timezone.now() - timedelta(seconds=seconds))


def during_the_list(monkeypatch: pytest.MonkeyPatch, what: Callable[[], object]) -> None:
    """Do something while the next list is under way: it has been read and is not stored."""
    first = sync.CssClient.list_clusters

    def slow(self: Any) -> Any:
        monkeypatch.setattr(sync.CssClient, "list_clusters", first)
        listed = first(self)
        what()
        return listed

    monkeypatch.setattr(sync.CssClient, "list_clusters", slow)


def test_every_entry_is_connected_and_synchronised_by_itself(
    cloud: SimulatorControl, row: Connection
) -> None:
    cloud.add_cluster("one")
    assert due_for_sync(10) == [row.pk]
    assert due_for_sync(10) == [], "one sweep has it"
    before = timezone.now()
    sync.sync_connection(row.pk)
    row.refresh_from_db()
    assert (row.listed, row.added, row.gone) == (1, 1, 0)
    assert (row.sync_step, row.sync_error, row.sync_started_at) == ("", "", None)
    assert row.project is not None
    assert row.synced_at is not None
    assert before <= row.synced_at
    assert row.sync_ended_at == row.synced_at + row.sync_duration
    interval = django_settings.SYNC_INTERVAL
    assert 0.8 * interval < (row.next_sync_at - before).total_seconds() < 1.2 * interval
    assert due_for_sync(10) == []
    later(0)
    assert due_for_sync(10) == [row.pk]


def test_a_new_entry_is_found_while_the_product_runs(
    cloud: SimulatorControl, row: Connection
) -> None:
    add_entry("second")
    sync.connect_new_entries()
    assert set(Connection.objects.values_list("cloud", flat=True)) == {row.cloud, "second"}


def test_each_step_is_told(
    cloud: SimulatorControl, row: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, int]] = []
    first = leases.Lease._write

    def watched(self: Any, columns: Any) -> None:
        seen = Connection.objects.get(pk=row.pk)
        told.append((seen.sync_step, seen.version))
        first(self, columns)

    manage.request_sync(row, ANNA)
    told.append((Connection.objects.get().sync_step, Connection.objects.get().version))
    monkeypatch.setattr(leases.Lease, "_write", watched)
    sync.sync_connection(row.pk)
    steps = list(dict.fromkeys(step for step, _version in told))
    assert steps == [SyncStep.WAITING, SyncStep.SIGNING_IN, SyncStep.LISTING, SyncStep.STORING]
    assert len({version for _step, version in told}) == 4, "each step is a visible change"


def test_a_message_that_was_lost_is_sent_again(cloud: SimulatorControl, row: Connection) -> None:
    assert due_for_sync(10) == [row.pk]
    later(0)
    assert due_for_sync(10) == [row.pk]


def test_a_sync_that_is_under_way_is_left_alone(cloud: SimulatorControl, row: Connection) -> None:
    lease = claim(row.pk)
    assert lease is not None
    assert claim(row.pk) is None
    sync.sync_connection(row.pk)
    assert cloud.ledger(endpoint="list") == []
    assert not manage.request_sync(row, ANNA)
    assert due_for_sync(10) == []


def test_a_sync_whose_worker_died_is_begun_again(cloud: SimulatorControl, row: Connection) -> None:
    cloud.add_cluster("one")
    dead = claim(row.pk)
    assert dead is not None
    dead.show_step(SyncStep.LISTING)
    later(1)
    assert due_for_sync(10) == [row.pk]
    row.refresh_from_db()
    assert (row.sync_step, row.sync_started_at) == ("waiting", None)
    sync.sync_connection(row.pk)
    assert Cluster.objects.present().count() == 1
    for step in (
        dead.renew,
        lambda: dead.show_step(SyncStep.STORING),
        lambda: dead.release(listed=99),
    ):
        with pytest.raises(leases.LeaseLost):
            step()
    row.refresh_from_db()
    assert (row.listed, row.sync_step) == (1, "")


def test_a_lease_is_renewed_by_each_page_so_a_long_list_is_read_once(
    cloud: SimulatorControl, row: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.add_clusters(150)
    ends: list[Any] = []
    first = sync.SyncLease.renew

    def watched(self: Any, **columns: Any) -> None:
        first(self, **columns)
        if not columns:
            ends.append(Connection.objects.get(pk=row.pk).next_sync_at)

    monkeypatch.setattr(sync.SyncLease, "renew", watched)
    sync.sync_connection(row.pk)
    assert len(ends) == len(cloud.ledger(endpoint="list")) + 1, "each page, and the storing"
    assert ends == sorted(set(ends))


def test_a_lease_outlasts_the_longest_step(settings: Any) -> None:
    settings.CSS_TOTAL_TIMEOUT = 600.0
    assert sync.lease_time() >= timedelta(seconds=2400)


def test_the_list_of_a_sync_that_was_overtaken_counts_for_nothing(
    cloud: SimulatorControl, row: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, stays = cloud.add_cluster("old"), cloud.add_cluster("stays")

    def change_and_synchronise() -> None:
        cloud.remove_cluster(old)
        cloud.add_cluster("new")
        assert sync.synchronise(row).error == ""

    during_the_list(monkeypatch, change_and_synchronise)
    result = sync.synchronise(row)
    assert "another synchronisation" in result.error
    present = set(Cluster.objects.present().values_list("name", flat=True))
    assert present == {"new", "stays"}, "neither marked as gone nor brought back"
    assert Cluster.objects.get(cluster_id=stays).gone_at is None
    row.refresh_from_db()
    assert (row.listed, row.sync_error, row.sync_step) == (2, "", "")


def test_a_failure_of_a_sync_that_was_overtaken_is_not_shown(
    cloud: SimulatorControl, row: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = sync.CssClient.list_clusters

    def failing(self: Any) -> Any:
        monkeypatch.setattr(sync.CssClient, "list_clusters", first)
        sync.synchronise(row)
        raise sync.CssApiError("too late")

    monkeypatch.setattr(sync.CssClient, "list_clusters", failing)
    sync.sync_connection(row.pk)
    row.refresh_from_db()
    assert (row.sync_error, row.sync_fault) == ("", "")
    assert row.synced_at is not None


def test_disconnecting_stops_a_sync_that_is_under_way(
    cloud: SimulatorControl, row: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.add_cluster("one")
    during_the_list(monkeypatch, lambda: manage.disconnect(row, ANNA))
    sync.sync_connection(row.pk)
    assert not Cluster.objects.exists()
    row.refresh_from_db()
    assert (row.sync_step, row.sync_started_at, row.synced_at) == ("", None, None)


@pytest.mark.django_db(transaction=True)
def test_syncs_at_once_store_one_list(cloud: SimulatorControl) -> None:
    cloud.add_clusters(40, tags={"env": "prod"})
    sync.connect_new_entries()
    row = Connection.objects.get()
    results: Any = at_once([lambda: sync.synchronise(row) for _ in range(4)])
    stored = [result for result in results if not result.error]
    assert len(stored) >= 1
    assert all("another synchronisation" in result.error for result in results if result.error), (
        results
    )
    assert sum(result.added for result in stored) == Cluster.objects.present().count() == 40
    row.refresh_from_db()
    assert (row.listed, row.sync_step, row.sync_started_at) == (40, "", None)


@pytest.mark.django_db(transaction=True)
def test_of_sweeps_at_once_one_hands_a_sync_out(cloud: SimulatorControl) -> None:
    sync.connect_new_entries()
    taken: Any = at_once([lambda: due_for_sync(10) for _ in range(4)])
    assert sorted(map(len, taken)) == [0, 0, 0, 1]
    begun = at_once([lambda: claim(Connection.objects.get().pk) for _ in range(4)])
    assert sum(lease is not None for lease in begun) == 1


# --- Failures, and entries that come and go ------------------------------------------------------


def test_a_sync_that_fails_says_why_and_changes_nothing_else(
    cloud: SimulatorControl, row: Connection
) -> None:
    cloud.add_cluster("one")
    sync.sync_connection(row.pk)
    good = Connection.objects.get()
    cloud.fault("status", endpoint="list", preset="forbidden")
    sync.sync_connection(row.pk)
    row.refresh_from_db()
    assert "403" in row.sync_error
    assert row.sync_fault == ConnectionFault.FORBIDDEN
    assert (row.listed, row.sync_step, row.synced_at) == (1, "", good.synced_at)
    assert row.sync_ended_at > good.sync_ended_at
    assert Cluster.objects.get().gone_at is None
    assert due_for_sync(10) == [], "it is tried again, but not at once"
    cloud.clear_faults()
    sync.sync_connection(row.pk)
    row.refresh_from_db()
    assert (row.sync_error, row.sync_fault) == ("", "")


def test_an_entry_that_left_clouds_yaml_keeps_its_clusters_until_somebody_decides(
    cloud: SimulatorControl, row: Connection
) -> None:
    cloud.add_cluster("one")
    sync.sync_connection(row.pk)
    add_entry("other")
    remove_entry(row.cloud)
    sync.sync_connection(row.pk)
    row.refresh_from_db()
    assert row.sync_fault == ConnectionFault.CONFIGURATION
    assert Cluster.objects.get().gone_at is None, "perhaps only this worker's file lacks it"
    manage.disconnect(row, ANNA)
    assert Cluster.objects.get().gone_at is not None
    row.refresh_from_db()
    assert (row.sync_error, row.sync_fault) == ("", "")


def test_an_entry_that_left_and_whose_clusters_are_gone_is_no_trouble_any_more(
    cloud: SimulatorControl, row: Connection
) -> None:
    cloud.add_cluster("one")
    sync.sync_connection(row.pk)
    add_entry("other")
    remove_entry(row.cloud)
    sync.sync_clusters()
    assert Cluster.objects.get(project__cloud=row.cloud).gone_at is not None
    sync.sync_connection(row.pk)
    row.refresh_from_db()
    assert (row.sync_error, row.listed) == ("", 0)


def test_a_file_that_cannot_be_read_is_a_failure_and_nothing_goes(
    cloud: SimulatorControl, row: Connection, tmp_path: Any
) -> None:
    cloud.add_cluster("one")
    sync.sync_connection(row.pk)
    (tmp_path / "clouds.yaml").write_text("clouds: [")
    sync.sync_connection(row.pk)
    row.refresh_from_db()
    assert row.sync_fault == ConnectionFault.CONFIGURATION
    assert "not valid YAML" in row.sync_error
    assert Cluster.objects.get().gone_at is None


def test_without_auto_connect_nothing_is_connected_by_itself(
    cloud: SimulatorControl, settings: Any, db: None
) -> None:
    settings.AUTO_CONNECT = False
    sync.connect_new_entries()
    assert not Connection.objects.exists()
    row = manage.connect(*the_entry(), ANNA)
    later(0)
    assert due_for_sync(10) == [row.pk]


def test_what_was_disconnected_stays_so(cloud: SimulatorControl, row: Connection) -> None:
    cloud.add_cluster("one")
    sync.sync_connection(row.pk)
    manage.disconnect(row, ANNA)
    sync.connect_new_entries()
    later(0)
    assert due_for_sync(10) == []
    before = len(cloud.ledger(endpoint="list"))
    sync.sync_connection(row.pk)
    assert sync.sync_clusters() == []
    assert "disconnected" in sync.synchronise(row).error
    assert len(cloud.ledger(endpoint="list")) == before
    row.refresh_from_db()
    assert row.disconnected_at is not None
    assert Cluster.objects.get().gone_at is None
