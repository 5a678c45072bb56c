"""The clusters page narrowed down and sorted; archive, labels, objective; the protection page."""

from __future__ import annotations

import re
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backups.models import Cluster, ClusterTag, Project, SavedView
from dashboard.accounts.models import User
from dashboard.audit.models import AuditEvent
from tests.views.conftest import MakeCluster, MakeRun, protect

NOW = timezone.now()
pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root", password="x"))
    return client


def names(web: Client, url: str = "/clusters/", **query: object) -> list[str]:
    answer = web.get(f"{url}?{urlencode(query, doseq=True)}")
    assert answer.status_code == 200, answer.content.decode()
    rows = re.findall(r'<tr id="[^"]*cluster-\d+".*?</tr>', answer.content.decode(), re.S)
    found = [re.search(r'<bdi class="name"[^>]*>(.*?)</bdi>', row) for row in rows]
    return [name[1] for name in found if name]


def verified(ago: timedelta) -> dict[str, object]:
    """The columns of a cluster with an objective of a day."""
    at = timezone.now() - ago
    day = timedelta(hours=24)
    return {"verified_at": at, "due_at": at + 0.75 * day, "overdue_at": at + day}


@pytest.fixture
def clusters(make_cluster: MakeCluster) -> dict[str, Cluster]:
    other = Project.objects.create(cloud="otc", region="eu-nl", project_id="q" * 32, name="other")
    made = {
        "alpha": make_cluster("alpha", readiness="ready", **verified(timedelta(hours=1))),
        "bravo": make_cluster("bravo", readiness="backup_off", engine="Elasticsearch"),
        "charly": make_cluster(
            "charly", readiness="busy", actions=["GROWING"], **verified(timedelta(hours=30))
        ),
        "delta": make_cluster("delta", project=other, **verified(timedelta(hours=20))),
        "gone": make_cluster("gone", gone_at=NOW),
        "away": make_cluster("away", archived_at=NOW),
    }
    ClusterTag.objects.create(cluster=made["alpha"], origin="cloud", key="env", value="prod")
    ClusterTag.objects.create(cluster=made["bravo"], origin="own", key="env", value="test")
    return made


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({}, ["alpha", "bravo", "charly", "delta"]),
        ({"show": "gone"}, ["gone"]),
        ({"show": "archived"}, ["away"]),
        ({"show": "all"}, ["alpha", "away", "bravo", "charly", "delta", "gone"]),
        ({"q": "LPH"}, ["alpha"]),
        ({"label": "env"}, ["alpha", "bravo"]),
        ({"label": "env=prod"}, ["alpha"]),
        ({"readiness": "backup_off"}, ["bravo"]),
        ({"readiness": ["ready", "busy"]}, ["alpha", "charly"]),
        ({"state": "busy"}, ["charly"]),
        ({"engine": "elasticsearch"}, ["bravo"]),
        ({"protection": "protected"}, ["alpha"]),
        ({"protection": "due"}, ["delta"]),
        ({"protection": "overdue"}, ["charly"]),
        ({"protection": "never"}, ["bravo"]),
        ({"sort": "-name"}, ["delta", "charly", "bravo", "alpha"]),
        ({"sort": "protection"}, ["charly", "bravo", "delta", "alpha"]),
        ({"sort": "readiness"}, ["bravo", "charly", "delta", "alpha"]),
        ({"label": "env", "protection": "protected"}, ["alpha"]),
    ],
)
def test_a_filter_shows_what_matches_in_its_order(
    web: Client, clusters: dict[str, Cluster], query: dict[str, object], wanted: list[str]
) -> None:
    assert names(web, **query) == wanted


def test_the_project_filters_too(web: Client, clusters: dict[str, Cluster]) -> None:
    assert names(web, project=clusters["delta"].project_id) == ["delta"]


@pytest.mark.parametrize(
    "query", ["readiness=x", "protection=x", "sort=x", "show=x", "project=x", "state=<b>", "page=0"]
)
def test_what_cannot_be_read_is_a_400(web: Client, query: str) -> None:
    answer = web.get(f"/clusters/?{query}")
    assert answer.status_code == 400
    assert "<b>" not in answer.content.decode().split("<main")[1]


