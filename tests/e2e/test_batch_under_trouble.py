"""A batch through the whole product: it reaches its end, and it holds up nobody else."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.visitor import text_of

if TYPE_CHECKING:
    from tests.stack import Stack
    from tests.visitor import Visitor

THREADS = 20  # of the worker


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)


def send(anna: Visitor, query: str) -> int:
    """Preview a filter, and send what is ready; returns the batch's number."""
    page = anna.get(f"/batches/new/?{query}")
    page.raise_for_status()
    assert "batch-form" in page.text, text_of(page.text)
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text))
    data = {name: hidden[name].replace("&amp;", "&") for name in ("idempotency_key", "query")}
    answer = anna.post("/batches/", data=data)
    answer.raise_for_status()
    number = re.search(r"/batches/(\d+)/$", answer.url)
    assert number, answer.url
    return int(number[1])


def batch(anna: Visitor, number: int) -> dict[str, Any]:
    answer = anna.get(f"/batches/{number}.json")
    answer.raise_for_status()
    return dict(answer.json())


def test_a_batch_outlives_its_worker_and_sends_each_request_once(stack: Stack) -> None:
    ids = stack.simulator.add_clusters(30, "fleet", region="eu-de", job_seconds=1)
    stack.commands.run("sync_clusters", "--cloud", "demo")
    anna = stack.visitor()
    number = send(anna, "q=fleet-")
    sent = lambda: [e for e in stack.simulator.ledger(endpoint="collect") if e.cluster_id in ids]  # noqa: E731
    wait_until(lambda: len(sent()) >= 5, "the first requests leave")
    first = min(entry.time for entry in sent()) - moment(batch(anna, number)["requested_at"])
    assert first < 2, "a second, where nothing else is running"
    stack.instance.program(" worker").kill()
    wait_until(lambda: batch(anna, number)["finished_at"] is not None, "the batch ends", 120)
    found = batch(anna, number)
    assert found["clusters"] == found["done"] == 30
    assert set(found["runs"]) <= {"succeeded", "not_started", "unverified"}, found
    per_cluster = [entry.cluster_id for entry in sent()]
    assert len(per_cluster) == len(set(per_cluster)), "none twice"
    # killed between storing that it sends and the first byte: not started, and it says so
    unsent = set(ids) - set(per_cluster)
    assert len(unsent) <= found["runs"].get("not_started", 0), unsent


def test_a_project_that_hangs_under_a_batch_does_not_hold_up_another(stack: Stack) -> None:
    ids = stack.simulator.add_clusters(60, "hanging", region="eu-nl")
    stack.commands.run("sync_clusters", "--cloud", "demo-nl")
    for cluster_id in ids:
        stack.simulator.fault("hang_before", cluster_id)
    anna = stack.visitor()
    number = send(anna, "q=hanging-")
    hung = lambda: [e for e in stack.simulator.ledger(endpoint="collect") if e.cluster_id in ids]  # noqa: E731
    try:
        wait_until(lambda: len(hung()) >= THREADS // 2 - 1, "the batch has all of its threads")
        run = anna.wait_for_run(anna.back_up("orders-prod"), seconds=30)
        waited = moment(run["sent_at"]) - moment(run["requested_at"])
        assert waited < 2, "a second, where nothing else is running"
        assert len(hung()) <= THREADS // 2
    finally:
        anna.post(f"/batches/{number}/cancel/")
        for cluster_id in ids:
            stack.simulator.remove_cluster(cluster_id)
    assert batch(anna, number)["cancelled_waiting"] > 0


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
