"""Two instances with one REDIS_URL, each with a database of its own, leave each other alone."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from dashboard.local_run.redis import find_server
from tests.e2e.test_redis_refuses_writes import free_port
from tests.instances import Instance

HEALTHY = ("orders-prod", "warehouse-nl", "webshop-nl")
UID = "from backups import instance; print(instance.uid())"


@pytest.fixture(scope="module")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis of these tests' own, as a URL."""
    folder, port = tmp_path_factory.mktemp("shared-redis"), free_port()
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with subprocess.Popen(
        [find_server(), *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as server:
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.kill()


@pytest.mark.timeout(400)
def test_two_instances_on_one_redis_do_their_own_work(tmp_path: Path, shared_redis: str) -> None:
    with ExitStack() as stack:
        instances = []
        for name in ("production", "staging"):
            (tmp_path / name).mkdir()
            instance = Instance(tmp_path / name, REDIS_URL=shared_redis)
            stack.callback(instance.stop)
            instances.append(instance.wait_ready())
        for instance in instances:
            instance.wait_for_text("clusters registered")
            instance.wait_for_worker()
        production, _staging = instances
        answer = production.manage("backup", *HEALTHY, "--wait", "--timeout", "90")
        assert answer.returncode == 0, answer.stdout + answer.stderr
        uids = [each.manage("shell", "-v0", "-c", UID).stdout.strip() for each in instances]
        assert len(set(uids)) == 2
        with redis.Redis.from_url(shared_redis) as client:
            keys = {key.decode() for key in client.scan_iter()}
        assert keys
        # no queue, and nothing else, that both would use
        assert {":".join(key.split(":")[:2]) for key in keys} <= {
            f"css-log-backup:{uid}" for uid in uids
        }