@pytest.mark.parametrize("url", ["/clusters/", "/protection/", "/"])
def test_a_thousand_clusters_cost_as_many_queries_as_sixty(
    web: Client, project: Project, url: str
) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert web.get(url).status_code == 200
        return len(captured)

    def grow(first: int, last: int) -> None:
        made = Cluster.objects.bulk_create(
            Cluster(project=project, cluster_id=f"id-{n}", name=f"many-{n:04}")
            for n in range(first, last)
        )
        ClusterTag.objects.bulk_create(
            ClusterTag(cluster=cluster, origin="cloud", key="env", value="prod") for cluster in made
        )

    grow(0, 60)
    few = count()
    grow(60, 1000)
    assert count() <= few


def test_hostile_names_and_tags_are_escaped(web: Client, make_cluster: MakeCluster) -> None:
    script = "<script>alert(1)</script>"
    cluster = make_cluster(script)
    ClusterTag.objects.create(cluster=cluster, origin="cloud", key=script, value=script)
    for url in ("/clusters/", "/protection/", f"/clusters/{cluster.pk}/", "/"):
        assert script not in web.get(url).content.decode()


# --- Archive, labels, objective ------------------------------------------------------------------


def test_archived_and_restored_on_record(admin: Client, make_cluster: MakeCluster) -> None:
    cluster = make_cluster("alpha")
    assert admin.post(f"/clusters/{cluster.pk}/archive/").status_code == 400
    assert names(admin) == ["alpha"], "one click is not enough: a reason is asked for"
    admin.post(f"/clusters/{cluster.pk}/archive/", {"reason": "moved to orders-2"})
    assert names(admin) == []
    assert names(admin, show="archived") == ["alpha"]
    admin.post(f"/clusters/{cluster.pk}/restore/")
    assert names(admin) == ["alpha"]
    actions = AuditEvent.objects.order_by("sequence").values_list("action", flat=True)
    assert list(actions)[-2:] == ["cluster_archived", "cluster_restored"]
    assert AuditEvent.objects.get(action="cluster_archived").reason == "moved to orders-2"


def test_a_cluster_with_a_run_under_way_is_not_archived(admin: Client, make_run: MakeRun) -> None:
    run = make_run(state="accepted")
    answer = admin.post(f"/clusters/{run.cluster_id}/archive/", {"reason": "x"}, follow=True)
    assert f"Run {run.pk}" in answer.content.decode()
    run.cluster.refresh_from_db()
    assert run.cluster.archived_at is None


def test_labels_are_replaced_on_record(admin: Client, make_cluster: MakeCluster) -> None:
    cluster = make_cluster("alpha")
    url = f"/clusters/{cluster.pk}/labels/"
    admin.post(url, {"labels": "team=search\ncritical", "seen": ""})
    kept = set(cluster.tags.values_list("origin", "key", "value"))
    assert kept == {("own", "team", "search"), ("own", "critical", "")}
    assert names(admin, label="team=search") == ["alpha"]
    event = AuditEvent.objects.get(action="cluster_labelled")
    assert event.before != event.after
    stale = admin.post(url, {"labels": "other", "seen": ""})
    assert stale.status_code == 409
    assert cluster.tags.filter(key="team").exists()


@pytest.mark.parametrize("text", ["=x", "a" * 300, "\n".join(f"k{n}" for n in range(21))])
def test_labels_that_cannot_be_kept_are_said(
    admin: Client, make_cluster: MakeCluster, text: str
) -> None:
    cluster = make_cluster("alpha")
    answer = admin.post(f"/clusters/{cluster.pk}/labels/", {"labels": text, "seen": ""})
    assert answer.status_code == 422
    assert not cluster.tags.exists()


def test_an_objective_of_its_own_changes_the_protection(
    admin: Client, clusters: dict[str, Cluster]
) -> None:
    charly = clusters["charly"]
    admin.post(f"/clusters/{charly.pk}/objective/", {"hours": "48"})
    assert "charly" in names(admin, protection="protected")
    assert AuditEvent.objects.filter(action="objective_changed").exists()
    assert admin.post(f"/clusters/{charly.pk}/objective/", {"hours": "0"}).status_code == 400


def test_one_hour_and_one_cluster_are_said_so(admin: Client, make_cluster: MakeCluster) -> None:
    cluster = make_cluster("alone")
    own = admin.post(f"/clusters/{cluster.pk}/objective/", {"hours": "1"}, follow=True)
    assert "The objective of alone is 1 h." in own.content.decode()
    admin.post(f"/clusters/{cluster.pk}/objective/", {"hours": ""})
    every = f"/protection/projects/{cluster.project_id}/objective/"
    said = admin.post(every, {"hours": "1"}, follow=True).content.decode()
    assert "is 1 h; it applies to 1 cluster." in said


