"""Checks are leased, a bounded number at a time, and a cloud that is away is not besieged."""

from __future__ import annotations

import json
import threading
from datetime import timedelta

import pytest
import redis
import yaml
from celery import current_app
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backups import heartbeats, uptime
from backups.choices import Readiness
from backups.instance import key_prefix
from backups.models import Cluster, Connection, Heartbeat, Project
from backups.services.clusters import checks, readiness
from backups.services.dispatch import Priority
from backups.services.runs import sweeping


@pytest.fixture
def many(project: Project) -> list[Cluster]:
    """1,000 clusters that were never checked; the cloud does not know them."""
    rows = [
        Cluster(project=project, cluster_id=f"many-{n:04}", name=f"many-{n:04}")
        for n in range(1000)
    ]
    return Cluster.objects.bulk_create(rows)


def test_a_sweep_over_a_thousand_due_clusters_takes_a_few_and_asks_five_times(many, settings):
    with CaptureQueriesContext(connection) as queries:
        leased = checks.claim()
    assert len(leased) == settings.CHECK_PARALLEL
    assert len(queries) <= 5
    with CaptureQueriesContext(connection) as queries:
        assert checks.claim() == [], "as many are under way as may be"
    assert len(queries) == 2


def queued(redis_url: str) -> int:
    """How many checks the broker holds; each priority has a list of its own."""
    name = f"{key_prefix()}{current_app.conf.task_default_queue}\x06\x16{Priority.CHECK.value}"
    with redis.Redis.from_url(redis_url.replace("redis+socket", "unix")) as broker:
        messages = broker.lrange(name, 0, -1)
    tasks = [json.loads(message)["headers"]["task"] for message in messages]
    return tasks.count("backups.tasks.check_cluster")


def test_a_sweep_asks_as_often_for_a_thousand_due_clusters_as_for_one_and_piles_nothing_up(
    many, settings, redis_url
):
    left_by_others = queued(redis_url)
    sweeping.sweep()
    before = queued(redis_url)
    assert before - left_by_others == settings.CHECK_PARALLEL
    sweeping.sweep()
    assert queued(redis_url) == before, "none was taken, so none is added"
    Cluster.objects.update(check_due_at=None, check_leased_until=None)
    with CaptureQueriesContext(connection) as queries:
        sweeping.sweep()
    assert queued(redis_url) - before == settings.CHECK_PARALLEL
    Cluster.objects.exclude(pk=many[-1].pk).delete()
    Cluster.objects.update(check_due_at=None, check_leased_until=None)
    with CaptureQueriesContext(connection) as few:
        sweeping.sweep()
    assert queued(redis_url) - before == settings.CHECK_PARALLEL + 1
    assert len(queries) == len(few)


def test_what_has_waited_longest_is_checked_first_and_what_was_asked_for_before_it(
    project, settings
):
    settings.CHECK_PARALLEL = 2
    now = timezone.now()
    never, overdue, asked, later = (
        Cluster.objects.create(project=project, cluster_id=name, name=name, check_due_at=due)
        for name, due in (
            ("never", None),
            ("overdue", now - timedelta(minutes=5)),
            ("asked", now + timedelta(minutes=5)),
            ("later", now + timedelta(minutes=5)),
        )
    )
    readiness.request_check(asked)
    assert set(checks.claim()) == {asked.pk, overdue.pk}
    Cluster.objects.update(check_leased_until=None)
    assert checks.claim() == [never.pk], "and not what is due later"
    assert Cluster.objects.get(pk=later.pk).check_due_at > timezone.now()


def test_a_lease_that_came_to_nothing_runs_out(make_cluster):
    cluster = make_cluster()
    assert checks.claim() == [cluster.pk]
    assert checks.claim() == []
    ago = timezone.now() - timedelta(seconds=1)
    Cluster.objects.filter(pk=cluster.pk).update(check_due_at=ago, check_leased_until=ago)
    assert checks.claim() == [cluster.pk]


def test_the_check_of_a_worker_that_died_is_made_by_another_once_its_heartbeat_is_stale(
    make_cluster, settings
):
    settings.CHECK_PARALLEL = 1
    cluster = make_cluster()
    assert checks.claim() == [cluster.pk]
    heartbeats.beat("worker")
    checks.renew(cluster.pk)
    assert checks.claim() == [], "it is alive"
    Heartbeat.objects.update(seen_uptime=uptime.now() - settings.HEARTBEAT_STALE_AFTER - 1)
    assert checks.claim() == [cluster.pk]


def test_a_check_ends_its_lease_and_is_due_again_after_about_the_interval(make_cluster, settings):
    cluster = make_cluster()
    checks.claim()
    readiness.check_cluster(cluster.pk)
    cluster.refresh_from_db()
    assert cluster.check_leased_until is None
    pause = (cluster.check_due_at - timezone.now()).total_seconds()
    assert 0.75 * settings.CHECK_INTERVAL < pause <= 1.2 * settings.CHECK_INTERVAL


