"""Registering what the clouds list: everything, once, and nothing is ever deleted."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest
import yaml
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backups.choices import ConnectionFault, Readiness
from backups.css_api.errors import ConfigurationError
from backups.models import BackupRun, Cluster, Connection, Project
from backups.services.clusters import checks
from backups.services.connections import sync
from backups.services.connections.sync import sync_clusters
from backups.services.runs.requests import request_backup
from tests.services.clouds_entries import add_entry, the_entry

pytestmark = pytest.mark.django_db


def test_clusters_past_ten_and_past_a_thousand_are_all_registered(cloud):
    ids = cloud.add_clusters(1037)
    (result,) = sync_clusters()
    assert (result.listed, result.added, result.gone, result.error) == (1037, 1037, 0, "")
    assert set(Cluster.objects.values_list("cluster_id", flat=True)) == set(ids)


def test_a_second_sync_adds_nothing_and_updates_what_changed(cloud):
    cluster_id = cloud.add_cluster("orders", status="100")
    sync_clusters()
    cloud.change_cluster(cluster_id, status="200", actions=["GROWING"])
    (result,) = sync_clusters()
    cluster = Cluster.objects.get()
    assert (result.added, result.listed) == (0, 1)
    assert (cluster.status, cluster.actions) == ("200", ["GROWING"])


def test_a_vanished_cluster_is_marked_and_keeps_its_history(cloud, operator):
    cluster_id = cloud.add_cluster("orders")
    cloud.add_cluster("stays")
    sync_clusters()
    cluster = Cluster.objects.get(cluster_id=cluster_id)
    run = request_backup(cluster, operator).run
    cloud.remove_cluster(cluster_id)
    (result,) = sync_clusters()
    cluster.refresh_from_db()
    assert result.gone == 1
    assert cluster.gone_at is not None
    assert BackupRun.objects.get(cluster=cluster) == run
    (result,) = sync_clusters()
    assert result.gone == 0, "a cluster vanishes once"


def test_a_cluster_that_returns_is_present_again(cloud):
    cluster_id = cloud.add_cluster("orders")
    sync_clusters()
    Cluster.objects.update(gone_at=timezone.now())
    sync_clusters()
    assert Cluster.objects.get(cluster_id=cluster_id).gone_at is None


def test_a_cluster_that_has_gone_is_not_ready_and_one_that_is_back_is_checked(cloud):
    cluster_id = cloud.add_cluster("here-and-gone")
    cloud.add_cluster("stays")
    sync_clusters()
    Cluster.objects.update(readiness=Readiness.READY, checked_at=timezone.now())
    cloud.remove_cluster(cluster_id)
    sync_clusters()
    cluster = Cluster.objects.get(cluster_id=cluster_id)
    assert (cluster.readiness, cluster.readiness_detail) == (
        Readiness.UNAVAILABLE,
        "Gone from the cloud.",
    )
    assert Cluster.objects.get(name="stays").readiness == Readiness.READY
    assert cloud.add_cluster("here-and-gone") == cluster_id
    sync_clusters()
    cluster.refresh_from_db()
    assert cluster.gone_at is None
    assert (cluster.readiness, cluster.checked_at) == (Readiness.UNKNOWN, None)
    assert cluster.check_due_at == checks.ASKED_FOR


def test_a_cloud_that_fails_marks_nothing_as_gone_and_says_why(cloud):
    cloud.add_cluster("orders")
    sync_clusters()
    cloud.fault("status", endpoint="list", status=500, body_kind="html")
    (result,) = sync_clusters()
    assert "500" in result.error
    assert Cluster.objects.get().gone_at is None
    assert "500" in Connection.objects.get().sync_error
    cloud.clear_faults()
    sync_clusters()
    assert Connection.objects.get().sync_error == ""


def test_one_cloud_that_fails_does_not_keep_the_others_from_it(cloud):
    cloud.add_cluster("orders")
    name, _region = the_entry()
    add_entry("aaa-broken", password="hunter22")
    results = {result.cloud: result for result in sync_clusters()}
    assert "401" in results["aaa-broken"].error
    assert "hunter22" not in results["aaa-broken"].error
    assert results[name].listed == 1


def test_a_cloud_that_says_nothing_costs_the_others_its_timeout_at_most(cloud, settings):
    settings.CSS_READ_TIMEOUT = 0.5
    cloud.add_cluster("orders")
    name, _region = the_entry()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        add_entry("aaa-silent", css_endpoint_override=f"http://127.0.0.1:{port}")
        began = time.monotonic()
        results = {result.cloud: result for result in sync_clusters()}
    assert time.monotonic() - began < 10
    assert results[name].listed == 1
    row = Connection.objects.get(cloud="aaa-silent")
    assert row.sync_fault == ConnectionFault.UNANSWERED
    assert results["aaa-silent"].error == row.sync_error


def test_a_list_that_cannot_be_stored_is_told_and_does_not_hinder_the_others(cloud, monkeypatch):
    cloud.add_cluster("orders")
    add_entry("other")
    first = sync.store_list

    def failing(identity, listed):
        if identity.cloud == "demo":
            raise ZeroDivisionError
        return first(identity, listed)

    monkeypatch.setattr(sync, "store_list", failing)
    results = {result.cloud: result for result in sync_clusters()}
    assert results["demo"].error == "ZeroDivisionError"
    assert results["other"].listed == 1
    row = Connection.objects.get(cloud="demo")
    assert (row.sync_fault, row.sync_step) == (ConnectionFault.INTERNAL, "")
    assert not Cluster.objects.filter(project__cloud="demo").exists()


def test_a_cloud_that_is_not_configured_is_named_with_those_that_are(cloud):
    with pytest.raises(ConfigurationError, match=r"no cloud 'nope'.*it has: "):
        sync_clusters("nope")
    with pytest.raises(CommandError, match="no cloud 'nope'"):
        call_command("sync_clusters", cloud="nope")


def test_without_any_cloud_the_command_says_how_to_connect_one(cloud):
    Path(os.environ["OS_CLIENT_CONFIG_FILE"]).write_text("clouds: {}\n")
    with pytest.raises(ConfigurationError, match=r"clouds\.yaml"):
        sync_clusters()


def test_clusters_of_an_entry_that_left_clouds_yaml_are_gone_and_return_with_it(cloud):
    cloud.add_cluster("orders")
    path = Path(os.environ["OS_CLIENT_CONFIG_FILE"])
    before = path.read_text()
    sync_clusters()
    config = yaml.safe_load(before)
    ((_, entry),) = config["clouds"].items()
    path.write_text(yaml.safe_dump({"clouds": {"renamed": entry}}))
    results = {result.cloud: result for result in sync_clusters()}
    assert results["renamed"].added == 1
    assert results["demo"].gone == 1
    assert Cluster.objects.get(project__cloud="demo").gone_at is not None
    path.write_text(before)
    sync_clusters()
    assert Cluster.objects.get(project__cloud="demo").gone_at is None


def test_clusters_of_a_project_that_the_credentials_left_are_gone(cloud):
    cloud.add_cluster("orders")
    sync_clusters()
    Project.objects.update(project_id="0" * 32)
    sync_clusters()
    assert Cluster.objects.present().count() == 1
    assert Cluster.objects.get(project__project_id="0" * 32).gone_at is not None


def test_an_unchanged_list_writes_nothing_but_the_connection(cloud):
    cloud.add_clusters(30, tags={"env": "prod"})
    sync_clusters()
    before = list(Cluster.objects.order_by("pk").values())
    with CaptureQueriesContext(connection) as queries:
        sync_clusters()
    written = [q["sql"] for q in queries if q["sql"].startswith(("INSERT", "DELETE"))]
    assert written == []
    assert list(Cluster.objects.order_by("pk").values()) == before


def test_only_what_changed_is_written(cloud):
    ids = cloud.add_clusters(3)
    sync_clusters()
    # as if by hand: a sync that writes every row would put it right
    Cluster.objects.filter(cluster_id=ids[0]).update(check_error="kept", objective_hours=7)
    cloud.change_cluster(ids[0], actions=["GROWING"])
    sync_clusters()
    cluster = Cluster.objects.get(cluster_id=ids[0])
    assert (cluster.actions, cluster.check_error, cluster.objective_hours) == (
        ["GROWING"],
        "kept",
        7,
    )


def test_the_command_connects_nothing_where_only_the_page_may(cloud, settings):
    settings.AUTO_CONNECT = False
    assert sync_clusters() == []
    (result,) = sync_clusters("demo")
    assert "not connected" in result.error
    assert not Connection.objects.exists()
    Connection.objects.create(cloud="demo", region=the_entry()[1])
    assert [result.error for result in sync_clusters()] == [""]
