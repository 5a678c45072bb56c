"""Without a click: clusters are checked, and the cloud's own jobs come into the history."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.visitor import text_of

if TYPE_CHECKING:
    from tests.stack import Stack


def wait_until(found: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_job_of_the_clouds_schedule_comes_into_the_history_by_itself(stack: Stack) -> None:
    name = "scheduled-by-the-cloud"
    cluster_id = stack.simulator.add_cluster(name)
    stack.simulator.start_job(cluster_id, "Auto")
    stack.simulator.end_jobs(cluster_id, failed_message="the bucket refused the write")
    answer = stack.instance.manage("sync_clusters", "--cloud", "demo")
    assert answer.returncode == 0, answer.stderr
    anna = stack.visitor()
    wait_until(lambda: "the cloud's schedule" in text_of(anna.get("/history/").text))
    assert "the bucket refused the write" in text_of(anna.get("/history/").text)
    assert not stack.simulator.ledger(endpoint="collect", cluster=cluster_id)


def test_a_412_leads_to_the_words_of_the_clusters_readiness(stack: Stack) -> None:
    name = "log-backup-off"
    stack.add_cluster(name, log_backup=False)
    anna = stack.visitor()
    number = anna.back_up(name, anyway="1")
    run = anna.wait_for_run(number)
    assert run["outcome"] == "precondition_failed"
    page = f"/runs/{number}/"
    wait_until(lambda: "Log backup is switched off for the cluster" in text_of(anna.get(page).text))
    text = text_of(anna.get(page).text)
    assert "The cluster now Log backup is off" in text
    assert "checked" in text
