"""Filters of the history: in the URL, combinable, removable, and never anybody else's runs."""

from __future__ import annotations

import html
import re
from datetime import datetime, timedelta
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.utils import timezone

from backups.choices import Outcome, RunState
from backups.lists.history import Group
from backups.models import BackupRun, ClusterTag, Listing, Project, SavedView
from dashboard.accounts.models import User
from tests.views.conftest import MakeCluster, MakeRun

URL = "/history/"


def rows_in(text: str) -> list[int]:
    return [int(pk) for pk in re.findall(r'<tr id="run-(\d+)"', text)]


def shown(web: Client, **query: object) -> set[int]:
    response = web.get(f"{URL}?{urlencode(query, doseq=True)}", follow=True)
    assert response.status_code == 200, response.content.decode()
    return set(rows_in(response.content.decode()))


@pytest.fixture
def runs(make_run: MakeRun, make_cluster: MakeCluster) -> dict[str, BackupRun]:
    """One run for each kind of filter, all of them of today but `old`."""
    other = Project.objects.create(cloud="otc", region="eu-nl", project_id="q" * 32, name="other")
    tagged = make_cluster("tagged-1")
    ClusterTag.objects.create(cluster=tagged, origin="own", key="team", value="search")
    return {
        "good": make_run(state="succeeded", outcome="accepted", http_status=200),
        "conflict": make_run(
            state="rejected",
            outcome="conflict",
            http_status=409,
            error_code="CSS.3004",
            message="A backup is in progress.",
            request_id="req-409",
        ),
        "off": make_run(
            state="rejected", outcome="precondition_failed", http_status=412, trigger="cli"
        ),
        "failed": make_run(state="failed", failed_message="OBS quota of the bucket exceeded"),
        "queued": make_run(state="queued"),
        "unknown": make_run(state="unknown", outcome="unanswered"),
        "ours": make_run(state="succeeded", requested_by_name="carla"),
        "tagged": make_run(tagged, state="succeeded"),
        "elsewhere": make_run(make_cluster("nl-1", project=other), state="succeeded"),
        "old": make_run(state="failed", requested_at=timezone.now() - timedelta(days=400)),
    }


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"state": "failed"}, {"failed"}),
        ({"state": ["failed", "queued"]}, {"failed", "queued"}),
        ({"outcome": "conflict"}, {"conflict"}),
        ({"outcome": ["conflict", "precondition_failed"]}, {"conflict", "off"}),
        ({"http_status": "409"}, {"conflict"}),
        ({"http_status": "409, 412"}, {"conflict", "off"}),
        ({"error_code": "CSS.3004"}, {"conflict"}),
        ({"trigger": "cli"}, {"off"}),
        ({"user": "carla"}, {"ours"}),
        ({"cluster": "tagged-1"}, {"tagged"}),
        ({"label": "team"}, {"tagged"}),
        ({"label": "team=search"}, {"tagged"}),
        ({"label": "team=billing"}, set()),
        ({"group": "attention"}, {"conflict", "off", "failed", "unknown"}),
        ({"group": "active"}, {"queued", "unknown"}),
        ({"group": "active", "state": "failed"}, set()),
        ({"group": "attention", "window": "all"}, {"conflict", "off", "failed", "unknown", "old"}),
        ({"state": "failed", "window": "all"}, {"failed", "old"}),
        ({"window": "365d", "state": "failed"}, {"failed"}),
        ({"q": "tagged"}, {"tagged"}),
        ({"q": "QUOTA"}, {"failed"}),
        ({"q": "in progress"}, {"conflict"}),
        ({"q": "req-409"}, {"conflict"}),
        ({"q": "req-409", "state": "failed"}, set()),
        ({"state": "rejected", "trigger": "cli"}, {"off"}),
    ],
)
def test_a_filter_shows_what_matches_and_nothing_else(
    web: Client, runs: dict[str, BackupRun], query: dict[str, object], names: set[str]
) -> None:
    assert shown(web, **query) == {runs[name].pk for name in names}


