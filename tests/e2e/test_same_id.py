"""Two instances whose databases are byte-for-byte copies use one Redis: both stop and say so."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.e2e.test_dying_processes import wait_until
from tests.e2e.test_shared_redis import UID, shared_redis
from tests.instances import Instance
from tests.visitor import Visitor, text_of

__all__ = ["shared_redis"]


def copied(source: Instance, folder: Path, redis_url: str) -> Instance:
    """Start a copy of an instance that has stopped.

    A file has another path and inode after it was copied, so a copy of SQLite is recognised at its
    start. A copy of a whole PostgreSQL server is not: its facts are those of the original. An
    empty `home` is in the same position: no fact differs.
    """
    folder.mkdir()
    shutil.copytree(
        source.data_dir, folder / "data", ignore=shutil.ignore_patterns("*.sock", "logs")
    )
    with closing(sqlite3.connect(folder / "data" / "db.sqlite3")) as database:
        database.execute("UPDATE backups_instance SET home = '{}'")
        database.commit()
    return started(folder, redis_url, cloud_of=source)


def started(folder: Path, redis_url: str, *, cloud_of: Instance | None = None) -> Instance:
    """Start an instance with a simulated cloud of its own, or with another's."""
    environ = {"REDIS_URL": redis_url, "DATABASE_URL": ""}
    if cloud_of is not None:
        clouds = cloud_of.data_dir / "simulator" / "clouds.yaml"
        environ |= {"DEMO_CLOUD": "0", "OS_CLIENT_CONFIG_FILE": str(clouds)}
    return Instance(folder, **environ)


def health(visitor: Visitor) -> tuple[int, str]:
    answer = visitor.get("/health/work")
    return answer.status_code, answer.json().get("reason", "")


def eventually(condition: Callable[[], bool], what: str) -> None:
    wait_until(condition, what, seconds=60)


@pytest.mark.timeout(500)
def test_both_send_nothing_until_each_is_adopted_and_restarted(
    tmp_path: Path, shared_redis: str
) -> None:
    first = tmp_path / "production"
    first.mkdir()
    production = started(first, shared_redis)
    production.wait_ready().wait_for_text("clusters registered")
    assert production.stop() == 0
    second = tmp_path / "staging"
    uids = set()
    with ExitStack() as running:
        staging = copied(production, second, shared_redis)
        running.callback(staging.stop)
        production = started(first, shared_redis)
        running.callback(production.stop)
        for each in production, staging:
            each.wait_ready()
            anna = Visitor(each.url).sign_in("admin", production.password)
            eventually(lambda anna=anna: "has the same id" in health(anna)[1], "the clash is said")  # type: ignore[misc]
            page = text_of(anna.get("/history/").text)
            assert "Nothing is sent to a cloud until this one is adopted" in page
            assert "has the same id" in text_of(anna.get("/settings/adopt/").text)
            refused = each.manage("backup", "orders-prod")
            assert "has the same id" in refused.stdout + refused.stderr
            uids.add(each.manage("shell", "-v0", "-c", UID).stdout.strip())
    assert len(uids) == 1, "the id was the same"

    for each, flags in (production, ["--moved"]), (staging, []):
        answer = each.manage("adopt", "--reason", "two of one id", *flags)
        assert answer.returncode == 0, answer.stderr
        assert "restart web and workers" in answer.stdout
        uids.add(each.manage("shell", "-v0", "-c", UID).stdout.strip())
    assert len(uids) == 3
    with ExitStack() as running:
        production = started(first, shared_redis)
        running.callback(production.stop)
        production.wait_ready()
        staging = started(second, shared_redis, cloud_of=production)
        running.callback(staging.stop)
        for each, cluster in (production, "orders-prod"), (staging, "warehouse-nl"):
            each.wait_ready().wait_for_worker()
            sent = each.manage("backup", cluster, "--wait", "--timeout", "60")
            assert sent.returncode == 0, sent.stdout + sent.stderr
