"""Lists of the API: the pages' filters, a page at a time, of one's own projects."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from django.utils import timezone

from backups.api.queries import described
from backups.choices import Outcome, RunState, Trigger
from backups.lists.clusters import ORDERS, ClusterFilter
from backups.lists.history import HistoryFilter
from backups.models import BackupRun, Cluster, ClusterTag, LogSettings, Project
from dashboard.accounts.models import User
from tests.api.conftest import cluster_in
from tests.tokens_made import Program


def run_of(cluster: Cluster, minutes_ago: int, **more: Any) -> BackupRun:
    project = cluster.project
    return BackupRun.objects.create(
        cluster=cluster,
        project=project,
        cluster_cloud_id=cluster.cluster_id,
        cluster_name=cluster.name,
        cloud=project.cloud,
        region=project.region,
        project_id_in_cloud=project.project_id,
        project_name=project.name,
        requested_by_name="anna",
        requested_at=timezone.now() - timedelta(minutes=minutes_ago),
        **{
            "trigger": Trigger.BUTTON,
            "state": RunState.REJECTED,
            "outcome": Outcome.CONFLICT,
            **more,
        },
    )


def names(answer: Any) -> list[str]:
    assert answer.status == 200, answer.body
    return [item["cluster"] for item in answer.body["items"]]


# --- clusters


def test_clusters_come_in_pages_of_the_length_asked_for(
    reader: Program, project: Project, hidden: Cluster
) -> None:
    for number in range(5):
        cluster_in(project, f"c{number}")
    first = reader.get("clusters?limit=2")
    assert names(first) == ["c0", "c1"]
    assert first.body["count"] == 5
    cluster_in(project, "before-all")  # shifts nothing
    seen, following = names(first), first.body["next"]
    while following:
        answer = reader.get(following)
        seen += names(answer)
        following = answer.body["next"]
    assert seen == ["c0", "c1", "c2", "c3", "c4"]


def test_clusters_are_filtered_and_sorted_as_on_their_page(
    reader: Program, project: Project, hidden: Cluster
) -> None:
    now = timezone.now()
    good = cluster_in(
        project,
        "good",
        engine="OpenSearch",
        readiness="ready",
        verified_at=now,
        due_at=now + timedelta(hours=18),
        overdue_at=now + timedelta(hours=24),
    )
    cluster_in(project, "never", engine="Elasticsearch")
    cluster_in(project, "gone", gone_at=now)
    ClusterTag.objects.create(cluster=good, origin="own", key="team", value="search")
    for query, found in {
        "": ["good", "never"],
        "show=all&sort=-name": ["never", "good", "gone"],
        "show=gone": ["gone"],
        "protection=protected": ["good"],
        "protection=never&protection=protected": ["good", "never"],
        "readiness=ready": ["good"],
        "engine=elasticsearch": ["never"],
        "label=team%3Dsearch": ["good"],
        "q=NEV": ["never"],
        f"project={project.pk}": ["good", "never"],
        "sort=-protection": ["good", "never"],
    }.items():
        assert names(reader.get(f"clusters?{query}")) == found, query
    assert reader.get(f"clusters?project={hidden.project_id}").status == 400


SORTS = [str(order) for order in ORDERS]


@pytest.mark.parametrize("sort", SORTS)
def test_pages_of_clusters_have_each_once_in_every_order(
    sort: str, reader: Program, project: Project
) -> None:
    now = timezone.now()
    for number in range(7):
        at = None if number % 3 == 0 else now - timedelta(hours=number // 2)
        Cluster.objects.create(
            project=project,
            name=f"c{number // 2}",
            cluster_id=f"id-{number}",
            engine=["", "OpenSearch"][number % 2],
            readiness=["ready", "busy", "backup_off"][number % 3],
            verified_at=at,
            due_at=at,
            overdue_at=at,
        )
    whole = reader.get(f"clusters?sort={sort}").body["items"]
    seen: list[Any] = []
    following: str | None = f"clusters?sort={sort}&limit=2"
    while following:
        answer = reader.get(following).body
        seen, following = seen + answer["items"], answer["next"]
    assert [each["id"] for each in seen] == [each["id"] for each in whole]
    assert len(seen) == 7


def test_a_position_belongs_to_its_order(reader: Program, project: Project) -> None:
    for number in range(2):
        cluster_in(project, f"c{number}")
    cursor = parse_qs(urlsplit(reader.get("clusters?limit=1").body["next"]).query)["cursor"][0]
    assert reader.get(f"clusters?cursor={quote(cursor)}").status == 200
    for other in ("&sort=-name", "&sort=verified"):
        assert reader.get(f"clusters?cursor={quote(cursor)}{other}").status == 400
    assert reader.get(f"batches?cursor={quote(cursor)}").status == 400


@pytest.mark.parametrize("path", ["clusters", "runs", "batches", "projects", "tokens", "exports"])
def test_no_list_has_page_numbers(path: str, reader: Program) -> None:
    answer = reader.get(f"{path}?page=999")
    assert (answer.status, answer.kind) == (422, "no-page-numbers")
    assert "next" in answer.body["detail"]


def test_a_cluster_tells_its_readiness_and_protection(
    reader: Program, cluster: Cluster, project: Project
) -> None:
    now = timezone.now()
    Cluster.objects.update(
        readiness="backup_off",
        readiness_detail="It is off.",
        checked_at=now,
        verified_at=now - timedelta(hours=30),
        due_at=now - timedelta(hours=12),
        overdue_at=now - timedelta(hours=6),
        nodes=[{"name": "n1", "type": "ess", "status": "200"}],
    )
    LogSettings.objects.create(cluster=cluster, enabled=False, bucket="b", read_at=now)
    run = run_of(cluster, 5, state=RunState.QUEUED, outcome=Outcome.NONE)
    body = reader.get(f"clusters/{cluster.pk}").body
    assert (body["id"], body["cluster_id"], body["cluster"]) == (cluster.pk, "id-orders", "orders")
    assert body["project"] == {
        "id": project.pk,
        "cloud": "otc",
        "region": "eu-de",
        "project_id": "p" * 32,
        "name": "shop",
    }
    assert (body["readiness"], body["readiness_detail"]) == ("backup_off", "It is off.")
    assert body["protection"]["state"] == "overdue"
    assert body["protection"]["objective_hours"] == 24
    assert body["protection"]["verified_at"].endswith("Z")
    assert body["log_settings"]["enabled"] is False
    assert body["active_run"]["run_id"] == body["latest_run"]["run_id"] == run.pk
    assert body["nodes"][0]["name"] == "n1"
    assert body["gone_at"] is None
    (listed,) = reader.get("clusters").body["items"]
    assert listed.items() <= body.items()


def test_a_list_takes_the_same_number_of_queries_whatever_its_length(
    reader: Program, project: Project, django_assert_max_num_queries: Any
) -> None:
    reader.get("token")  # notes its use
    for number in range(30):
        made = cluster_in(project, f"c{number}")
        run_of(made, number)
        ClusterTag.objects.create(cluster=made, origin="own", key="a")
    with django_assert_max_num_queries(8):
        assert len(names(reader.get("clusters?limit=30"))) == 30
    with django_assert_max_num_queries(6):
        assert len(names(reader.get("runs?limit=30"))) == 30


# --- runs


def test_runs_come_newest_first_and_each_once(
    reader: Program, cluster: Cluster, hidden: Cluster
) -> None:
    made = [run_of(cluster, minutes) for minutes in (9, 7, 7, 5, 3, 1)]
    run_of(hidden, 2)
    wanted = [run.pk for run in sorted(made, key=lambda r: (r.requested_at, r.pk), reverse=True)]
    answer = reader.get("runs?limit=2")
    newest = answer.body["newer"]
    seen = [item["run_id"] for item in answer.body["items"]]
    while answer.body["next"]:
        answer = reader.get(answer.body["next"])
        seen += [item["run_id"] for item in answer.body["items"]]
    assert seen == wanted
    assert answer.body["older"] is None
    assert reader.get(f"runs?newer={newest}").body["items"] == []
    assert reader.get(f"runs?newer={newest}").body["newer"] == newest
    latest = run_of(cluster, 0)
    found = reader.get(f"runs?newer={newest}").body
    assert [item["run_id"] for item in found["items"]] == [latest.pk]
    assert found["newer"] != newest


def test_runs_are_filtered_as_in_the_history(reader: Program, cluster: Cluster) -> None:
    run_of(cluster, 10, http_status=409, error_code="CSS.3004", message="busy now")
    run_of(cluster, 20, state=RunState.SUCCEEDED, outcome=Outcome.ACCEPTED, trigger=Trigger.API)
    run_of(cluster, 60 * 24 * 40)
    for query, count in {
        "": 2,
        "window=all": 3,
        "state=rejected": 1,
        "state=rejected&state=succeeded": 2,
        "outcome=accepted": 1,
        "trigger=api": 1,
        "http_status=409": 1,
        "error_code=CSS.3004": 1,
        "cluster=orders": 2,
        "cluster=id-orders&window=all": 3,
        "group=done": 1,
        "user=anna": 2,
        "user=ben": 0,
        "q=busy": 1,
        "since=2020-01-01T00:00:00Z": 3,
        "until=2020-01-01T00:00:00Z": 0,
    }.items():
        assert len(names(reader.get(f"runs?{query}"))) == count, query
    assert reader.get("runs").body["window"] == "30d"


# --- what cannot be read


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("clusters?stat=ready", "stat"),
        ("clusters?readiness=fine", "readiness"),
        ("clusters?limit=0", "limit"),
        ("clusters?limit=201", "limit"),
        ("clusters?limit=x", "limit"),
        ("clusters?cursor=x", "cursor"),
        ("clusters?state=", "state"),
        ("clusters?sort=age", "sort"),
        ("clusters?project=99999999", "project"),
        ("clusters?older=x", "older"),
        ("runs?older=x", "older"),
        ("runs?newer=%00", "newer"),
        ("runs?older=MS0x&newer=MS0x", "newer"),
        ("runs?state=fine", "state"),
        ("runs?http_status=700", "http_status"),
        ("runs?since=yesterday", "since"),
        ("runs?since=2030-01-02T00:00:00Z&until=2030-01-01T00:00:00Z", "until"),
        ("runs?q=%00", "q"),
        ("protection?protection=never", "protection"),
        ("protection?page=1", "page"),
        ("token?x=1", "x"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_named(
    path: str, field: str, reader: Program, redis_url: str
) -> None:
    answer = reader.get(path)
    assert (answer.status, answer.kind) == (400, "invalid-request")
    assert [error["field"] for error in answer.body["errors"]] == [field]


# --- protection


def test_protection_counts_the_clusters_that_one_sees(
    reader: Program, project: Project, hidden: Cluster
) -> None:
    now = timezone.now()
    times = {"verified_at": now, "due_at": now + timedelta(hours=1)}
    cluster_in(project, "good", overdue_at=now + timedelta(hours=2), engine="OpenSearch", **times)
    cluster_in(project, "never")
    cluster_in(project, "gone", gone_at=now)
    body = reader.get("protection").body
    assert (body["protected"], body["total"]) == (1, 2)
    assert body["by_state"] == {"protected": 1, "due": 0, "overdue": 0, "never": 1}
    assert reader.get("protection?engine=opensearch").body["total"] == 1


# --- methods and the description


@pytest.mark.parametrize("path", ["exports", "runs", "protection", "token", "openapi.json"])
def test_what_can_be_read_only_says_so(path: str, reader: Program) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
        answer = reader.ask(method, path)
        assert (answer.status, answer.kind) == (405, "method-not-allowed"), method
        assert "GET" in answer.headers["Allow"]


def test_the_description_is_for_who_signed_in_or_has_a_token(reader: Program, anna: User) -> None:
    assert Program().get("openapi.json").status == 401
    assert Program("csslb_x").get("openapi.json").status == 401
    by_token = reader.get("openapi.json")
    visitor = Program()
    visitor.client.force_login(User.objects.create_user("nobody"))
    assert by_token.status == 200
    assert visitor.get("openapi.json").body == by_token.body


def test_the_description_names_every_address_filter_and_field(reader: Program) -> None:
    from backups.api.urls import urlpatterns

    described_paths = reader.get("openapi.json").body["paths"]
    addresses = {str(each.pattern).replace("<int:pk>", "{id}") for each in urlpatterns}
    addresses = {f"/api/{each}" for each in addresses if each and not each.endswith(".json")}
    assert set(described_paths) == addresses
    assert len(addresses) >= 35
    for path, filters in {"/api/v1/clusters": ClusterFilter, "/api/v1/runs": HistoryFilter}.items():
        parameters = {each["name"]: each for each in described_paths[path]["get"]["parameters"]}
        assert set(filters.base_filters) - {"page"} <= set(parameters)
        assert "limit" in parameters
    states = {each["name"]: each for each in described(HistoryFilter)}["state"]["schema"]
    assert states["items"]["enum"] == [str(state) for state in RunState]
    for operations in described_paths.values():
        for operation in operations.values():
            assert operation["security"] == [{"BearerToken": []}]
            assert operation["description"]


def test_no_page_of_the_api_loads_anything(reader: Program) -> None:
    for path in ("docs", "/api/docs", "/api/v1/docs", "/api/v1/"):
        assert reader.get(path).status == 404
