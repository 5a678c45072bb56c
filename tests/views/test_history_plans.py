"""Every filter of the history, and the usual pairs, is read in its order by an index."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.http import QueryDict
from django.utils import timezone

from backups.choices import Outcome, RunState, Trigger
from backups.lists.history import RUN_KEYSET, Group, HistoryFilter, Runs
from backups.models import BackupRun, Cluster, ClusterTag, Project
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.db.keyset import Cursor, PageQuery
from tests.grants import give

POSTGRES = connection.vendor == "postgresql"
FILTERS = [
    "",
    "window=all",
    "since=2026-01-01T00:00&until=2026-02-01T00:00",
    *(f"state={state}" for state in RunState),
    *(f"group={group}" for group in Group),
    *(f"outcome={outcome}" for outcome in Outcome if outcome),
    "http_status=412",
    "http_status=412&http_status=409",
    "error_code=CSS.5301",
    *(f"trigger={trigger}" for trigger in Trigger),
    "user=user-3",
    "cluster=many-003",
    "project={project}",
    "label=team%3Dsearch",
    "cluster=many-003&state=failed",
    "project={project}&state=failed",
    "outcome=conflict&trigger=api",
    "user=user-3&group=attention",
    "error_code=CSS.5301&user=user-3",
    "state=failed&state=rejected&trigger=api",
]


@pytest.fixture
def many(db: None) -> Project:
    """Enough runs that an index is worth its while, skewed as in use."""
    project = Project.objects.create(cloud="otc", region="eu-de", project_id="p", name="shop")
    other = Project.objects.create(cloud="otc", region="eu-de", project_id="q", name="bank")
    clusters = Cluster.objects.bulk_create(
        Cluster(project=(project, other)[n % 2], cluster_id=f"c{n}", name=f"many-{n:03}")
        for n in range(40)
    )
    ClusterTag.objects.create(cluster=clusters[3], origin="own", key="team", value="search")
    states = [RunState.SUCCEEDED] * 17 + [RunState.FAILED, RunState.REJECTED, RunState.NOT_STARTED]
    now = timezone.now()
    BackupRun.objects.bulk_create(
        BackupRun(
            cluster=clusters[n % 40],
            project=clusters[n % 40].project,
            state=states[n % 20],
            outcome=list(Outcome)[n % 5],
            http_status=(200, 200, 409, 412)[n % 4],
            error_code=("", "", "", "CSS.5301")[n % 4],
            trigger=list(Trigger)[n % 6],
            requested_by_name=f"user-{n % 50}",
            request_id=f"{n:032x}",
            requested_at=now - timedelta(minutes=n),
            finished_at=now,
        )
        for n in range(6000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return project


def plans(runs: Runs) -> str:
    """How the database would read the keys of a page."""
    keys = runs.values_list("requested_at", "pk")[:51]
    if not POSTGRES:
        return keys.explain()
    with connection.cursor() as cursor:
        # a table of this size is read whole sooner; what counts is that there is a way without
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
    return keys.explain()


def assert_by_index(plan: str, where: str) -> None:
    table = "backups_backuprun"
    if POSTGRES:
        assert not re.search(rf"Seq Scan on {table}|Sort Key", plan), f"{where}:\n{plan}"
        assert re.search(rf"Index (Only )?Scan (Backward )?using \w+ on {table}", plan), plan
    else:
        assert "USE TEMP B-TREE FOR ORDER BY" not in plan, f"{where}:\n{plan}"
        reads = [line for line in plan.splitlines() if table in line]
        assert reads, plan
        assert all(re.search(r"USING (COVERING )?INDEX", line) for line in reads), plan


def test_every_filter_is_read_by_an_index_in_its_order(many: Project) -> None:
    anna = give(User.objects.create_user("anna"), Role.VIEWER)
    middle = Cursor(timezone.now() - timedelta(minutes=3000), 3000)
    pages = (
        PageQuery(),
        PageQuery(older=middle),
        PageQuery(newer=middle),
        PageQuery(oldest=True),
    )
    for query in FILTERS:
        query = query.format(project=many.pk)
        found = HistoryFilter(QueryDict(query), user=anna)
        assert found.is_valid(), f"{query}: {found.form.errors}"
        for branch in found.branches():
            for page in pages:
                assert_by_index(plans(RUN_KEYSET.select(branch, page)), f"{query} {page}")


@pytest.mark.parametrize("projects", [1, 2])
def test_who_sees_some_projects_only_reads_by_an_index_too(many: Project, projects: int) -> None:
    anna = User.objects.create_user("anna")
    for project in Project.objects.order_by("pk")[:projects]:
        give(anna, Role.VIEWER, project=project)
    for query in ("", "state=failed", "user=user-3", "group=attention"):
        found = HistoryFilter(QueryDict(query), user=User.objects.get(pk=anna.pk))
        assert found.is_valid()
        for branch in found.branches():
            assert_by_index(plans(RUN_KEYSET.select(branch, PageQuery())), query)


def test_a_text_is_looked_for_where_there_is_an_index(many: Project) -> None:
    anna = give(User.objects.create_user("anna"), Role.VIEWER)
    found = HistoryFilter(QueryDict("q=many-003&window=all"), user=anna)
    assert found.is_valid()
    request_id, _said, *of_clusters = found.branches()
    with connection.cursor() as cursor:
        if POSTGRES:
            cursor.execute("SET LOCAL enable_seqscan = off")
    assert "run_by_request_id" in request_id.order_by("-requested_at", "-pk")[:51].explain()
    assert len(of_clusters) == 1
    assert_by_index(plans(RUN_KEYSET.select(of_clusters[0], PageQuery())), "cluster")