def test_the_project_and_the_clusters_id_filter_too(
    web: Client, runs: dict[str, BackupRun]
) -> None:
    elsewhere = runs["elsewhere"]
    assert shown(web, project=elsewhere.project_id) == {elsewhere.pk}
    assert shown(web, cluster=elsewhere.cluster_cloud_id) == {elsewhere.pk}


def test_thirty_days_are_shown_unless_something_else_is_asked_for(
    web: Client, runs: dict[str, BackupRun]
) -> None:
    text = web.get(URL).content.decode()
    assert "in the last 30 days" in text
    assert runs["old"].pk not in shown(web)
    assert 'href="/history/?window=all"' in text
    assert runs["old"].pk in shown(web, window="all")


def test_a_range_that_was_typed_goes_before_the_default_window(
    web: Client, runs: dict[str, BackupRun]
) -> None:
    at = runs["old"].requested_at
    since, until = at - timedelta(minutes=1), at + timedelta(minutes=1)
    form = "%Y-%m-%dT%H:%M"
    assert shown(web, since=f"{since:{form}}", until=f"{until:{form}}") == {runs["old"].pk}
    assert shown(web, until=f"{since:{form}}") == set()


def test_a_range_goes_before_the_window_that_the_form_sends_along(
    web: Client, runs: dict[str, BackupRun]
) -> None:
    since = f"{runs['old'].requested_at - timedelta(minutes=1):%Y-%m-%dT%H:%M}Z"
    answer = web.get(URL, {"window": "30d", "since": since, "state": "failed"}, follow=True)
    assert answer.redirect_chain[-1][0] == f"/history/?{urlencode({'since': since})}&state=failed"
    text = answer.content.decode()
    assert set(rows_in(text)) == {runs["old"].pk, runs["failed"].pk}
    assert '<option value="" selected>Custom range</option>' in text


def test_an_address_with_a_typed_time_means_the_same_moment_in_every_zone(
    web: Client, make_run: MakeRun
) -> None:
    noon = datetime(2026, 3, 2, 12, tzinfo=ZoneInfo("America/New_York"))
    before, after = (
        make_run(state="failed", requested_at=noon + timedelta(hours=hours)) for hours in (-1, 1)
    )
    web.cookies["tz"] = "America/New_York"
    answer = web.get(URL, {"since": "2026-03-02T12:00"}, follow=True)
    address = answer.redirect_chain[-1][0]
    assert address == "/history/?since=2026-03-02T12%3A00%3A00-05%3A00"
    assert "2026-03-02 12:00:00 UTC-05:00" in answer.content.decode()  # the chip
    web.cookies["tz"] = "Asia/Tokyo"
    text = web.get(address).content.decode()
    assert rows_in(text) == [after.pk]
    assert before.pk not in rows_in(text)
    assert "2026-03-03 02:00:00 UTC+09:00" in text


def test_a_view_is_kept_with_moments_not_with_clock_times(web: Client, anna: User) -> None:
    web.cookies["tz"] = "America/New_York"
    web.post("/history/views/", {"name": "since noon", "query": "since=2026-03-02T12:00"})
    assert SavedView.objects.get().query == "since=2026-03-02T12%3A00%3A00-05%3A00"


def test_every_word_of_a_filter_has_a_chip_of_its_own(
    web: Client, runs: dict[str, BackupRun]
) -> None:
    for query in ("http_status=409,412", "http_status=409&http_status=412"):
        text = web.get(f"{URL}?{query}&trigger=cli").content.decode()
        assert rows_in(text) == [runs["off"].pk]
        chips = re.search(r'<ul class="chips".*?</ul>', text, re.S)
        assert chips
        links = re.findall(r'href="([^"]+)"\s+aria-label="Remove the filter HTTP', chips[0])
        assert [html.unescape(link) for link in links] == [
            "/history/?http_status=412&trigger=cli",
            "/history/?http_status=409&trigger=cli",
        ]


