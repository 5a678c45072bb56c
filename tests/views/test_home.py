"""The home page: its parts with rows and without, kept up to date, safe with hostile names."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.test import Client
from django.utils import timezone

from backups.choices import RunState
from backups.models import ApiCall, BackupRun, Heartbeat, Project
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from tests.grants import give
from tests.views.conftest import MakeCluster, MakeRun, protect
from tests.views.page_text import home_part, page, tight, words

HOSTILE = "<script>alert(1)</script>\"'&{{ 7*7 }}‮"


def test_a_visitor_is_asked_to_sign_in_and_lands_here(client: Client, anna: User) -> None:
    assert client.get("/").headers["Location"] == "/sign-in/?next=/"
    answer = client.post("/sign-in/", {"username": "anna", "password": "a-password"})
    assert answer.headers["Location"] == "/"


def test_without_a_cluster_the_page_leads_to_the_connections(web: Client, anna: User) -> None:
    text = page(web, "/")
    assert "No clusters yet" in text
    assert 'id="home-' not in text
    give(anna, Role.ADMIN)
    assert 'href="/settings/connections/"' in page(web, "/")


def test_in_the_demo_the_empty_page_says_that_clusters_come_by_themselves(
    web: Client, settings: object
) -> None:
    settings.DEMO_CLOUD = True  # type: ignore[attr-defined]
    text = page(web, "/")
    assert "appear here automatically" in text
    assert 'http-equiv="refresh"' in text


def test_the_headline_counts_protected_clusters_and_links_to_the_protection_page(
    web: Client, make_cluster: MakeCluster
) -> None:
    for name, hours in (("fresh", 1), ("due", 20), ("overdue", 30)):
        protect(make_cluster(name), hours)
    make_cluster("never")
    make_cluster("archived", archived_at=timezone.now())
    summary = home_part(page(web, "/"), "summary")
    assert "2 of 4 clusters protected" in words(summary)
    assert "1 never backed up · 1 overdue · 1 due" in words(summary)
    assert 'class="card tile bad" id="tile-protection" href="/protection/"' in summary


def test_with_every_cluster_fresh_nothing_needs_attention(
    web: Client, make_cluster: MakeCluster
) -> None:
    protect(make_cluster(), 1)
    text = page(web, "/")
    assert "1 of 1 cluster protected within the objective" in words(home_part(text, "summary"))
    assert 'class="card tile ok"' in home_part(text, "summary")
    assert "Nothing needs attention" in home_part(text, "attention")
    assert "No backup is in progress" in home_part(text, "active")
    assert "No run has ended" in home_part(text, "outcomes")
    assert "was not called" in home_part(text, "api")


@pytest.mark.parametrize("state", ["queued", "sending", "accepted", "unknown"])
def test_a_run_in_progress_shows_its_steps_and_only_a_queued_one_can_be_cancelled(
    web: Client, make_run: MakeRun, state: str
) -> None:
    run = make_run(state=state, note="Waits for <a worker>.")
    active = home_part(page(web, "/"), "active")
    assert f'href="/runs/{run.pk}/"' in active
    assert f'href="/clusters/{run.cluster_id}/"' in active
    assert 'class="steps"' in active
    assert "Waits for &lt;a worker&gt;." in active
    assert (f'action="/runs/{run.pk}/cancel/"' in active) is (state == "queued")
    assert ("data-live-active" in active) is True


def test_cancelling_here_leads_back_here(web: Client, make_run: MakeRun) -> None:
    run = make_run()
    back = re.search(r'name="back" value="([^"]+)"', home_part(page(web, "/"), "active"))
    assert back
    answer = web.post(f"/runs/{run.pk}/cancel/", {"back": back[1]})
    assert answer.headers["Location"] == "/"
    run.refresh_from_db()
    assert run.run_state is RunState.CANCELLED
    assert (
        web.post(f"/runs/{run.pk}/cancel/", {"back": "//evil.example"}).headers["Location"]
        == run.get_absolute_url()
    )


def test_of_many_runs_in_progress_ten_are_shown_and_all_counted(
    web: Client, make_run: MakeRun
) -> None:
    for _ in range(12):
        make_run()
    text = page(web, "/")
    assert home_part(text, "active").count('class="steps"') == 10
    assert "All 12 in progress" in home_part(text, "active")
    assert "12 in progress" in words(home_part(text, "summary"))


def test_the_button_of_a_row_asks_for_a_backup_and_comes_back(
    web: Client, make_cluster: MakeCluster, redis_url: str
) -> None:
    cluster = make_cluster("orders", readiness="ready", checked_at=timezone.now())
    protect(cluster, 30)
    form = home_part(page(web, "/"), "attention")
    fields = dict(re.findall(r'name="(idempotency_key|back)" value="([^"]+)"', form))
    answer = web.post(f"/clusters/{cluster.pk}/backup/", fields)
    assert answer.headers["Location"] == f"/#cluster-{cluster.pk}"
    assert BackupRun.objects.get().cluster == cluster
    assert f'id="cluster-{cluster.pk}"' in home_part(page(web, "/"), "active")


def test_a_412_is_one_click_away_from_its_settings(
    web: Client, make_cluster: MakeCluster, make_run: MakeRun
) -> None:
    cluster = make_cluster("orders", readiness="backup_off", checked_at=timezone.now())
    protect(cluster, 2)
    run = make_run(
        cluster,
        state="rejected",
        outcome="precondition_failed",
        http_status=412,
        error_code="CSS.0004",
        requested_at=timezone.now() - timedelta(hours=1),
    )
    row = home_part(page(web, "/"), "attention")
    assert "Rejected: Precondition failed" in row
    assert "HTTP 412 · CSS.0004" in row
    assert f'href="/runs/{run.pk}/"' in row
    assert "Log backup is off" in row
    assert f'href="/clusters/{cluster.pk}/log-backup/"' in row
    assert "Enable log backup" in row


def test_who_may_only_look_gets_no_button(
    client: Client, make_cluster: MakeCluster, make_run: MakeRun
) -> None:
    client.force_login(give(User.objects.create_user("vera"), Role.VIEWER))
    make_cluster("never")
    make_run()
    text = page(client, "/")
    assert '<form method="post" action="/clusters/' not in text
    assert '<form method="post" action="/runs/' not in text
    assert "Open the cluster" in home_part(text, "attention")


def test_the_chart_shows_the_numbers_of_its_table(web: Client, make_run: MakeRun) -> None:
    now = timezone.now().astimezone(UTC)
    noon_yesterday = (now - timedelta(days=1)).replace(hour=12)
    for state, count in {"succeeded": 5, "failed": 2, "rejected": 1, "unverified": 3}.items():
        for _ in range(count):
            make_run(state=state, requested_at=noon_yesterday)
    outcomes = tight(home_part(page(web, "/"), "outcomes"))
    day = f"{noon_yesterday:%a} {noon_yesterday.day} {noon_yesterday:%b %Y}"
    title = re.search(rf"<title>{day}: ([^<]+)</title>(.*?)</g>", outcomes)
    assert title
    assert title[1] == (
        "5 verified, 2 backup failed, 1 rejected, 3 unknown, not verified or not started"
    )
    kinds = re.findall(r'<rect class="([a-z]+)"', title[2])
    assert kinds == ["hit", "verified", "failed", "rejected", "unproven"]
    row = re.search(rf">{day}</a></th>(.*?)</tr>", outcomes)
    assert row
    assert re.findall(r">(\d+)</td>", row[1]) == ["5", "2", "1", "3"]
    assert outcomes.count("<tr>") == 31
    assert "11 runs in 30 days: 5 verified, 2 backup failed, 1 rejected" in outcomes
    assert f"since={noon_yesterday:%Y-%m-%d}T00:00Z&amp;until={now:%Y-%m-%d}T00:00Z" in outcomes


def test_the_links_of_the_chart_find_what_it_counted(web: Client, make_run: MakeRun) -> None:
    today = timezone.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    inside = [
        make_run(state="unverified", requested_at=today - timedelta(days=1)),
        make_run(state="not_started", requested_at=today - timedelta(microseconds=1)),
    ]
    outside = [
        make_run(state="unverified", requested_at=today - timedelta(days=30)),
        make_run(state="failed", requested_at=today),
    ]
    outcomes = unescape(home_part(page(web, "/"), "outcomes"))
    legend = re.search(r'href="(/history/\?[^"]+)" id="legend-unproven"', outcomes)
    yesterday = today - timedelta(days=1)
    row = re.search(rf'href="(/history/\?since={yesterday:%Y-%m-%d}[^"]+)"', outcomes)
    assert legend
    assert row
    for url in (legend[1], row[1]):
        listed = web.get(url)
        assert listed.status_code == 200
        text = listed.content.decode()
        assert [f'id="run-{run.pk}"' in text for run in inside] == [True, True]
        assert [f'id="run-{run.pk}"' in text for run in outside] == [False, False]


def test_the_drawing_holds_no_style_and_names_itself(web: Client, make_run: MakeRun) -> None:
    make_run(state="succeeded")
    text = page(web, "/")
    assert "style=" not in text
    assert "<style" not in text
    svg = re.search(r'<svg class="plot"[^>]*aria-labelledby="([^"]+)"', text)
    assert svg
    assert all(f'id="{each}"' in text for each in svg[1].split())


def test_the_apis_figures_are_told_with_their_parts(web: Client, make_run: MakeRun) -> None:
    run = make_run(state="succeeded")
    now = timezone.now()
    for status, duration in ((200, 100), (200, 200), (412, 300), (None, 5000)):
        ApiCall.objects.create(
            run=run,
            attempt=1,
            purpose="records",
            method="GET",
            path="/",
            started_at=now,
            finished_at=now,
            duration_ms=duration,
            status=status,
        )
    api = words(home_part(page(web, "/"), "api"))
    assert "Median answer 200 ms" in api
    assert "95th percentile 300 ms" in api
    assert "50.0 % 2 of 4 calls" in api
    assert "1 rejected (4xx) · 0 failed (5xx) · 1 without an answer" in api


def test_hostile_names_stay_text(web: Client, make_cluster: MakeCluster, make_run: MakeRun) -> None:
    project = Project.objects.create(cloud="c", region="r", project_id="x", name=HOSTILE)
    cluster = make_cluster(HOSTILE, project=project)
    make_run(cluster, requested_by_name=HOSTILE, note=HOSTILE)
    failing = make_cluster(HOSTILE * 5)
    make_run(failing, state="failed", failed_message=HOSTILE)
    text = page(web, "/")
    assert "<script>alert" not in text
    # as it was written, not evaluated
    assert "&{{ 7*7 }}" in words(home_part(text, "active"))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in home_part(text, "active")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in home_part(text, "attention")


def test_the_banner_says_where_the_worker_is_missing(
    web: Client, make_cluster: MakeCluster
) -> None:
    make_cluster()
    assert "No worker is running" in page(web, "/")
    now = timezone.now()
    Heartbeat.objects.create(name="h:worker", kind="worker", seen_at=now, started_at=now)
    assert "No worker is running" not in page(web, "/")


def test_days_are_utc_days_in_any_zone_of_the_viewer(web: Client, make_run: MakeRun) -> None:
    web.cookies["tz"] = "Pacific/Kiritimati"
    make_run(state="succeeded", requested_at=datetime.now(UTC) - timedelta(days=2))
    text = tight(home_part(page(web, "/"), "outcomes"))
    day = datetime.now(UTC).date() - timedelta(days=2)
    row = re.search(rf">{day:%a} {day.day} {day:%b %Y}</a></th>(.*?)</tr>", text)
    assert row
    assert re.findall(r">(\d+)</td>", row[1]) == ["1", "0", "0", "0"]
