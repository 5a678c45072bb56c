"""A simulator for each test, in this process but over real sockets, and a signed-in client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from simulator_access import Css, StartSimulator

from simulator import server
from simulator.client import SimulatorControl
from simulator.config import SimulatorConfig


@pytest.fixture
def start_simulator() -> Iterator[StartSimulator]:
    """Starts simulators that end with the test."""
    started: list[server.Simulator] = []

    def start(**options: object) -> server.Simulator:
        simulator = server.start(SimulatorConfig(**options))
        started.append(simulator)
        return simulator

    yield start
    for simulator in started:
        simulator.stop()


@pytest.fixture
def simulator(start_simulator: StartSimulator) -> server.Simulator:
    """A simulator whose jobs run until a test ends them."""
    return start_simulator(job_seconds=3600.0)


@pytest.fixture
def control(simulator: server.Simulator) -> SimulatorControl:
    """The control API of `simulator`."""
    return SimulatorControl(simulator.url)


@pytest.fixture
def css(simulator: server.Simulator) -> Iterator[Css]:
    """A signed-in client of `simulator`."""
    client = Css(simulator)
    yield client
    client.session.close()