def test_the_pauses_are_spread(make_cluster):
    cluster, pauses = make_cluster(), set()
    for _ in range(5):
        checks.release(cluster.pk)
        cluster.refresh_from_db()
        pauses.add(round((cluster.check_due_at - timezone.now()).total_seconds()))
        Cluster.objects.filter(pk=cluster.pk).update(check_due_at=None)
    assert len(pauses) > 1


@pytest.mark.parametrize("column", ["gone_at", "archived_at"])
def test_a_cluster_that_does_not_count_is_checked_only_where_somebody_asks(make_cluster, column):
    cluster = make_cluster()
    Cluster.objects.filter(pk=cluster.pk).update(**{column: timezone.now()})
    assert checks.claim() == []
    readiness.request_check(cluster)
    assert checks.claim() == []
    assert checks.claim(only=cluster.pk) == [cluster.pk]


def test_a_project_that_was_disconnected_is_left_alone(make_cluster):
    cluster = make_cluster()
    cut = Connection.objects.create(
        cloud="demo", project=cluster.project, disconnected_at=timezone.now()
    )
    assert checks.claim() == []
    cut.disconnected_at = None
    cut.save()
    assert checks.claim() == [cluster.pk]


def test_a_check_that_was_asked_for_meanwhile_is_made_after_the_one_under_way(make_cluster):
    cluster = make_cluster()
    checks.claim()
    checks.renew(cluster.pk)
    readiness.request_check(cluster)
    checks.release(cluster.pk)
    assert checks.claim() == [cluster.pk]


@pytest.mark.django_db(transaction=True)
def test_of_many_sweeps_at_once_each_cluster_is_given_to_one(make_cluster, settings):
    settings.CHECK_PARALLEL = 1000
    clusters = {make_cluster().pk for _ in range(6)}
    start, leased = threading.Barrier(4), []

    def sweep() -> None:
        try:
            start.wait()
            leased.extend(checks.claim())
        finally:
            connection.close()

    threads = [threading.Thread(target=sweep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(leased) == sorted(clusters)


# --- a cloud that is away


def with_entry(tmp_path, **changes: object) -> None:
    """Change the entry of clouds.yaml."""
    path = tmp_path / "clouds.yaml"
    document = yaml.safe_load(path.read_text())
    auth = document["clouds"]["demo"]["auth"] | changes.pop("auth", {})
    document["clouds"]["demo"] |= {**changes, "auth": auth}
    path.write_text(yaml.safe_dump(document))


def check_all_that_are_due(most: int = 1000) -> int:
    """Sweep and check until nothing is due; returns how many checks were made."""
    made = 0
    while (ids := checks.claim()) and made < most:
        for pk in ids:
            readiness.check_cluster(pk)
            made += 1
    return made


def test_credentials_that_are_refused_cost_one_sign_in_for_a_thousand_clusters(
    many, cloud, tmp_path, settings
):
    before = len(cloud.ledger(endpoint="token"))
    with_entry(tmp_path, auth={"password": "wrong"})
    assert check_all_that_are_due() <= settings.CHECK_PARALLEL
    assert len(cloud.ledger(endpoint="token")) == before + 1
    assert not cloud.ledger(endpoint="detail")
    assert set(Cluster.objects.values_list("readiness", "checked_at")) == {
        (Readiness.UNKNOWN, None)
    }
    assert not Cluster.objects.filter(check_error="").exists(), "each says why"
    soon = timezone.now() + timedelta(seconds=checks.OUT_OF_REACH_PAUSE + 1)
    assert not Cluster.objects.exclude(check_due_at__lte=soon).exists(), "and is tried again"


def test_an_identity_service_that_is_away_is_asked_for_the_first_few_only(many, tmp_path, settings):
    with_entry(tmp_path, auth={"auth_url": "http://127.0.0.1:9/v3"})
    assert check_all_that_are_due() <= settings.CHECK_PARALLEL


def test_the_other_projects_are_checked_all_the_same(many, make_cluster, tmp_path, cloud):
    with_entry(tmp_path, auth={"password": "wrong"})
    elsewhere = Project.objects.create(cloud="other", region="eu-de", project_id="x")
    other = Cluster.objects.create(project=elsewhere, cluster_id="o", name="o")
    check_all_that_are_due()
    other.refresh_from_db()
    assert "'other'" in other.check_error, "it has a reason of its own"


def test_a_cluster_that_does_not_answer_does_not_put_the_others_off(make_cluster, cloud):
    silent, well = make_cluster(), make_cluster()
    cloud.fault("reset_before", silent.cluster_id, endpoint="detail")
    readiness.check_cluster(silent.pk)
    well.refresh_from_db()
    assert well.check_due_at is None
    assert checks.claim() == [well.pk]
