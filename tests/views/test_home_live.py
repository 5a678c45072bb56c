"""How the home page keeps itself up to date, and what it costs."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backups.choices import RunState
from backups.models import BackupRun, Cluster, Project
from backups.services.runs.transitions import transition
from tests.views.conftest import MakeRun, protect
from tests.views.page_text import page


def tokens(text: str) -> dict[str, str]:
    return dict(re.findall(r' id="home-([a-z]+)"[^>]*?\sdata-live="([^"]+)"', text))


def test_nothing_changed_is_an_empty_answer(web: Client, make_run: MakeRun) -> None:
    make_run()
    shown = ",".join(tokens(page(web, "/")).values())
    answer = web.get("/live/", {"shown": shown})
    # the figures' age is part of their look, to the minute
    assert answer.status_code in (200, 204)
    assert answer.headers["X-Live"] == "1"
    assert "home-active" not in answer.content.decode()
    assert "home-attention" not in answer.content.decode()


def test_a_step_is_answered_with_the_parts_that_it_changes(web: Client, make_run: MakeRun) -> None:
    run = make_run()
    protect(run.cluster, 1)
    shown = tokens(page(web, "/"))
    assert set(shown) == {"summary", "active", "attention", "outcomes", "api"}
    assert transition(run, RunState.CANCELLED, actor="anna")
    text = web.get("/live/", {"shown": ",".join(shown.values())}).content.decode()
    assert text.count('hx-swap-oob="true"') == len(tokens(text))
    assert {"summary", "active"} <= set(tokens(text))
    assert "attention" not in tokens(text)
    later = shown | tokens(text)
    again = web.get("/live/", {"shown": ",".join(later.values())}).content.decode()
    assert not {"summary", "active", "attention"} & set(tokens(again))


@pytest.mark.parametrize("query", ["?shown=x", "?shown=1:<b>", "?shown=" + "1:a," * 201])
def test_a_hostile_question_is_a_400(web: Client, query: str) -> None:
    assert web.get("/live/" + query).status_code == 400


def test_a_part_that_the_page_does_not_have_is_not_answered(web: Client, db: None) -> None:
    assert web.get("/live/", {"shown": "99:x"}).status_code == 204


def test_the_page_costs_as_many_queries_for_a_thousand_clusters_as_for_one(
    web: Client, project: Project, make_run: MakeRun
) -> None:
    def cost() -> tuple[int, int]:
        found = []
        for url in ("/", "/live/?shown=1:x,2:x,3:x,4:x,5:x"):
            with CaptureQueriesContext(connection) as queries:
                assert web.get(url).status_code == 200
            found.append(len(queries))
        return found[0], found[1]

    now = timezone.now()
    make_run()
    make_run(state="failed", requested_at=now - timedelta(hours=1))
    few = cost()
    clusters = Cluster.objects.bulk_create(
        Cluster(project=project, cluster_id=f"many-{n}", name=f"many-{n}") for n in range(1000)
    )
    BackupRun.objects.bulk_create(
        BackupRun(
            cluster=cluster,
            project=project,
            state=state,
            requested_at=now - timedelta(hours=hours),
        )
        for place, cluster in enumerate(clusters)
        for hours, state in (
            (3, "succeeded"),
            (2, "failed"),
            (1, "queued" if place % 2 else "failed"),
        )
    )
    assert cost() == few
    assert max(few) <= 20
