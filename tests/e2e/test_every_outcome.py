"""Each answer of the cloud, from a click to the words on the pages, through every process."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.visitor import text_of

if TYPE_CHECKING:
    from tests.stack import Stack

SCRIPT = "<script>alert(1)</script>"

# fault of the simulated cloud → state, outcome, HTTP status, words on the run's page
ANSWERS = {
    "400": ({"preset": "frozen"}, "rejected", "invalid_request", 400, "The cluster is frozen"),
    "401": ({"preset": "unauthorized"}, "rejected", "unauthenticated", 401, "clouds.yaml"),
    "403": ({"preset": "forbidden"}, "rejected", "forbidden", 403, "IAM"),
    "403 CSS.0015": ({"preset": "vanished"}, "rejected", "not_found", 403, "not found"),
    "404": ({"preset": "not_found"}, "rejected", "not_found", 404, "Synchronise the clusters"),
    "409": ({"preset": "busy"}, "rejected", "conflict", 409, "Another operation is running"),
    "412": (
        {"preset": "precondition"},
        "rejected",
        "precondition_failed",
        412,
        "Enable log backup",
    ),
    "202 with errCode": ({"preset": "accepted_busy"}, "rejected", "conflict", 202, "CSS.0011"),
    "429 once": ({"preset": "throttled", "times": 1}, "succeeded", "accepted", 200, "Verified"),
    "503 once": ({"preset": "unavailable", "times": 1}, "succeeded", "accepted", 200, "Verified"),
    "hostile": ({"preset": "hostile"}, "rejected", "invalid_request", 400, SCRIPT),
    "412 as HTML": (
        {"status": 412, "body_kind": "html"},
        "rejected",
        "precondition_failed",
        412,
        "not set up for log backup",
    ),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_an_answer_is_shown_as_what_it_is(stack: Stack, case: str) -> None:
    fault, state, outcome, status, words = ANSWERS[case]
    name = f"answers-{case.replace(' ', '-').lower()}"
    cluster_id = stack.add_cluster(name)
    stack.simulator.fault("status", cluster_id, **fault)
    anna = stack.visitor()
    number = anna.back_up(name)
    run = anna.wait_for_run(number)
    assert (run["state"], run["outcome"], run["http_status"]) == (state, outcome, status)
    page = anna.get(f"/runs/{number}/").text
    assert words in text_of(page)
    assert "<script>alert" not in page
    history = anna.get("/history/").text
    assert name in history
    assert "<script>alert" not in history


@pytest.mark.parametrize(
    ("kind", "parameters", "state", "jobs"),
    [
        ("error_after", {"preset": "bad_gateway"}, "succeeded", 1),
        ("reset_after", {}, "succeeded", 1),
        ("late_fail", {"seconds": 0.5}, "failed", 1),
        ("late_record", {"seconds": 3}, "succeeded", 1),
        ("truncated", {"preset": "hostile"}, "succeeded", 1),
    ],
)
def test_the_clouds_records_decide_where_the_answer_does_not(
    stack: Stack, kind: str, parameters: dict[str, object], state: str, jobs: int
) -> None:
    name = f"records-{kind.replace('_', '-')}"
    cluster_id = stack.add_cluster(name, job_seconds=1)
    stack.simulator.fault(kind, cluster_id, **parameters)
    anna = stack.visitor()
    run = anna.wait_for_run(anna.back_up(name))
    assert run["state"] == state
    assert len(stack.simulator.cluster(cluster_id).jobs) == jobs
    assert len(stack.simulator.ledger(endpoint="collect", cluster=cluster_id)) == 1


NOT_ACCEPTED = ("html", "not_json", "huge", "gzip_bomb", "invalid_utf8")


@pytest.fixture(scope="module")
def not_accepted(running_stack: Stack) -> dict[str, int]:
    """The run of each kind of body: all are requested at once, and settled by the time."""
    anna, numbers = running_stack.visitor(), {}
    for body_kind in NOT_ACCEPTED:
        name = f"not-accepted-{body_kind.replace('_', '-')}"
        cluster_id = running_stack.add_cluster(name)
        running_stack.simulator.fault("status", cluster_id, status=200, body_kind=body_kind)
        numbers[body_kind] = anna.back_up(name)
    return numbers


@pytest.mark.parametrize("body_kind", NOT_ACCEPTED)
def test_a_200_that_is_no_acceptance_is_never_shown_as_one(
    stack: Stack, not_accepted: dict[str, int], body_kind: str
) -> None:
    anna, number = stack.visitor(), not_accepted[body_kind]
    run = anna.wait_for_run(number, seconds=90)
    assert (run["state"], run["outcome"]) == ("not_started", "malformed")
    page = text_of(anna.get(f"/runs/{number}/").text)
    assert "no backup started" in page
    assert "Verified:" not in page


def test_two_clicks_at_once_make_one_run_and_one_request(stack: Stack) -> None:
    name = "double-click"
    cluster_id = stack.add_cluster(name)
    anna, bert = stack.visitor(), stack.visitor()
    page = bert.get("/clusters/", params={"q": name}).text
    form = re.search(r'action="(/clusters/\d+/backup/)"', page)
    assert form, page
    first = anna.back_up(name)
    second = bert.post(form[1], data={"then": "run"})
    assert second.url.endswith(f"/runs/{first}/")
    assert "joined" in text_of(second.text)
    assert anna.wait_for_run(first)["state"] == "succeeded"
    assert len(stack.simulator.ledger(endpoint="collect", cluster=cluster_id)) == 1
