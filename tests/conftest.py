"""What any test may ask for: a real broker and a real cloud, on this worker's own sockets."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from simulator import clouds_file, server
from simulator.config import SimulatorConfig
from tests.audit_guards import emptying_allowed_between_tests
from tests.private_redis import PrivateRedis
from tests.stack import running_stack, stack

__all__ = ["running_stack", "stack"]


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Let tests create runs that have ended; tests/services/test_attacks.py has that guard too."""
    from backups.guards import BEGINNINGS
    from dashboard.db import triggers

    if BEGINNINGS in triggers.CONNECTED:
        triggers.CONNECTED.remove(BEGINNINGS)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Distribute the tests as tests/distribution.py says, unless --dist says otherwise."""
    if config.getoption("dist") != "load":
        return None
    from tests.distribution import Distribution

    return Distribution(config, log)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database-only",
        action="store_true",
        help="leave out what does not depend on DATABASE_URL (tests/distribution.py)",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("database_only"):
        from tests.distribution import depends_on_the_database

        left_out = [item for item in items if not depends_on_the_database(item.nodeid)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if depends_on_the_database(item.nodeid)]
    if hasattr(config, "workerinput"):
        from tests.distribution import rank

        items.sort(key=lambda item: rank(item.nodeid))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """What fixtures make was there before the test: it is no event of the audit trail."""
    from dashboard.members.recording import not_recorded

    with not_recorded():
        return (yield)


@pytest.fixture(scope="session", autouse=True)
def _emptying_allowed_between_tests() -> Iterator[None]:
    with emptying_allowed_between_tests():
        yield


@pytest.fixture(autouse=True)
def nothing_is_kept() -> Iterator[None]:
    """What other tests have cached, or seen of processes and messages, is not known."""
    from django.core.cache import caches

    from backups import heartbeats, instance, work
    from backups.services.notifications import notifier, outbox

    for cache in caches.all(initialized_only=True):
        cache.clear()
    # not the tests' `monkeypatch`: its undo() in a test would bring back what others have seen
    with pytest.MonkeyPatch.context() as patch:
        # as if it had been read: nobody's queries are one more for having been the first
        patch.setattr(instance, "_uid", "0123456789abcdef")
        patch.setattr(outbox, "_known", (time.monotonic(), frozenset()))
        # a thread of its own; its tests call what it calls
        patch.setattr(notifier.Notifier, "wake", lambda self: None)
        patch.setattr(heartbeats, "_heartbeats", heartbeats.Watch())
        patch.setattr(heartbeats, "_ticks", heartbeats.Watch())
        patch.setattr(work, "_watch", work.Watch())
        patch.setattr(work, "_noted_at", -work.NOTE_EVERY)
        patch.setattr(work, "_token", ("", -work.FRESH))
        yield


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The broker's URL, which the settings have already; it answers while this fixture lives."""
    import redis
    from django.conf import settings

    if settings.REDIS_URL_GIVEN:
        client = redis.Redis.from_url(settings.REDIS_URL)
        client.flushdb()
        yield settings.REDIS_URL
        client.flushdb()
        client.close()
        return
    with PrivateRedis(settings.DATA_DIR / "redis", Path(settings.REDIS_SOCKET)):
        yield settings.REDIS_URL


@pytest.fixture(scope="session")
def session_simulator() -> Iterator[server.Simulator]:
    """A simulator with one region and no clusters, for `simulator` to hand out."""
    started = server.start(SimulatorConfig())
    yield started
    started.stop()


@pytest.fixture
def simulator(
    session_simulator: server.Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> server.Simulator:
    """A simulator as it starts, the only cloud that this process knows."""
    session_simulator.reset()
    path = tmp_path / "simulator-clouds.yaml"
    clouds_file.write(path, session_simulator.clouds_yaml())
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))
    return session_simulator