def test_of_a_filter_with_one_value_the_last_counts_and_has_the_chip(
    web: Client, runs: dict[str, BackupRun]
) -> None:
    text = web.get(f"{URL}?user=ben&user=carla").content.decode()
    assert rows_in(text) == [runs["ours"].pk]
    chips = re.search(r'<ul class="chips".*?</ul>', text, re.S)
    assert chips
    assert "carla" in chips[0]
    assert "ben" not in re.sub(r'href="[^"]*"', "", chips[0])


def test_every_state_is_in_a_group() -> None:
    assert frozenset().union(*(group.states for group in Group)) == frozenset(RunState)


def test_chips_name_the_filters_and_take_one_off(web: Client, runs: dict[str, BackupRun]) -> None:
    text = web.get(f"{URL}?state=failed&state=queued&q=x&older=").content.decode()
    chips = re.search(r'<ul class="chips".*?</ul>', text, re.S)
    assert chips
    links = [html.unescape(link) for link in re.findall(r'href="([^"]+)"', chips[0])]
    assert "/history/?state=queued&q=x" in links
    assert "/history/?state=failed&q=x" in links
    assert "/history/?state=failed&state=queued" in links
    assert "/history/" in links
    assert str(RunState.FAILED.label) in chips[0]


@pytest.mark.parametrize(
    "query",
    [
        "state=nonsense",
        "outcome=200",
        "http_status=99",
        "http_status=409;DROP",
        "http_status=" + "+".join(["409"] * 1 + [str(n) for n in range(100, 130)]),
        "error_code=%3Cscript%3E",
        "window=1h",
        "since=yesterday",
        "since=2026-01-02T00:00&until=2026-01-01T00:00",
        "project=999999",
        "project=x",
        "group=other",
        "sort=name",
        "q=" + "x" * 201,
        "q=%00",
        "end=middle",
        "older=MTAwLTE&newer=MTAwLTE",
    ],
)
def test_what_cannot_be_read_is_a_400_that_names_it(web: Client, query: str) -> None:
    response = web.get(f"{URL}?{query}")
    assert response.status_code == 400
    assert "<script>" not in response.content.decode().split("<main")[1]


def test_the_oldest_page_and_back(web: Client, make_run: MakeRun) -> None:
    moment = timezone.now() - timedelta(hours=1)
    cluster = make_run(state="failed", requested_at=moment).cluster
    made = [
        make_run(cluster, state="failed", requested_at=moment - timedelta(seconds=n)).pk
        for n in range(1, 120)
    ]
    text = web.get(f"{URL}?end=oldest").content.decode()
    listed = [int(pk) for pk in re.findall(r'<tr id="run-(\d+)"', text)]
    assert listed == made[-50:]
    newer = re.search(r'rel="prev" href="([^"]+)"', text)
    assert newer
    assert "Older" not in text.split('<nav class="pager"')[1]
    text = web.get(html.unescape(newer[1])).content.decode()
    assert [int(pk) for pk in re.findall(r'<tr id="run-(\d+)"', text)] == made[-100:-50]
    assert "Older" in text
    assert "Newer" in text


def test_oldest_first_reads_the_same_runs_the_other_way(web: Client, make_run: MakeRun) -> None:
    moment = timezone.now() - timedelta(hours=1)
    cluster = make_run(state="failed", requested_at=moment).cluster
    pks = [cluster.runs.get().pk] + [
        make_run(cluster, state="failed", requested_at=moment + timedelta(seconds=n)).pk
        for n in range(1, 70)
    ]
    text = web.get(f"{URL}?sort=oldest").content.decode()
    assert [int(pk) for pk in re.findall(r'<tr id="run-(\d+)"', text)] == pks[:50]
    following = re.search(r'rel="next" href="([^"]+)"', text)
    assert following
    text = web.get(html.unescape(following[1])).content.decode()
    assert [int(pk) for pk in re.findall(r'<tr id="run-(\d+)"', text)] == pks[50:]