def test_who_may_not_configure_changes_nothing(web: Client, make_cluster: MakeCluster) -> None:
    cluster = make_cluster("alpha")
    for action in ("archive", "restore", "labels", "objective"):
        assert web.post(f"/clusters/{cluster.pk}/{action}/").status_code == 403
        assert web.get(f"/clusters/{cluster.pk}/{action}/").status_code == 405


# --- The protection page -------------------------------------------------------------------------


def test_the_worst_come_first_and_the_headline_counts_what_is_present(
    web: Client, clusters: dict[str, Cluster]
) -> None:
    text = web.get("/protection/").content.decode()
    order = [text.index(f">{name}<") for name in ("charly", "bravo", "delta", "alpha")]
    assert order == sorted(order)
    assert ">gone<" not in text
    assert ">away<" not in text
    said = re.sub(r"<[^>]+>|\s+", " ", text)
    assert re.search(r"2\s+of\s+4\s+clusters", said)


def test_a_cluster_without_any_backup_is_never_shown_as_healthy(
    web: Client, make_cluster: MakeCluster
) -> None:
    make_cluster("fresh", readiness="ready")
    assert "Never backed up" in web.get("/protection/").content.decode()
    said = re.sub(r"<[^>]+>|\s+", " ", web.get("/").content.decode())
    assert re.search(r"0\s+of\s+1\s+clusters?\s+protected", said)


# --- The last run, and the order of the protection page -------------------------------------------


def test_clusters_by_the_state_and_outcome_of_their_last_run(
    web: Client, make_cluster: MakeCluster, make_run: MakeRun
) -> None:
    new, old = make_cluster("a-new"), timezone.now() - timedelta(days=1)
    verified_now, refused, failed = (make_cluster(name) for name in ("b-fine", "c-no", "d-bad"))
    make_run(verified_now, state="rejected", outcome="conflict", requested_at=old)
    make_run(verified_now, state="succeeded", outcome="accepted")
    make_run(refused, state="rejected", outcome="conflict")
    make_run(failed, state="failed", outcome="accepted")
    assert names(web, last_state="succeeded") == ["b-fine"]
    assert names(web, last_state=["rejected", "never"]) == [new.name, "c-no"]
    assert names(web, last_outcome="conflict") == ["c-no"]
    assert names(web, last_outcome="accepted", last_state="failed") == ["d-bad"]
    assert web.get("/clusters/?last_state=nope").status_code == 400


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("", ["late", "never", "fine"]),
        ("-protection", ["fine", "never", "late"]),
        ("name", ["fine", "late", "never"]),
        ("objective", ["late", "fine", "never"]),
        ("-objective", ["fine", "never", "late"]),
        ("due", ["never", "late", "fine"]),
        ("-due", ["fine", "late", "never"]),
    ],
)
def test_the_protection_page_is_sorted(
    web: Client, make_cluster: MakeCluster, sort: str, order: list[str]
) -> None:
    for name, hours in (("never", None), ("late", 30), ("fine", 1)):
        cluster = make_cluster(name)
        if hours:
            protect(cluster, hours)
        if name == "late":
            Cluster.objects.filter(pk=cluster.pk).update(objective_hours=2)
    assert names(web, "/protection/", sort=sort) == order


def test_views_of_both_lists_have_names_of_their_own(web: Client) -> None:
    for listing in ("clusters", "history"):
        saved = {"name": "mine", "listing": listing, "query": "q=orders&page=2"}
        answer = web.post("/history/views/", saved)
        assert answer["Location"].startswith(f"/{listing}/?")
        assert "page=2" not in answer["Location"] or listing == "history"
    assert SavedView.objects.count() == 2
    view = SavedView.objects.get(listing="clusters")
    assert f'href="{view.get_absolute_url()}"' in web.get("/clusters/").content.decode()
    assert web.post(f"/history/views/{view.pk}/delete/")["Location"] == "/clusters/"
    bad = {"name": "x", "listing": "clusters", "query": "last_state=nope"}
    assert web.post("/history/views/", bad).status_code == 400
