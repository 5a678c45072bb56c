"""The main job by the page and by the command, through every process of the product."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.stack import Stack


def test_a_click_ends_verified_with_one_request_to_the_cloud(stack: Stack) -> None:
    anna = stack.visitor()
    cluster = next(c for c in stack.simulator.clusters() if c.name == "orders-prod")
    before = len(stack.simulator.ledger(endpoint="collect", cluster=cluster.id))
    run = anna.wait_for_run(anna.back_up("orders-prod"))
    assert (run["state"], run["outcome"], run["http_status"]) == ("succeeded", "accepted", 200)
    assert len(stack.simulator.ledger(endpoint="collect", cluster=cluster.id)) == before + 1
    assert "orders-prod" in anna.get("/history/").text


def test_the_command_prints_a_line_a_cluster_and_fails_unless_all_ended_well(stack: Stack) -> None:
    answer = stack.instance.manage("backup", "search-eu", "payments-logs", "--wait", "--json")
    lines = {line["cluster"]: line for line in map(json.loads, answer.stdout.splitlines())}
    assert answer.returncode == 1, answer.stderr
    assert lines["search-eu"]["state"] == "succeeded"
    assert (lines["payments-logs"]["outcome"], lines["payments-logs"]["http_status"]) == (
        "precondition_failed",
        412,
    )
