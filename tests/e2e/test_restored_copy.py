"""A database of production, restored into a second instance, sends nothing until it is adopted."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
import yaml

from simulator.client import SimulatorControl
from tests.e2e.test_dying_processes import wait_until
from tests.instances import Instance
from tests.places import own_database
from tests.visitor import Visitor, text_of

STATES = (
    "from backups.models import BackupRun; "
    "print(*BackupRun.objects.order_by('pk').values_list('state', flat=True))"
)


@pytest.fixture
def databases() -> Iterator[list[str]]:
    """Two databases on the suite's PostgreSQL; empty texts where it runs on SQLite."""
    server = os.environ.get("DATABASE_URL", "")
    with ExitStack() as stack:
        if not server:
            yield ["", ""]
        else:
            yield [stack.enter_context(own_database(server)) for _ in range(2)]


def started(folder: Path, database: str) -> Instance:
    environ = {"DATABASE_URL": database} if database else {}
    instance = Instance(folder, **environ)
    instance.wait_ready().wait_for_text("clusters registered")
    return instance


def copy(source: Path, target: Path, databases: list[str]) -> None:
    """Restore a backup of one instance for another: the folder, and a dump where there is one."""
    shutil.copytree(source / "data", target / "data", ignore=shutil.ignore_patterns("*.sock"))
    if databases[0]:
        dump = subprocess.run(
            ["pg_dump", "--no-owner", databases[0]], capture_output=True, check=True, timeout=60
        )
        subprocess.run(
            ["psql", "-q", "-v", "ON_ERROR_STOP=1", databases[1]],
            input=dump.stdout,
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=60,
        )


def states(instance: Instance) -> list[str]:
    return instance.manage("shell", "-v0", "-c", STATES).stdout.split()


def simulator_of(instance: Instance) -> SimulatorControl:
    clouds = yaml.safe_load((instance.data_dir / "simulator" / "clouds.yaml").read_text())
    return SimulatorControl(clouds["clouds"]["demo"]["auth"]["auth_url"].removesuffix("/v3"))


@pytest.mark.timeout(400)
def test_a_restored_copy_sends_nothing_until_it_is_adopted(
    tmp_path: Path, databases: list[str]
) -> None:
    first, second = tmp_path / "production", tmp_path / "staging"
    for folder in first, second:
        folder.mkdir()
    production = started(first, databases[0])
    production.wait_for_worker()
    assert production.stop() == 0
    # nobody is there to send it: so the copy has a queued run
    assert production.manage("backup", "orders-prod").returncode == 0
    assert states(production) == ["queued"]
    copy(first, second, databases)

    staging = started(second, databases[1])
    try:
        anna = Visitor(staging.url).sign_in("admin", production.password)
        wait_until(
            lambda: "Nothing is sent to a cloud until it is adopted" in page(anna),
            "the banner says it",
        )
        wait_until(lambda: "Not sent." in anna.run(1)["note"], "the run says it")
        assert anna.run(1)["state"] == "queued"
        answer = anna.get("/health/work")
        assert answer.status_code == 503
        assert "until it is adopted" in answer.json()["reason"]
        with pytest.raises(requests.HTTPError, match="409"):
            anna.back_up("warehouse-nl")
        assert not simulator_of(staging).ledger(endpoint="collect")

        adopted = staging.manage("adopt", "--reason", "staging, from last night's backup")
        assert (adopted.returncode, adopted.stdout) == (0, "adopted; 1 queued runs cancelled\n")
        wait_until(lambda: anna.get("/health/work").status_code == 200, "work flows")
        assert anna.run(1)["state"] == "cancelled"
        assert anna.wait_for_run(anna.back_up("warehouse-nl"))["state"] == "succeeded"
        assert len(simulator_of(staging).ledger(endpoint="collect")) == 1
    finally:
        assert staging.stop() == 0, staging.log_tails()

    # production is where it was: a restart is nothing to adopt
    production = started(first, databases[0])
    try:
        anna = Visitor(production.url).sign_in("admin", production.password)
        assert anna.wait_for_run(1)["state"] == "succeeded"
        assert "adopted" not in page(anna)
    finally:
        assert production.stop() == 0


def page(visitor: Visitor) -> str:
    return text_of(visitor.get("/history/").text)
