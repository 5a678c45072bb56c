"""Checking a cluster now, and how its page keeps itself up to date."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backups.choices import RunState
from backups.models import BackupRun, Cluster, ClusterTag, LogSettings, Project
from backups.services.clusters import checks
from backups.services.runs.transitions import transition
from tests.views.conftest import MakeCluster, MakeRun
from tests.views.page_text import page, words

HOSTILE = "<script>alert(1)</script>\"'&‮"
NOW = datetime(2026, 11, 24, 0, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


def shown(text: str) -> str:
    found = set(re.findall(r'\sdata-live="([^"]+)"', text))
    assert len(found) == 1
    return found.pop()


def ask(client: Client, cluster: Cluster, token: str) -> tuple[int, str]:
    answer = client.get(f"/clusters/{cluster.pk}/live/", {"shown": token})
    assert answer.headers["X-Live"] == "1"
    return answer.status_code, answer.content.decode()


def test_check_now_has_the_cluster_checked_and_the_page_says_so(
    web: Client, make_cluster: MakeCluster, redis_url: str
) -> None:
    cluster = make_cluster("orders")
    assert "Check in progress" not in page(web, cluster.get_absolute_url())
    answer = web.post(f"/clusters/{cluster.pk}/check/")
    assert answer.headers["Location"] == f"/clusters/{cluster.pk}/"
    text = page(web, cluster.get_absolute_url())
    assert "A check of orders was requested." in text
    assert "Check in progress" in text
    assert "data-live-active" in text


def test_while_a_check_waits_for_its_turn_the_page_says_so_too(
    web: Client, make_cluster: MakeCluster
) -> None:
    cluster = make_cluster(check_due_at=checks.ASKED_FOR)
    text = page(web, cluster.get_absolute_url())
    assert "Check in progress" in text
    Cluster.objects.update(check_due_at=timezone.now() + HOUR, check_leased_until=timezone.now())
    assert "Check in progress" not in page(web, cluster.get_absolute_url())


def test_looking_changes_nothing(web: Client, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    before = Cluster.objects.filter(pk=cluster.pk).values().get()
    page(web, cluster.get_absolute_url())
    assert web.get(f"/clusters/{cluster.pk}/check/").status_code == 405
    assert Cluster.objects.filter(pk=cluster.pk).values().get() == before


def test_nothing_changed_is_an_empty_answer(web: Client, make_run: MakeRun) -> None:
    run = make_run()
    assert ask(web, run.cluster, shown(page(web, run.cluster.get_absolute_url()))) == (204, "")


@pytest.mark.parametrize(
    "change",
    [
        {"readiness": "ready"},
        {"readiness_detail": "Busy."},
        {"status": "100"},
        {"verified_at": NOW},
        {"name": "another"},
        {"objective_hours": 7},
        {"archived_at": NOW},
        {"check_due_at": checks.ASKED_FOR},
    ],
)
def test_what_changes_is_answered_at_the_next_question(
    web: Client, make_cluster: MakeCluster, change: dict[str, Any]
) -> None:
    cluster = make_cluster()
    before = shown(page(web, cluster.get_absolute_url()))
    Cluster.objects.update(**change)
    status, text = ask(web, cluster, before)
    assert status == 200
    assert text.count('hx-swap-oob="true"') == 5
    assert ask(web, cluster, shown(text)) == (204, "")


def test_runs_settings_and_labels_are_answered_too(
    web: Client, make_cluster: MakeCluster, make_run: MakeRun
) -> None:
    cluster = make_cluster()
    token = shown(page(web, cluster.get_absolute_url()))
    run = make_run(cluster)
    status, text = ask(web, cluster, token)
    assert status == 200
    assert transition(run, RunState.SENDING, actor="worker")
    status, text = ask(web, cluster, shown(text))
    assert 'aria-current="step">Sending' in text
    LogSettings.objects.create(cluster=cluster, enabled=False, read_at=NOW)
    status, text = ask(web, cluster, shown(text))
    assert "Log backup off" in words(text)
    ClusterTag.objects.create(cluster=cluster, origin="own", key="tier", value="gold")
    status, text = ask(web, cluster, shown(text))
    assert "tier=gold" in words(text)
    assert ask(web, cluster, shown(text)) == (204, "")


def test_a_deadline_that_passes_is_answered(web: Client, make_cluster: MakeCluster) -> None:
    now = timezone.now()
    cluster = make_cluster(verified_at=now, due_at=now + HOUR, overdue_at=now + 2 * HOUR)
    before = shown(page(web, cluster.get_absolute_url()))
    assert ask(web, cluster, before)[0] == 204
    Cluster.objects.update(due_at=now)
    assert ask(web, cluster, before)[0] == 200


def test_the_page_costs_as_many_queries_for_many_runs_as_for_one(
    web: Client, make_run: MakeRun, project: Project
) -> None:
    run = make_run(state="succeeded")

    def cost() -> tuple[int, int]:
        found = []
        for url in (f"/clusters/{run.cluster_id}/", f"/clusters/{run.cluster_id}/live/?shown=1:x"):
            with CaptureQueriesContext(connection) as queries:
                assert web.get(url).status_code == 200
            found.append(len(queries))
        return found[0], found[1]

    few = cost()
    now = timezone.now()
    BackupRun.objects.bulk_create(
        BackupRun(
            cluster=run.cluster,
            project=project,
            state="succeeded",
            requested_at=now - number * timedelta(minutes=50),
            finished_at=now,
        )
        for number in range(2_000)
    )
    Cluster.objects.bulk_create(
        Cluster(project=project, cluster_id=f"many-{n}", name=f"many-{n}") for n in range(1000)
    )
    ClusterTag.objects.bulk_create(
        ClusterTag(cluster=run.cluster, origin="cloud", key=f"k{n}", value="v") for n in range(30)
    )
    assert cost() == few
    assert max(few) <= 15
