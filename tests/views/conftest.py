"""Rows made directly, and a signed-in client."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from backups.choices import RunState
from backups.models import BackupRun, Cluster, Project, RunEvent
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from tests.grants import give

_serial = itertools.count(1)
MakeCluster = Callable[..., Cluster]
MakeRun = Callable[..., BackupRun]


@pytest.fixture(autouse=True)
def plain_static_files(settings: Any) -> None:
    """No manifest: the tests need no collectstatic."""
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


@pytest.fixture
def anna(db: None) -> User:
    """An operator of all projects; `give` in tests/grants.py gives her more."""
    return give(User.objects.create_user("anna", password="a-password"), Role.OPERATOR)


@pytest.fixture
def web(client: Client, anna: User) -> Client:
    """A browser in which anna has signed in."""
    client.force_login(anna)
    return client


@pytest.fixture
def project(db: None) -> Project:
    return Project.objects.create(
        cloud="otc", region="eu-de", project_id="p" * 32, name="eu-de_logging"
    )


@pytest.fixture
def make_cluster(project: Project) -> MakeCluster:
    def make(name: str = "", **columns: Any) -> Cluster:
        number = next(_serial)
        values = {
            "project": project,
            "cluster_id": f"id-{number:06d}",
            "name": name or f"cluster-{number:06d}",
            "engine": "OpenSearch",
            "version": "2.19.0",
            "status": "200",
        }
        return Cluster.objects.create(**values | columns)

    return make


def protect(cluster: Cluster, hours: float) -> None:
    """Have a cluster verified some hours ago, with an objective of 24 h."""
    at = timezone.now() - timedelta(hours=hours)
    Cluster.objects.filter(pk=cluster.pk).update(
        verified_at=at, due_at=at + timedelta(hours=18), overdue_at=at + timedelta(hours=24)
    )


@pytest.fixture
def make_run(make_cluster: MakeCluster) -> MakeRun:
    def make(cluster: Cluster | None = None, **columns: Any) -> BackupRun:
        cluster = cluster or make_cluster()
        values = {
            "cluster": cluster,
            "project": cluster.project,
            "cluster_cloud_id": cluster.cluster_id,
            "cluster_name": cluster.name,
            "cloud": cluster.project.cloud,
            "region": cluster.project.region,
            "project_id_in_cloud": cluster.project.project_id,
            "project_name": cluster.project.name,
            "requested_by_name": "ben",
            "trigger": "button",
        }
        run = BackupRun.objects.create(**values | columns)
        RunEvent.objects.create(run=run, to_state=RunState.QUEUED, actor=run.requested_by_name)
        return run

    return make
