"""Processes die in the middle of the work; nothing is lost and nothing is sent twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import redis

if TYPE_CHECKING:
    from tests.stack import Stack


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)


def test_a_worker_that_is_killed_in_mid_request_leaves_a_run_that_is_settled(stack: Stack) -> None:
    name = "killed-in-flight"
    cluster_id = stack.add_cluster(name, job_seconds=1)
    stack.simulator.fault("hang_after", cluster_id, times=1)
    anna = stack.visitor()
    number = anna.back_up(name)
    collects = lambda: stack.simulator.ledger(endpoint="collect", cluster=cluster_id)  # noqa: E731
    wait_until(lambda: bool(collects()), "the request arrives")
    stack.instance.program(" worker").kill()
    run = anna.wait_for_run(number, seconds=90)
    assert run["state"] == "succeeded"
    assert "unknown" in [event["to_state"] for event in run["events"]]
    assert len(collects()) == 1


def test_a_queue_that_is_lost_loses_no_run(stack: Stack) -> None:
    name = "queue-lost"
    stack.add_cluster(name, job_seconds=1)
    anna = stack.visitor()
    started = time.monotonic()
    if url := stack.instance.environ.get("REDIS_URL"):
        number = anna.back_up(name)
        with redis.Redis.from_url(url) as broker:  # not ours to kill: its data goes instead
            broker.flushdb()
    else:
        stack.instance.program("redis-server").kill()
        number = anna.back_up(name)
    assert time.monotonic() - started < 10, "the page answers at once"
    assert anna.wait_for_run(number)["state"] == "succeeded"


def test_a_missing_worker_is_said_on_every_page_and_takes_none_offline(stack: Stack) -> None:
    anna = stack.visitor()
    worker = stack.instance.program(" worker")
    worker.suspend()
    try:
        wait_until(
            lambda: "No worker is running" in anna.get("/history/").text, "the banner appears"
        )
        answer = anna.get("/health/work")
        assert answer.status_code == 503
        assert "no worker is running" in answer.text
        assert anna.get("/readyz").status_code == 200
    finally:
        worker.resume()
    wait_until(lambda: anna.get("/health/work").status_code == 200, "the worker is seen again")
    assert "No worker is running" not in anna.get("/clusters/").text
