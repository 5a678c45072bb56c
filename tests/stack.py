"""The whole product as processes: used over HTTP, by its commands, in a browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from simulator.client import SimulatorControl
from tests.instances import Instance
from tests.places import own_database, redis_url_of_this_worker
from tests.visitor import Visitor


@dataclass(frozen=True)
class Stack:
    """A running product with the demo's simulator.

    Attributes:
        instance: its processes, `manage`, folders and logs.
        simulator: steers the simulated cloud, and knows what that has received.
    """

    instance: Instance
    simulator: SimulatorControl

    @property
    def base_url(self) -> str:
        """Without a slash at the end."""
        return self.instance.url

    def add_cluster(self, name: str, **fields: object) -> str:
        """Add a cluster to the simulated cloud and register it; returns its id."""
        cluster_id = self.simulator.add_cluster(name, **fields)
        answer = self.instance.manage("sync_clusters", "--cloud", "demo")
        assert answer.returncode == 0, answer.stderr
        return cluster_id

    def visitor(self) -> Visitor:
        """A new browser, signed in as admin."""
        return Visitor(self.base_url).sign_in("admin", self.instance.password)


@pytest.fixture(scope="session")
def running_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One product for all end-to-end tests of a worker, on the services that the suite runs on."""
    folder = tmp_path_factory.mktemp("stack")
    with ExitStack() as services:
        environ = {"DEMO_CLOUD": "1"}
        if server := os.environ.get("DATABASE_URL"):
            environ["DATABASE_URL"] = services.enter_context(own_database(server))
        if broker := redis_url_of_this_worker(offset=1):
            import redis

            environ["REDIS_URL"] = broker
            services.enter_context(redis.Redis.from_url(broker)).flushdb()
        instance = Instance(folder, **environ)
        try:
            instance.wait_ready()
            instance.wait_for_text("clusters registered")
            instance.wait_for_worker()
            clouds = folder / "data" / "simulator" / "clouds.yaml"
            yield Stack(instance, SimulatorControl(_simulator_url(clouds)))
        finally:
            status = instance.stop()
        assert status == 0, instance.text


def _simulator_url(clouds_file: Path) -> str:
    demo = yaml.safe_load(clouds_file.read_text())["clouds"]["demo"]
    return str(demo["auth"]["auth_url"]).removesuffix("/v3")


@pytest.fixture
def stack(running_stack: Stack, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """The running product; the end of its logs is shown with a test that fails."""
    failed_before = request.session.testsfailed
    yield running_stack
    if request.session.testsfailed > failed_before:
        print(running_stack.instance.text)
        print(running_stack.instance.log_tails())
