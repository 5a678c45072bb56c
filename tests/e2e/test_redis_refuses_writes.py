"""A Redis that answers PING and takes no writes: said at once, and no run is lost by it."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from dashboard.local_run.redis import find_server
from tests.e2e.test_dying_processes import wait_until
from tests.instances import Instance
from tests.visitor import Visitor, text_of


@dataclass(frozen=True)
class Product:
    """A running product, and the Redis that it shares with nobody."""

    instance: Instance
    redis: redis.Redis
    folder: Path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("refusing")
    saves = folder / "saves"
    saves.mkdir()
    port = free_port()
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(saves)]
    with subprocess.Popen(
        [find_server(), *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as server:
        client = redis.Redis(port=port)
        try:
            instance = Instance(
                folder, REDIS_URL=f"redis://127.0.0.1:{port}/0", HEARTBEAT_ALARM_AFTER="15"
            )
            try:
                instance.wait_ready().wait_for_text("clusters registered")
                instance.wait_for_worker()
                yield Product(instance, client, saves)
            finally:
                assert instance.stop() == 0, instance.text
        finally:
            client.close()
            server.kill()


def out_of_memory(product: Product) -> None:
    product.redis.config_set("maxmemory-policy", "noeviction")
    product.redis.config_set("maxmemory", 1)


def memory_again(product: Product) -> None:
    product.redis.config_set("maxmemory", 0)


def made_a_replica(product: Product) -> None:
    product.redis.replicaof("127.0.0.1", "1")  # type: ignore[no-untyped-call]


def made_the_master(product: Product) -> None:
    product.redis.replicaof("NO", "ONE")  # type: ignore[no-untyped-call]


def cannot_save(product: Product) -> None:
    shutil.rmtree(product.folder)  # also root cannot save there then
    product.redis.config_set("save", "1 1")

    def refused() -> bool:
        with suppress(redis.ResponseError):
            product.redis.bgsave()
        return product.redis.info("persistence")["rdb_last_bgsave_status"] == "err"

    wait_until(refused, "saving fails")


def can_save(product: Product) -> None:
    product.folder.mkdir()
    product.redis.config_set("save", "")  # a Redis that need not save takes writes


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("refuse", "allow", "words"),
    [
        (out_of_memory, memory_again, "Redis refuses writes: OOM command not allowed"),
        (made_a_replica, made_the_master, "Redis refuses writes: READONLY You can't write"),
        (cannot_save, can_save, "Redis refuses writes: MISCONF Redis is configured to save"),
    ],
)
def test_what_redis_refuses_is_said_and_sent_later(
    product: Product,
    refuse: Callable[[Product], None],
    allow: Callable[[Product], None],
    words: str,
) -> None:
    anna = Visitor(product.instance.url).sign_in("admin", product.instance.password)
    wait_until(lambda: anna.get("/health/work").status_code == 200, "work flows")
    refuse(product)
    try:
        answer = anna.get("/health/work")
        assert (answer.status_code, answer.json()["status"]) == (503, "not working")
        assert words in answer.json()["reason"]
        assert words in answer.json()["checks"]["broker"]
        assert anna.get("/readyz").status_code == 200, "pages are served all the same"
        number = anna.back_up("orders-prod")
        run = anna.run(number)
        assert run["state"] == "queued"
        assert words in run["note"]
        wait_until(lambda: words in text_of(anna.get("/history/").text), "the banner says it")
        # with nothing published, nothing is consumed
        wait_until(
            lambda: "none is consumed" in anna.get("/health/work").json()["checks"]["messages"],
            "the canary is missed",
        )
    finally:
        allow(product)
    assert anna.wait_for_run(number)["state"] == "succeeded"
    wait_until(lambda: anna.get("/health/work").status_code == 200, "work flows again")
    assert "Redis refuses" not in anna.get("/history/").text
