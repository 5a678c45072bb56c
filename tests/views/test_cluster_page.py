"""A cluster's page: facts, readiness, protection, settings, history, and who may do what."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from backups.choices import Readiness
from backups.models import BackupRun, Cluster, ClusterTag, LogSettings, Project
from backups.templatetags.runs import NONE
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from tests.grants import give
from tests.views.conftest import MakeCluster, MakeRun
from tests.views.page_text import page, words

HOSTILE = "<script>alert(1)</script>\"'&‮"
NOW = datetime(2026, 11, 24, 0, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_the_facts_are_those_of_the_cloud(web: Client, make_cluster: MakeCluster) -> None:
    cluster = make_cluster(
        "orders-prod",
        cluster_id="4f2c0c5e-long-id-in-full",
        endpoint="10.0.0.1:9200",
        created_in_cloud_at=datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC),
        nodes=[{"name": "node-1", "type": "ess", "status": "200"}, {"name": "node-2"}],
        failed_reason="CSS.0001 <was> slow",
    )
    ClusterTag.objects.create(cluster=cluster, origin="cloud", key="team", value="shop")
    ClusterTag.objects.create(cluster=cluster, origin="own", key="tier", value="gold")
    text = words(page(web, cluster.get_absolute_url()))
    for fact in (
        "orders-prod",
        "4f2c0c5e-long-id-in-full",
        "OpenSearch 2.19.0",
        "eu-de_logging",
        "p" * 32,
        "otc",
        "Available",
        "10.0.0.1:9200",
        "2025-01-02 03:04:05",
        "node-1 ess · Available",
        "node-2",
        "team=shop",
        "tier=gold",
        "CSS.0001 <was> slow",
    ):
        assert fact in text, fact


def test_a_cluster_about_which_little_is_known_has_a_page_too(
    web: Client, make_cluster: MakeCluster
) -> None:
    cluster = make_cluster("new", engine="", version="", status="")
    text = words(page(web, cluster.get_absolute_url()))
    assert "Engine not known" in text
    assert "Never checked." in text
    assert "Last verified never" in text
    assert "Never backed up here" in text
    assert "Not read yet." in text
    assert "0 of 90 days have a verified backup" in text
    assert f"Median duration {NONE}" in text


@pytest.mark.parametrize("readiness", sorted(Readiness))
def test_each_readiness_is_told_with_its_reason_age_and_next_step(
    web: Client, make_cluster: MakeCluster, readiness: Readiness
) -> None:
    cluster = make_cluster(
        readiness=readiness,
        readiness_detail="In <this> way.",
        checked_at=timezone.now() - timedelta(minutes=5),
    )
    text = page(web, cluster.get_absolute_url())
    state = words(text[text.index('id="cluster-state"') : text.index('id="cluster-days"')])
    assert str(readiness.label) in state
    assert "In <this> way." in state
    assert "checked 5 min ago" in state
    assert "Action by" in state
    assert ("Enable log backup" in text) is (readiness == Readiness.BACKUP_OFF)


def test_a_failed_check_is_told_beside_the_last_answer(
    web: Client, make_cluster: MakeCluster
) -> None:
    cluster = make_cluster(
        readiness="ready", checked_at=timezone.now(), check_error="No <answer> in time."
    )
    assert "The last check failed: No <answer> in time." in words(
        page(web, cluster.get_absolute_url())
    )


def test_protection_tells_objective_and_deadlines(
    web: Client, make_cluster: MakeCluster, project: Project
) -> None:
    at = timezone.now() - 30 * HOUR
    cluster = make_cluster(
        verified_at=at, due_at=at + 18 * HOUR, overdue_at=at + 24 * HOUR, objective_hours=None
    )
    text = words(page(web, cluster.get_absolute_url()))
    assert "Overdue Last verified 30 h ago" in text
    assert "every 24 h (project default)" in text
    assert "Overdue 6 h ago" in text
    Cluster.objects.update(objective_hours=48)
    assert "every 48 h (the cluster's own)" in words(page(web, cluster.get_absolute_url()))


def test_the_settings_are_shown_as_they_were_read(web: Client, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    LogSettings.objects.create(
        cluster=cluster,
        enabled=True,
        bucket="<bucket>",
        base_path="css/log",
        agency="css_agency",
        automatic=True,
        period="00:00 GMT+08:00",
        read_at=timezone.now() - HOUR,
    )
    text = page(web, cluster.get_absolute_url())
    facts = words(text[text.index("Log backup settings</h2>") :])
    assert "Log backup on Bucket <bucket> Base path css/log Agency css_agency" in facts
    assert "daily at 00:00 GMT+08:00" in facts
    assert f'href="/clusters/{cluster.pk}/log-backup/"' in text
    assert f'href="/clusters/{cluster.pk}/logs/"' in text


def test_the_latest_ten_runs_are_shown_and_the_rest_is_linked(
    web: Client, make_cluster: MakeCluster, make_run: MakeRun
) -> None:
    cluster = make_cluster(cluster_id="a/b?c&d=e")
    now = timezone.now()
    runs = [
        make_run(cluster, state="succeeded", requested_at=now - number * HOUR)
        for number in range(12)
    ]
    make_run(state="succeeded")  # of another cluster
    text = page(web, cluster.get_absolute_url())
    listed = re.findall(r'id="latest-(\d+)"', text)
    assert listed == [str(run.pk) for run in runs[:10]]
    link = re.search(r'href="(/history/\?cluster=[^"]+)"', text)
    assert link
    history = web.get(unescape(link[1])).content.decode()
    assert len(re.findall(r'<tr id="run-\d+"', history)) == 12


def test_a_run_in_progress_shows_its_steps_and_takes_the_buttons_place(
    web: Client, make_run: MakeRun
) -> None:
    run = make_run()
    text = page(web, run.cluster.get_absolute_url())
    assert 'class="steps"' in text
    assert f'action="/runs/{run.pk}/cancel/"' in text
    assert f'action="/clusters/{run.cluster_id}/backup/"' not in text
    assert "data-live-active" in text
    answer = web.post(f"/runs/{run.pk}/cancel/", {"back": f"/clusters/{run.cluster_id}/"})
    assert answer.headers["Location"] == f"/clusters/{run.cluster_id}/"
    assert 'class="steps"' not in page(web, run.cluster.get_absolute_url())


def test_the_button_sends_its_options_and_comes_back(
    web: Client, make_cluster: MakeCluster, redis_url: str
) -> None:
    cluster = make_cluster(readiness="ready", checked_at=timezone.now())
    text = page(web, cluster.get_absolute_url())
    fields = dict(re.findall(r'name="(idempotency_key|back)" value="([^"]+)"', text))
    assert {"reason", "wait_minutes"} <= set(re.findall(r'<input id="[^"]+" name="(\w+)"', text))
    answer = web.post(
        f"/clusters/{cluster.pk}/backup/", fields | {"reason": "before", "wait_minutes": "5"}
    )
    assert answer.headers["Location"] == f"/clusters/{cluster.pk}/#cluster-{cluster.pk}"
    run = BackupRun.objects.get()
    assert (run.reason, run.retry_conflict_until is not None) == ("before", True)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"gone_at": NOW}, "Gone from the cloud since"),
        ({"archived_at": NOW}, "Archived"),
    ],
)
def test_a_cluster_out_of_the_way_says_so_and_has_no_button(
    web: Client, make_cluster: MakeCluster, columns: dict[str, Any], said: str
) -> None:
    cluster = make_cluster(**columns)
    text = page(web, cluster.get_absolute_url())
    assert said in words(text)
    assert "/backup/" not in text


def test_hostile_names_stay_text(web: Client, make_cluster: MakeCluster, make_run: MakeRun) -> None:
    project = Project.objects.create(cloud="c", region="r", project_id="x", name=HOSTILE)
    cluster = make_cluster(
        HOSTILE,
        project=project,
        engine=HOSTILE,
        version=HOSTILE,
        endpoint=HOSTILE,
        nodes=[{"name": HOSTILE, "type": HOSTILE, "status": HOSTILE}],
        actions=[HOSTILE],
    )
    ClusterTag.objects.create(cluster=cluster, origin="own", key=HOSTILE, value=HOSTILE)
    make_run(cluster, state="rejected", error_code=HOSTILE, requested_by_name=HOSTILE)
    text = page(web, cluster.get_absolute_url())
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 10
    assert "style=" not in text


def test_buttons_are_there_for_those_who_may(client: Client, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    offered = {}
    for role in (Role.VIEWER, Role.OPERATOR, Role.ADMIN):
        client.force_login(give(User.objects.create_user(role), role))
        text = page(client, cluster.get_absolute_url())
        # the page's own, not those of the frame
        own = text[text.index('class="crumbs"') :]
        offered[role] = set(
            re.findall(r'<form method="post" action="/clusters/\d+/([a-z-]+)/"', own)
        )
    assert offered == {
        Role.VIEWER: set(),
        Role.OPERATOR: {"backup", "check"},
        Role.ADMIN: {"backup", "check", "archive", "labels", "objective"},
    }


def test_a_cluster_of_a_project_that_is_not_ones_own_is_not_there(
    client: Client, make_cluster: MakeCluster, project: Project
) -> None:
    other = Project.objects.create(cloud="otc", region="eu-nl", project_id="q" * 32, name="other")
    client.force_login(give(User.objects.create_user("ben"), Role.ADMIN, project=other))
    cluster = make_cluster()
    for url in (f"/clusters/{cluster.pk}/", f"/clusters/{cluster.pk}/live/?shown=1:x"):
        assert client.get(url).status_code == 404
    assert client.post(f"/clusters/{cluster.pk}/check/").status_code == 404
    assert client.get("/clusters/999999/").status_code == 404


@pytest.mark.parametrize("url", ["/history/?window=all", "run", "/clusters/"])
def test_names_lead_here(web: Client, make_run: MakeRun, url: str) -> None:
    run = make_run(state="succeeded")
    text = web.get(run.get_absolute_url() if url == "run" else url).content.decode()
    assert f'href="/clusters/{run.cluster_id}/"' in text
