"""Registering what the clouds list: everything, once, and nothing is ever deleted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from django.core.management import CommandError, call_command

from backups.css_api.errors import ConfigurationError
from backups.models import BackupRun, Cluster, Project
from backups.services.requests import request_backup
from backups.services.sync import sync_clusters

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
    Cluster.objects.update(gone_at=Cluster.objects.get().seen_at)
    sync_clusters()
    assert Cluster.objects.get(cluster_id=cluster_id).gone_at is None


def test_a_cloud_that_fails_marks_nothing_as_gone_and_says_why(cloud):
    cloud.add_cluster("orders")
    sync_clusters()
    cloud.fault("status", endpoint="list", status=500, body_kind="html")
    (result,) = sync_clusters()
    assert "500" in result.error
    assert Cluster.objects.get().gone_at is None
    assert "500" in Project.objects.get().sync_error
    cloud.clear_faults()
    sync_clusters()
    assert Project.objects.get().sync_error == ""


def test_one_cloud_that_fails_does_not_keep_the_others_from_it(cloud):
    cloud.add_cluster("orders")
    path = Path(os.environ["OS_CLIENT_CONFIG_FILE"])
    config = yaml.safe_load(path.read_text())
    (name, entry), *_rest = config["clouds"].items()
    broken = {**entry, "auth": {**entry["auth"], "password": "wrong"}}
    config["clouds"]["aaa-broken"] = broken
    path.write_text(yaml.safe_dump(config))
    results = {result.cloud: result for result in sync_clusters()}
    assert "401" in results["aaa-broken"].error
    assert "wrong" not in results["aaa-broken"].error
    assert results[name].listed == 1


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