def test_a_text_that_many_clusters_match_neither_repeats_nor_skips(
    web: Client, make_run: MakeRun, make_cluster: MakeCluster
) -> None:
    moment = timezone.now()
    made = []
    for number in range(60):
        cluster = make_cluster(f"many-{number}" if number % 2 else f"plain-{number}")
        message = "" if number % 2 else "many words"
        at = moment - timedelta(seconds=number)
        made.append(make_run(cluster, state="rejected", message=message, requested_at=at).pk)
    first = web.get(f"{URL}?q=many").content.decode()
    listed = [int(pk) for pk in re.findall(r'<tr id="run-(\d+)"', first)]
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following
    second = web.get(html.unescape(following[1])).content.decode()
    listed += [int(pk) for pk in re.findall(r'<tr id="run-(\d+)"', second)]
    assert listed == made


def test_the_total_is_counted_up_to_a_cap(
    web: Client, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        make_run(state="failed")
    assert web.get(f"{URL}count/?state=failed").content.decode().strip() == "3 runs match."
    assert web.get(f"{URL}count/?q=cluster").content.decode().strip() == "3 runs match."
    monkeypatch.setattr("backups.views.history.MOST_COUNTED", 2)
    assert "More than 2 runs" in web.get(f"{URL}count/?state=failed").content.decode()
    assert "More than 2 runs" in web.get(f"{URL}count/?q=cluster").content.decode()


# --- Saved views ---------------------------------------------------------------------------------


def test_a_filter_is_kept_under_a_name_and_offered_again(web: Client, anna: User) -> None:
    answer = web.post(
        f"{URL}views/", {"name": "Conflicts", "query": "outcome=conflict&older=x&state="}
    )
    view = SavedView.objects.get()
    assert (view.owner, view.query, view.shared) == (anna, "outcome=conflict", False)
    assert answer["Location"] == "/history/?outcome=conflict"
    assert "Conflicts" in web.get(URL).content.decode()
    web.post(f"{URL}views/", {"name": "Conflicts", "query": "state=failed", "shared": "1"})
    view.refresh_from_db()
    assert (view.query, view.shared) == ("state=failed", True)


def test_a_filter_that_cannot_be_read_is_not_kept(web: Client) -> None:
    assert web.post(f"{URL}views/", {"name": "x", "query": "state=nope"}).status_code == 400
    assert web.post(f"{URL}views/", {"name": "", "query": ""}).status_code == 400
    assert not SavedView.objects.exists()


def test_others_see_shared_views_only_and_delete_none(web: Client, anna: User) -> None:
    ben = User.objects.create_user("ben")
    private = SavedView.objects.create(owner=ben, name="Ben's own", query="")
    shared = SavedView.objects.create(owner=ben, name="For all", query="", shared=True)
    text = web.get(URL).content.decode()
    assert "For all" in text
    assert "Ben&#x27;s own" not in text
    for view in (private, shared):
        assert web.post(f"{URL}views/{view.pk}/delete/").status_code == 404
    own = SavedView.objects.create(owner=anna, name="mine", query="")
    assert web.get(f"{URL}views/{own.pk}/delete/").status_code == 405
    web.post(f"{URL}views/{own.pk}/delete/")
    assert not SavedView.objects.filter(pk=own.pk).exists()


def test_every_outcome_can_be_filtered_by(web: Client) -> None:
    text = web.get(URL).content.decode()
    for outcome in Outcome.values:
        if outcome:
            assert f'name="outcome" value="{outcome}"' in text


@pytest.mark.parametrize("listing", ["history", "clusters"])
def test_a_filter_that_is_too_long_once_it_is_encoded_is_refused(web: Client, listing: str) -> None:
    data = {"name": "long", "listing": listing, "query": f"q={'ä' * 60}&x={'ä' * 1500}"}
    answer = web.post("/history/views/", data)
    assert answer.status_code == 400
    assert "too long" in answer.content.decode()
    assert not SavedView.objects.exists()


def test_own_views_are_offered_before_those_of_others(
    web: Client, anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backups.models.saved.MOST_OFFERED", 2)
    ben = User.objects.create_user("ben")
    for owner, name in ((ben, "a"), (ben, "b"), (anna, "z")):
        SavedView.objects.create(owner=owner, name=name, listing="clusters", shared=True)
    offered = SavedView.objects.offered_to(anna, Listing.CLUSTERS)
    assert [view.name for view in offered] == ["z", "a"]
