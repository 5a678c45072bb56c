"""An old run that ended badly offers nothing stale once its cluster has moved on."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from backups.models import BackupRun, Cluster
from tests.views.conftest import MakeRun

HOUR = timedelta(hours=1)
REFUSED = {
    "state": "rejected",
    "outcome": "precondition_failed",
    "http_status": 412,
    "error_code": "CSS.0004",
}


def page(web: Client, run: BackupRun) -> str:
    return web.get(run.get_absolute_url()).content.decode()


def explained(web: Client, run: BackupRun) -> dict[str, object]:
    return json.loads(web.get(f"/runs/{run.pk}.json").content)["explanation"]


@pytest.mark.parametrize(
    "columns",
    [
        REFUSED,
        {"state": "rejected", "outcome": "forbidden", "http_status": 403},
        {"state": "failed", "outcome": "accepted"},
        {"state": "unverified", "outcome": "accepted"},
        {"state": "not_started", "outcome": "unanswered"},
    ],
    ids=lambda columns: columns["state"] + "-" + columns["outcome"],
)
def test_a_bad_run_says_which_later_run_resolved_it(
    web: Client, make_run: MakeRun, columns: dict[str, object]
) -> None:
    now = timezone.now()
    old = make_run(requested_at=now - 9 * HOUR, finished_at=now - 9 * HOUR, **columns)
    assert "Resolved by" not in page(web, old)
    make_run(old.cluster, state="rejected", outcome="conflict", requested_at=now - 8 * HOUR)
    well = make_run(old.cluster, state="succeeded", requested_at=now - 7 * HOUR)
    make_run(old.cluster, state="succeeded", requested_at=now - 6 * HOUR)
    text = page(web, old)
    assert f"Resolved by run {well.pk}" in text
    assert f'href="{well.get_absolute_url()}" id="resolved-by"' in text
    assert "Enable log backup" not in text
    told = explained(web, old)
    assert told["next_step"] == (
        f"Resolved by run {well.pk}: that one verified a backup of this cluster."
    )
    assert (told["actor"], told["retryable"]) == ("nobody", False)


def test_runs_of_other_clusters_and_earlier_ones_resolve_nothing(
    web: Client, make_run: MakeRun
) -> None:
    now = timezone.now()
    old = make_run(requested_at=now - 2 * HOUR, **REFUSED)
    make_run(old.cluster, state="succeeded", requested_at=now - 3 * HOUR)
    make_run(state="succeeded", requested_at=now - HOUR)
    assert "Resolved by" not in page(web, old)


def test_a_412_whose_cluster_was_found_ready_since_says_to_back_up_again(
    web: Client, make_run: MakeRun
) -> None:
    ended = timezone.now() - HOUR
    old = make_run(requested_at=ended, finished_at=ended, **REFUSED)
    before = explained(web, old)
    Cluster.objects.filter(pk=old.cluster_id).update(readiness="ready", checked_at=ended + HOUR / 2)
    after = explained(web, old)
    assert before["next_step"] != after["next_step"]
    assert after["next_step"] == "What it was refused for has been put right since: back up again."
    assert "put right since" in page(web, old)


def test_the_page_of_an_address_without_a_page_does_not_promise_that_runs_stay(
    web: Client,
) -> None:
    text = web.get("/runs/999999999/").content.decode()
    assert "never deleted" not in text
    assert "retention" in text
