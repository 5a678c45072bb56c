"""Batches that change log backup settings: each cluster once, stopped in time, crash or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from backups.choices import Cause, ItemState, Trigger, Work
from backups.models import Batch, BatchItem, Cluster, Project
from backups.models import LogSettings as StoredSettings
from backups.services import log_settings, rate
from backups.services.batches import changing, starting
from backups.services.batches.making import BatchProblem, cancel_batch, make_batch
from backups.services.batches.progress import progress_of
from backups.services.batches.selecting import Selection, of_rows
from backups.services.batches.starting import advance
from backups.services.log_settings import Change, read_settings
from backups.services.runs.requests import Requester
from dashboard.accounts.access import Role
from dashboard.accounts.models import Grant, User
from dashboard.audit.models import Action, AuditEvent
from dashboard.audit.trail import Actor
from simulator.client import SimulatorControl
from tests.grants import give
from tests.services.conftest import MakeCluster
from tests.services.log_decisions import called, stored

pytestmark = pytest.mark.django_db

VALUES = {
    "bucket": "my-bucket",
    "base_path": "logs/{cluster}",
    "agency": "css_obs_agency",
    "stop_after": 2,
}


@pytest.fixture(autouse=True)
def broker(redis_url: str, settings: Any) -> Iterator[None]:
    settings.BACKUP_BATCH_RATE = 100.0
    rate.close()
    yield
    rate.close()


@pytest.fixture
def admin(project: Project) -> User:
    return give(User.objects.create_user("root"), Role.ADMIN)


def selected(user: User, *clusters: Cluster) -> Selection:
    return replace(of_rows([each.pk for each in clusters], user), work=Work.SETTINGS)


def make(user: User, *clusters: Cluster, **values: Any) -> Batch:
    asks = Requester(
        user.get_username(), Trigger.BULK, user=user, source_ip="10.1.2.3", reason="new bucket"
    )
    return make_batch(selected(user, *clusters), asks, values=VALUES | values).batch


def work(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> dict[int, BatchItem]:
    """Do all that is due, however long it takes; the items by their cluster."""
    monkeypatch.setattr(starting, "LONGEST", 30.0)
    advance()
    batch.refresh_from_db()
    return {item.cluster_id: item for item in batch.items.all()}


def begin_long_ago(item: BatchItem) -> None:
    """As if its worker had died in a change, longer ago than any change takes."""
    BatchItem.objects.filter(pk=item.pk).update(
        begun_at=timezone.now() - changing.LONGEST_ITEM - timedelta(seconds=1)
    )


def test_each_cluster_gets_what_it_needs_with_before_and_after(
    admin: User, make_cluster: MakeCluster, cloud: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    off, on, never_read = (make_cluster(log_backup=each) for each in (False, True, False))
    for cluster in (off, on):
        read_settings(cluster)
    before = stored(on).bucket
    batch = make(admin, off, on, never_read)
    items = work(batch, monkeypatch)
    assert {pk: (each.state, each.note) for pk, each in items.items()} == {
        off.pk: ("done", "Log backup was switched on."),
        on.pk: ("done", "The settings were changed."),
        never_read.pk: ("done", "Log backup was switched on."),
    }
    assert batch.finished_at is not None
    for cluster in (off, on, never_read):
        row = stored(cluster)
        assert (row.enabled, row.bucket, row.base_path, row.agency) == (
            True,
            "my-bucket",
            f"logs/{cluster.name}",
            "css_obs_agency",
        )
    event = AuditEvent.objects.about(on).latest("sequence")
    assert (event.action, event.actor_name, event.ip, event.reason) == (
        "log_backup_changed",
        "root",
        "10.1.2.3",
        "new bucket",
    )
    assert event.before is not None
    assert event.after is not None
    assert (event.before["bucket"], event.after["bucket"]) == (before, "my-bucket")
    requested = AuditEvent.objects.get(action=Action.BATCH_REQUESTED)
    assert requested.details is not None
    assert requested.details["work"] == "settings"
    assert requested.details.items() >= VALUES.items()
    progress = progress_of(batch, None)
    assert (progress.total, progress.done, progress.worked) == (3, 3, 3)
    # once more: read, and nothing to send
    calls = [called(cloud, Change.ENABLE), called(cloud, Change.CHANGE)]
    again = work(make(admin, off, on, never_read), monkeypatch)
    assert {each.note for each in again.values()} == {
        "The settings were like this already; nothing was sent."
    }
    assert [called(cloud, Change.ENABLE), called(cloud, Change.CHANGE)] == calls == [2, 1]


def test_failures_of_one_kind_cancel_the_rest(
    admin: User, make_cluster: MakeCluster, cloud: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    clusters = [make_cluster(log_backup=False) for _ in range(5)]
    cloud.fault("status", clusters[0].cluster_id, endpoint="open", preset="forbidden")
    for cluster in clusters[1:]:
        cloud.fault("status", cluster.cluster_id, endpoint="open", preset="bucket")
    batch = make(admin, *clusters)
    items = work(batch, monkeypatch)
    found = [(items[each.pk].state, items[each.pk].cause, items[each.pk].code) for each in clusters]
    assert found == [
        ("failed", "", "CSS.0010"),
        ("failed", "", "CSS.0048"),
        ("failed", "", "CSS.0048"),
        ("cancelled", Cause.STOPPED, "CSS.0048"),
        ("cancelled", Cause.STOPPED, "CSS.0048"),
    ]
    assert "CSS.0048" in items[clusters[1].pk].note
    assert called(cloud, Change.ENABLE) == 3
    assert batch.finished_at is not None
    event = AuditEvent.objects.get(action=Action.BATCH_CANCELLED)
    assert event.details == {"clusters": 2, "failures": 2, "code": "CSS.0048"}
    progress = progress_of(batch, None)
    assert (progress.total, progress.done, progress.unworked, progress.cancelled) == (5, 5, 3, 2)


@pytest.mark.parametrize("arrived", [True, False])
def test_an_item_whose_worker_died_is_settled_by_what_the_cloud_has(
    admin: User,
    make_cluster: MakeCluster,
    cloud: SimulatorControl,
    monkeypatch: pytest.MonkeyPatch,
    arrived: bool,
) -> None:
    cluster = make_cluster(log_backup=False)
    read_settings(cluster)
    batch = make(admin, cluster)
    call = log_settings._call

    def die(*arguments: Any) -> None:
        if arrived:
            call(*arguments)
        raise SystemExit

    with monkeypatch.context() as dying:
        dying.setattr(log_settings, "_call", die)
        with pytest.raises(SystemExit):
            advance()
    assert work(batch, monkeypatch)[cluster.pk].state == ItemState.WORKING
    assert batch.finished_at is None, "nobody takes it up while it may be under way"
    assert called(cloud, Change.ENABLE) == int(arrived)
    item = batch.items.get()
    begin_long_ago(item)
    item = work(batch, monkeypatch)[cluster.pk]
    assert (item.state, batch.finished_at is not None) == ("done", True)
    assert called(cloud, Change.ENABLE) == 1, "sent once in all"
    assert stored(cluster).base_path == f"logs/{cluster.name}"


def test_a_worker_that_was_taken_for_dead_does_not_end_the_item(
    admin: User, make_cluster: MakeCluster
) -> None:
    cluster = make_cluster(log_backup=False)
    batch = make(admin, cluster)
    late = changing._begin(batch, cluster.project)
    assert late is not None
    begin_long_ago(late)
    assert changing._begin(batch, cluster.project) is not None
    changing._end(late, log_settings.ChangeResult(log_settings.ChangeOutcome.UNKNOWN))
    assert batch.items.get().state == ItemState.WORKING


def test_settings_that_changed_after_the_request_are_left_alone(
    admin: User, make_cluster: MakeCluster, cloud: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    console, here = (make_cluster(log_backup=True) for _ in range(2))
    for cluster in (console, here):
        read_settings(cluster)
    batch = make(admin, console, here)
    cloud.change_cluster(console.cluster_id, log_backup=False)
    cloud.change_cluster(here.cluster_id, log_backup=False)
    read_settings(here)  # a check has noticed
    items = work(batch, monkeypatch)
    assert {(each.state, each.code) for each in items.values()} == {("failed", "stale")}
    assert called(cloud, Change.ENABLE) == called(cloud, Change.CHANGE) == 0


def test_a_cluster_that_somebody_changes_now_waits_and_can_be_cancelled(
    admin: User, make_cluster: MakeCluster, cloud: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = make_cluster(log_backup=False)
    read_settings(cluster)
    rows = StoredSettings.objects.filter(cluster=cluster)
    rows.update(changing_until=timezone.now() + timedelta(seconds=60))
    batch = make(admin, cluster)
    item = work(batch, monkeypatch)[cluster.pk]
    assert (item.state, batch.finished_at) == ("waiting", None)
    begun = item.begun_at
    assert work(batch, monkeypatch)[cluster.pk].begun_at == begun, "not tried at once again"
    assert cancel_batch(batch, admin, actor=Actor("root")) == 1
    begin_long_ago(item)
    assert work(batch, monkeypatch)[cluster.pk].state == "cancelled"
    assert called(cloud, Change.ENABLE) == 0


def test_permission_and_path_are_looked_at_for_each_cluster(
    admin: User, make_cluster: MakeCluster, cloud: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, fine = make_cluster(log_backup=False), make_cluster(log_backup=False)
    Cluster.objects.filter(pk=named.pk).update(name="what?")
    items = work(make(admin, named, fine), monkeypatch)
    assert (items[named.pk].state, items[named.pk].cause) == ("skipped", Cause.IMPOSSIBLE)
    assert "'?'" in items[named.pk].note
    assert items[fine.pk].state == "done"
    batch = make(admin, fine, bucket="another-bucket")
    Grant.objects.filter(user=admin).delete()
    item = work(batch, monkeypatch)[fine.pk]
    assert (item.state, item.cause) == ("skipped", Cause.NOT_PERMITTED)
    operator = give(User.objects.create_user("anna"), Role.OPERATOR)
    with pytest.raises(BatchProblem, match="cannot"):
        make(operator, fine)
    assert called(cloud, Change.ENABLE) == 1
    assert called(cloud, Change.CHANGE) == 0


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"bucket": "No"}, "OBS bucket: "),
        ({"base_path": "/logs/{cluster}"}, "Path in the bucket: .* slash"),
        ({"base_path": "logs/{name}"}, "Path in the bucket: .*'{'"),
        ({"agency": ""}, "IAM agency: "),
        ({"stop_after": 0}, "Failures: "),
    ],
)
def test_settings_that_are_not_valid_are_refused_before_they_are_stored(
    admin: User, make_cluster: MakeCluster, values: dict[str, Any], why: str
) -> None:
    with pytest.raises(BatchProblem, match=why):
        make(admin, make_cluster(), **values)
    assert not Batch.objects.exists()


def test_the_preview_names_paths_and_who_shares_one(admin: User, make_cluster: MakeCluster) -> None:
    clusters = [make_cluster() for _ in range(4)]
    for cluster, name in zip(clusters, ("a", "b", "b", "c:"), strict=True):
        Cluster.objects.filter(pk=cluster.pk).update(name=name)
    found = changing.paths_of(selected(admin, *clusters), "logs/{cluster}")
    assert found.examples == [("a", "logs/a"), ("b", "logs/b"), ("b", "logs/b")]
    (shared,) = found.shared
    project = clusters[0].project.name
    assert (shared.path, shared.names, shared.count) == ("logs/b", [f"b ({project})"] * 2, 2)
    assert [name for name, _why in found.invalid] == ["c:"]
    (all_in_one,) = changing.paths_of(selected(admin, *clusters), "logs").shared
    assert (all_in_one.path, all_in_one.count) == ("logs", 4)
