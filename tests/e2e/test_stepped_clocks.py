"""The wall clock jumps by seven hours, as after a resumed virtual machine or a clock in local time.

Real processes; a library that is compiled here and preloaded shifts their wall clocks while they
run. Their monotonic clocks stay, as in such a step. Once the worker alone has it, so that the
database, the pages and the cloud go on, and once everything but the cloud.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from simulator.client import SimulatorControl
from tests.e2e.test_dying_processes import wait_until
from tests.instances import Instance
from tests.places import own_database, redis_url_of_this_worker
from tests.stack import Stack, simulator_url

pytestmark = pytest.mark.skipif(
    not shutil.which("cc"), reason="no C compiler: the clock that can be stepped is not built"
)

HOURS = 3600
CHECKED_EVERY = 10.0  # seconds
GRACE = 12.0
WHOSE = {
    "worker": {"STEPPED_CLOCK_OF": "worker"},
    "product": {"STEPPED_CLOCK_NOT_OF": "simulator"},  # the cloud's clock is not ours
}


@dataclass
class Stepped:
    """A product whose wall clock can be stepped while it runs.

    Attributes:
        stack: the product.
        file: holds the seconds by which the clock is ahead.
        ahead: these seconds.
    """

    stack: Stack
    file: Path
    ahead: int = 0

    def step(self, seconds: int) -> None:
        """Set the clock ahead, or back."""
        self.ahead += seconds
        with self.file.open("r+b") as clock:
            clock.write(struct.pack("q", self.ahead))


@pytest.fixture(scope="module", params=["worker", "product"])
def stepped(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stepped]:
    """A product of its own: the worker's clock can be stepped, or everybody's."""
    folder, whose = tmp_path_factory.mktemp("stepped"), request.param
    library, clock = folder / "clock.so", folder / "ahead"
    source = Path(__file__).with_name("stepped_clock.c")
    build = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source)]
    subprocess.run(build, check=True)
    clock.write_bytes(struct.pack("q", 0))
    environ = {
        "DEMO_CLOUD": "1",
        "LD_PRELOAD": str(library),
        "STEPPED_CLOCK_FILE": str(clock),
        **WHOSE[whose],
        "CHECK_INTERVAL": str(CHECKED_EVERY),
        "BACKUP_SETTLE_GRACE": str(GRACE),
    }
    with ExitStack() as services:
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
            yield Stepped(Stack(instance, SimulatorControl(simulator_url(instance))), clock)
        finally:
            status = instance.stop()
        assert status == 0, instance.text


@pytest.mark.parametrize("hours", [7, -7])
def test_a_step_in_the_middle_of_runs_changes_nothing_of_how_they_end(
    stepped: Stepped, hours: int
) -> None:
    try:
        _runs_end_as_they_should(stepped, hours)
    except BaseException:
        print(stepped.stack.instance.log_tails())
        raise
    finally:
        stepped.step(-stepped.ahead)


def _runs_end_as_they_should(stepped: Stepped, hours: int) -> None:
    stack, cloud = stepped.stack, stepped.stack.simulator
    names = ("sending", "waiting", "found", "nothing", "retried")
    ids = {}
    for name in names:
        seconds = 25.0 if name == "waiting" else 2.0
        ids[name] = cloud.add_cluster(f"{name}-{hours}", job_seconds=seconds)
    assert stack.instance.manage("sync_clusters", "--cloud", "demo").returncode == 0
    cloud.fault("slow", ids["sending"], seconds=8.0, times=1)
    cloud.fault("reset_after", ids["found"], times=1)
    cloud.fault("status", ids["found"], endpoint="records", status=503)
    cloud.fault("reset_before", ids["nothing"], times=1)
    cloud.fault("status", ids["retried"], preset="throttled", times=2)
    anna = stack.visitor()
    # the one whose answer is slow last: it must be under way at the step
    order = ("waiting", "found", "nothing", "retried", "sending")
    runs = {name: anna.back_up(f"{name}-{hours}") for name in order}
    expected = {"waiting": "accepted", "found": "unknown", "nothing": "unknown"}
    wait_until(
        lambda: all(anna.run(runs[name])["state"] == state for name, state in expected.items()),
        "the runs are where they should be stepped",
    )
    wait_until(lambda: anna.run(runs["sending"])["state"] == "sending", "the request is under way")

    stepped.step(hours * HOURS)
    seen = len(cloud.ledger())
    wait_until(
        lambda: any(
            entry.endpoint == "records" and entry.cluster_id == ids["waiting"]
            for entry in cloud.ledger(after=seen)
        ),
        "records are read again within seconds",
        seconds=10,
    )
    anna = stack.visitor()  # the session may have ended with the step
    assert anna.run(runs["waiting"])["state"] == "accepted", "it is seconds old"
    assert anna.get("/readyz").status_code == 200
    cloud.clear_faults(ids["found"])

    ended = {name: anna.wait_for_run(runs[name], seconds=90) for name in order}
    states = {name: run["state"] for name, run in ended.items()}
    assert states == {
        "sending": "succeeded",
        "waiting": "succeeded",
        "found": "succeeded",
        "nothing": "not_started",
        "retried": "succeeded",
    }, ended
    for name in ("sending", "waiting", "found"):
        assert len(cloud.ledger(endpoint="collect", cluster=ids[name])) == 1
    # the checks go on, too
    seen = len(cloud.ledger())
    for name in names:
        wait_until(
            lambda name=name: any(  # type: ignore[misc]
                entry.endpoint == "detail" and entry.cluster_id == ids[name]
                for entry in cloud.ledger(after=seen)
            ),
            "each cluster is checked again within its interval",
            seconds=3 * CHECKED_EVERY,
        )
    assert "is not running" not in anna.get("/history/").text
    assert "No worker is running" not in anna.get("/history/").text
