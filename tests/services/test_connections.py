"""Connections: made, ended and asked on record; clusters registered by their id."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backups.choices import ConnectionFault
from backups.css_api.types import ClusterInfo, Instance, ProjectIdentity
from backups.models import Cluster, ClusterTag, Connection, Project
from backups.services.connections import manage, sync
from backups.services.connections.manage import RegisterError, register_by_hand
from backups.services.connections.registering import store_list
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.audit.models import AuditEvent
from dashboard.audit.trail import Actor
from simulator.client import SimulatorControl
from tests.grants import give
from tests.services.cloud_jobs import at_once
from tests.services.clouds_entries import add_entry, the_entry

pytestmark = pytest.mark.django_db
ANNA = Actor("anna")


@pytest.fixture
def row(cloud: SimulatorControl, db: None) -> Connection:
    return Connection.objects.create(cloud=the_entry()[0], region=the_entry()[1])


def actions() -> list[str]:
    return list(AuditEvent.objects.order_by("sequence").values_list("action", flat=True))


# --- On record -----------------------------------------------------------------------------------


def test_connecting_and_disconnecting_are_on_record_once_each(cloud: SimulatorControl) -> None:
    row = manage.connect(*the_entry(), ANNA)
    manage.connect(*the_entry(), ANNA)
    manage.disconnect(row, ANNA, "no longer ours")
    manage.disconnect(row, ANNA)
    again = manage.connect(*the_entry(), ANNA)
    assert again == row
    assert actions() == ["connection_added", "connection_removed", "connection_added"]
    assert AuditEvent.objects.get(action="connection_removed").reason == "no longer ours"
    assert Connection.objects.get().sync_step == "waiting"


def test_asking_for_a_sync_is_on_record_and_hands_it_to_a_worker(
    row: Connection, django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    monkeypatch.setattr(manage, "dispatch_sync", sent.extend)
    with django_capture_on_commit_callbacks(execute=True):
        assert manage.request_sync(row, ANNA)
    assert sent == [row.pk]
    assert actions() == ["sync_requested"]
    row.refresh_from_db()
    assert row.sync_step == "waiting"
    assert row.next_sync_at > timezone.now(), "the sweeper waits a moment for the message"
    manage.disconnect(row, ANNA)
    with django_capture_on_commit_callbacks(execute=True):
        assert not manage.request_sync(row, ANNA)
    assert sent == [row.pk]


def test_a_test_is_on_record_with_its_steps(row: Connection) -> None:
    manage.test(row.cloud, row.region, ANNA)
    event = AuditEvent.objects.get()
    assert event.details == {"passed": True, "steps": ["passed"] * 4}
    assert event.target_label == str(row)


# --- What there is -------------------------------------------------------------------------------


def test_entries_are_those_of_the_file_and_those_that_were_connected(row: Connection) -> None:
    add_entry("another")
    Connection.objects.create(cloud="zzz-left", region="eu-de")
    root = User.objects.create_superuser("root", password="x")
    listed, problem = manage.entries(root, all_of_them=True)
    assert problem == ""
    assert [(e.cloud, e.configured, e.connected) for e in listed] == [
        ("another", True, False),
        (row.cloud, True, True),
        ("zzz-left", False, True),
    ]


def test_a_file_that_cannot_be_read_is_named_and_claims_nothing_of_its_entries(
    row: Connection, tmp_path: Any
) -> None:
    (tmp_path / "clouds.yaml").write_text("clouds: [")
    root = User.objects.create_superuser("root", password="x")
    listed, problem = manage.entries(root, all_of_them=True)
    assert "not valid YAML" in problem
    assert [entry.configured for entry in listed] == [True]
    assert not manage.is_configured(row.cloud, row.region)


def test_others_see_the_connections_of_their_projects_only(row: Connection) -> None:
    mine, theirs = (
        Project.objects.create(cloud=name, region="r", project_id=name) for name in ("a", "b")
    )
    Connection.objects.create(cloud="a", region="r", project=mine)
    Connection.objects.create(cloud="b", region="r", project=theirs)
    ben = give(User.objects.create_user("ben"), Role.VIEWER, project=mine)
    listed, _problem = manage.entries(ben, all_of_them=False)
    assert [entry.cloud for entry in listed] == ["a"]


# --- Tags ----------------------------------------------------------------------------------------


def test_the_clouds_tags_are_kept_up_to_date_and_labels_stay(
    cloud: SimulatorControl, row: Connection
) -> None:
    cluster_id = cloud.add_cluster("one", tags={"env": "prod", "team": "a", "same": "s"})
    sync.sync_connection(row.pk)
    cluster = Cluster.objects.get()
    same = ClusterTag.objects.get(key="same").pk
    ClusterTag.objects.create(cluster=cluster, origin="own", key="env", value="mine")
    cloud.change_cluster(cluster_id, tags={"env": "test", "new": "", "same": "s"})
    sync.sync_connection(row.pk)
    tags = set(cluster.tags.values_list("origin", "key", "value"))
    assert tags == {
        ("cloud", "env", "test"),
        ("cloud", "new", ""),
        ("cloud", "same", "s"),
        ("own", "env", "mine"),
    }
    assert ClusterTag.objects.get(key="same").pk == same, "what is the same is not written"


# --- Ten thousand --------------------------------------------------------------------------------

WHERE = ProjectIdentity("otc", "eu-de", "p" * 32, "eu-de_logs", "https://css.example.com")


def many(numbers: Iterable[int], status: str = "200") -> list[ClusterInfo]:
    node = (Instance("i", "node-1", "ess", "200"),)
    tags = (("env", "prod"), ("team", "search"))
    return [
        ClusterInfo(f"id-{n:05d}", f"cluster-{n:05d}", status, instances=node, tags=tags)
        for n in numbers
    ]


def queries_of(listed: list[ClusterInfo]) -> int:
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        store_list(WHERE, listed)
    return len(queries)


def test_a_list_of_ten_thousand_costs_a_bounded_number_of_queries(db: None) -> None:
    ten, thousand = many(range(10_000)), many(range(1_000))
    # SQLite takes 999 parameters: 38 clusters or 249 tags at a time; PostgreSQL 500 of each
    assert queries_of(ten) < 30 + 10_000 / 38 + 20_000 / 249
    assert Cluster.objects.present().count() == 10_000
    assert ClusterTag.objects.count() == 20_000
    assert queries_of(ten) < 20, "the same list once more"
    changed = many(range(50), status="100") + ten[50:]
    assert queries_of(changed) < 22
    assert Cluster.objects.filter(status="100").count() == 50
    assert queries_of(thousand) < 20 + 9_000 / 500 + 1
    assert Cluster.objects.present().count() == 1_000
    assert Cluster.objects.filter(status="100").count() == 0


# --- By hand -------------------------------------------------------------------------------------


def test_a_cluster_is_registered_by_its_id_and_survives_lists_without_it(
    cloud: SimulatorControl, row: Connection
) -> None:
    cluster_id = cloud.add_cluster("hidden", tags={"env": "prod"})
    cluster = register_by_hand(row, cluster_id, ANNA)
    assert (cluster.name, cluster.by_hand, cluster.status) == ("hidden", True, "200")
    assert cluster.nodes
    assert cluster.tags.get().value == "prod"
    assert actions() == ["cluster_registered"]
    empty = '{"clusters": [], "totalSize": 0}'
    cloud.fault("status", endpoint="list", status=200, body=empty)
    sync.sync_connection(row.pk)
    assert Cluster.objects.get().gone_at is None
    cloud.clear_faults()


def test_a_cluster_that_is_registered_already_is_named(
    cloud: SimulatorControl, row: Connection
) -> None:
    cluster_id = cloud.add_cluster("orders")
    sync.sync_connection(row.pk)
    with pytest.raises(RegisterError, match="already registered as “orders”") as caught:
        register_by_hand(row, cluster_id, ANNA)
    assert caught.value.cluster == Cluster.objects.get()
    assert not Cluster.objects.get().by_hand
    Cluster.objects.update(archived_at=timezone.now())
    with pytest.raises(RegisterError, match="and archived"):
        register_by_hand(row, cluster_id, ANNA)
    assert actions() == []


def test_a_cluster_that_had_gone_is_registered_again_with_its_history(
    cloud: SimulatorControl, row: Connection
) -> None:
    cluster_id = cloud.add_cluster("orders")
    sync.sync_connection(row.pk)
    before = Cluster.objects.get()
    Cluster.objects.update(gone_at=timezone.now(), name="old name")
    after = register_by_hand(row, cluster_id, ANNA)
    assert (after.pk, after.name, after.by_hand, after.gone_at) == (before.pk, "orders", True, None)


@pytest.mark.django_db(transaction=True)
def test_of_two_registrations_at_once_one_is_told_of_the_other(cloud: SimulatorControl) -> None:
    row = Connection.objects.create(cloud=the_entry()[0], region=the_entry()[1])
    cluster_id = cloud.add_cluster("hidden")

    def register() -> str:
        try:
            return register_by_hand(row, cluster_id, ANNA).name
        except RegisterError as error:
            return str(error)

    told = sorted(map(str, at_once([register, register])))
    assert told == ["The cluster is already registered as “hidden”.", "hidden"]
    assert Cluster.objects.count() == 1
    assert actions() == ["cluster_registered"]


@pytest.mark.parametrize("preset", ["", "vanished", "not_found"])
def test_a_cluster_that_the_cloud_does_not_know_is_not_registered(
    cloud: SimulatorControl, row: Connection, preset: str
) -> None:
    if preset:
        cloud.fault("status", endpoint="detail", preset=preset)
    with pytest.raises(
        RegisterError, match=r"Cluster 00000000-dead-beef does not exist in project"
    ):
        register_by_hand(row, "00000000-dead-beef", ANNA)
    assert not Cluster.objects.exists()
    cloud.clear_faults()


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"preset": "forbidden"}, ConnectionFault.FORBIDDEN),
        ({"preset": "html_200"}, ConnectionFault.MALFORMED),
        ({"status": 404, "body_kind": "html"}, ConnectionFault.NOT_FOUND),
        ({"status": 200, "body": '{"id": "another", "name": "n"}'}, ConnectionFault.MALFORMED),
    ],
)
def test_a_cloud_that_does_not_answer_as_it_should_registers_nothing(
    cloud: SimulatorControl, row: Connection, fault: dict[str, Any], why: ConnectionFault
) -> None:
    cluster_id = cloud.add_cluster("hidden")
    cloud.fault("status", endpoint="detail", **fault)
    with pytest.raises(RegisterError) as caught:
        register_by_hand(row, cluster_id, ANNA)
    assert caught.value.fault is why
    assert not Cluster.objects.exists()
    assert actions() == []
    cloud.clear_faults()
