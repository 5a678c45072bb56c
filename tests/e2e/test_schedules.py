"""A schedule through the whole product: a real worker fires its slot, once, and pings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.e2e.test_batch_under_trouble import batch, wait_until
from tests.visitor import text_of

if TYPE_CHECKING:
    from tests.stack import Stack
    from tests.visitor import Visitor

DUE = """
from datetime import timedelta
from django.utils import timezone
from backups.models import Schedule
slot = timezone.now() - timedelta(seconds=1)
Schedule.objects.filter(pk={pk}).update(next_slot=slot, next_at=slot)
"""


def make(anna: Visitor, **fields: str) -> int:
    """Create a schedule, far from its next slot; returns its number."""
    usual = {
        "every": "cron",
        "cron": "0 0 29 2 *",
        "zone": "Europe/Berlin",
        "when_not_ready": "skip",
        "catch_up": "one",
    }
    anna.get("/schedules/new/").raise_for_status()
    answer = anna.post("/schedules/new/", data=usual | fields)
    number = re.search(r"/schedules/(\d+)/$", answer.url)
    assert number, text_of(answer.text)
    return int(number[1])


def batches(anna: Visitor, number: int) -> list[int]:
    """The batches on a schedule's page."""
    page = anna.get(f"/schedules/{number}/")
    page.raise_for_status()
    return [int(pk) for pk in re.findall(r'href="/batches/(\d+)/"', page.text)]


def test_a_worker_fires_a_slot_once_also_after_it_was_killed(stack: Stack) -> None:
    ids = stack.simulator.add_clusters(5, "nightly", region="eu-de", job_seconds=1)
    stack.commands.run("sync_clusters", "--cloud", "demo")
    anna = stack.visitor()
    number = make(anna, name="Every leap year", query="q=nightly-")
    assert batches(anna, number) == []
    stack.commands.run("shell", "-v0", "-c", DUE.format(pk=number))
    wait_until(lambda: bool(batches(anna, number)), "the slot fires")
    [made] = batches(anna, number)
    assert batch(anna, made)["trigger"] == "schedule"
    stack.instance.program(" worker").kill()
    wait_until(lambda: batch(anna, made)["finished_at"] is not None, "its batch ends", 120)
    found = batch(anna, made)
    assert found["clusters"] == found["done"] == 5
    sent = [e.cluster_id for e in stack.simulator.ledger(endpoint="collect") if e.cluster_id in ids]
    assert len(sent) == len(set(sent)), "each request once"
    assert batches(anna, number) == [made], "and the slot once"
    history = text_of(anna.get(f"/history/?batch={made}&window=all").text)
    assert "Schedule" in history
