"""Services against a real simulator over sockets; the task queue is not needed here."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backups.choices import Trigger
from backups.models import BackupRun, Cluster, Project
from backups.services.runs.requests import Requester, request_backup
from simulator import clouds_file, server
from simulator.client import SimulatorControl
from simulator.config import SimulatorConfig

MakeCluster = Callable[..., Cluster]
MakeRun = Callable[..., BackupRun]

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cloud_server() -> Iterator[server.Simulator]:
    """A cloud whose jobs run until a test ends them."""
    simulator = server.start(SimulatorConfig(job_seconds=3600.0))
    yield simulator
    simulator.stop()


@pytest.fixture
def cloud(
    cloud_server: server.Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> SimulatorControl:
    """The cloud, empty again, as the only one in clouds.yaml."""
    path = tmp_path / "clouds.yaml"
    clouds_file.write(path, cloud_server.clouds_yaml())
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))
    control = SimulatorControl(cloud_server.url)
    control.reset()
    control.set_clock(0)
    return control


@pytest.fixture
def project(db: None, cloud: SimulatorControl) -> Project:
    from backups.css_api import config, session
    from backups.services.cloud import default_timeouts

    ((name, region), *_others) = config.list_clouds()
    identity = session.connect(name, region, timeouts=default_timeouts()).identity()
    return Project.objects.create(
        cloud=name, region=region, project_id=identity.project_id, name=identity.project_name
    )


@pytest.fixture
def make_cluster(cloud: SimulatorControl, project: Project) -> MakeCluster:
    """Makes a cluster in the cloud and registers it."""

    def make(**fields: object) -> Cluster:
        name = f"cluster-{next(_numbers)}"
        cluster_id = cloud.add_cluster(name, **fields)
        return Cluster.objects.create(project=project, cluster_id=cluster_id, name=name)

    return make


@pytest.fixture
def operator() -> Requester:
    return Requester("anna", Trigger.BUTTON, source_ip="10.1.2.3")


@pytest.fixture
def make_run(make_cluster: MakeCluster, operator: Requester) -> MakeRun:
    """Requests a backup of a new cluster, or of the one given."""

    def make(cluster: Cluster | None = None, **options: int) -> BackupRun:
        return request_backup(cluster or make_cluster(), operator, **options).run

    return make
