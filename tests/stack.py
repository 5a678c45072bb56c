"""The whole product as processes: used over HTTP, by its commands, in a browser."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cached_property

import pytest
import yaml

from simulator.client import SimulatorControl
from tests.instances import ROOT, Instance
from tests.places import own_database, redis_url_of_this_worker
from tests.visitor import Visitor

COMMANDS = """
import json, sys
from django.core.management import call_command
from django.db import connections
for line in sys.stdin:
    call_command(*json.loads(line), stdout=sys.stderr)
    connections.close_all()
    print("done", flush=True)
"""


class Commands:
    """Commands of manage.py in one process beside the product: each alone takes seconds to start.

    For what a test prepares; a test of a command runs it by `Instance.manage`.
    """

    def __init__(self, instance: Instance) -> None:
        self._log = instance.data_dir.parent / "commands.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), "shell", "-v0", "-c", COMMANDS],
                cwd=instance.data_dir.parent,
                env=instance.environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def run(self, *arguments: str) -> None:
        """Run one and wait for its end; it must not fail."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n", self._log.read_text()

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=30)


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
        self.commands.run("sync_clusters", "--cloud", "demo")
        return cluster_id

    @cached_property
    def commands(self) -> Commands:
        """A process for commands, from the first one on."""
        return Commands(self.instance)

    def close(self) -> None:
        """End what was started for the tests."""
        if "commands" in vars(self):
            self.commands.close()

    def visitor(self) -> Visitor:
        """A new browser, signed in as admin."""
        return Visitor(self.base_url).sign_in("admin", self.instance.password)


@pytest.fixture(scope="session")
def running_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One product for all end-to-end tests of a worker, on the services that the suite runs on."""
    folder = tmp_path_factory.mktemp("stack")
    with ExitStack() as services:
        # Whether a run without a record was started is known after 8 seconds instead of 25.
        environ = {"DEMO_CLOUD": "1", "BACKUP_SETTLE_GRACE": "8"}
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
            with closing(Stack(instance, SimulatorControl(simulator_url(instance)))) as started:
                yield started
        finally:
            status = instance.stop()
        assert status == 0, instance.text


def simulator_url(instance: Instance) -> str:
    """The address of the simulator that an instance has started."""
    clouds = instance.data_dir / "simulator" / "clouds.yaml"
    demo = yaml.safe_load(clouds.read_text())["clouds"]["demo"]
    return str(demo["auth"]["auth_url"]).removesuffix("/v3")


@pytest.fixture
def stack(running_stack: Stack, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """The running product; the end of its logs is shown with a test that fails."""
    failed_before = request.session.testsfailed
    yield running_stack
    if request.session.testsfailed > failed_before:
        print(running_stack.instance.text)
        print(running_stack.instance.log_tails())
