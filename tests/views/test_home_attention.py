"""What the home page says needs attention: who, in which order, with which next step."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backups.choices import AttentionCause, RunState
from backups.models import BackupRun, Cluster, Connection, Project
from backups.rules.causes import BAD_ENDS
from backups.services.attention import MOST_ROWS, Finding, needs_attention, with_findings
from backups.views.attention import attention_row
from backups.views.cluster_rows import NextStep
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from tests.grants import give
from tests.views.conftest import MakeCluster, MakeRun
from tests.views.page_text import home_part, page, words

HOUR = timedelta(hours=1)
MakeVerified = Callable[..., Cluster]


@pytest.fixture
def now() -> datetime:
    return timezone.now()


@pytest.fixture
def make_verified(make_cluster: MakeCluster, now: datetime) -> MakeVerified:
    """Makes a cluster that was verified some hours ago, with an objective of 24 h."""

    def make(name: str, hours: float, **columns: Any) -> Cluster:
        at = now - hours * HOUR
        deadlines = {"verified_at": at, "due_at": at + 18 * HOUR, "overdue_at": at + 24 * HOUR}
        return make_cluster(name, **({"readiness": "ready"} | deadlines | columns))

    return make


def findings(user: User, now: datetime) -> list[Finding]:
    """The clusters behind the causes, in the order of the page."""
    groups = with_findings(needs_attention(user, now).counts, now)
    return [finding for group in groups for finding in group.findings]


def needs(user: User, now: datetime) -> dict[str, AttentionCause]:
    return {f.cluster.name: f.cause for f in findings(user, now)}


def test_each_cause_is_found_and_the_worst_stands_first(
    anna: User,
    make_cluster: MakeCluster,
    make_verified: MakeVerified,
    make_run: MakeRun,
    now: datetime,
) -> None:
    make_verified("fine", 1)
    make_verified("due-and-ready", 20)
    make_cluster("never")
    make_verified("due-and-off", 20, readiness="backup_off")
    make_run(make_verified("failing", 2), state="failed", requested_at=now - HOUR)
    make_verified("overdue", 30)
    make_run(make_cluster("never-failing"), state="rejected", requested_at=now - HOUR)
    make_run(
        make_verified("overdue-failing", 25),
        state="rejected",
        outcome="conflict",
        requested_at=now - HOUR,
    )
    found = needs_attention(anna, now)
    assert [(each.cause, each.count, each.overdue, each.never) for each in found.counts] == [
        ("overdue", 1, 1, 0),
        ("conflict", 1, 1, 0),
        ("never", 1, 0, 1),
        ("malformed", 1, 0, 1),
        ("backup_off", 1, 0, 0),
        ("job_failed", 1, 0, 0),
    ]
    assert needs(anna, now) == {
        "overdue-failing": "conflict",
        "overdue": "overdue",
        "never-failing": "malformed",
        "never": "never",
        "due-and-off": "backup_off",
        "failing": "job_failed",
    }
    assert found.total == 6


def test_among_equals_the_one_whose_time_was_up_first_stands_first(
    anna: User, make_verified: MakeVerified, now: datetime
) -> None:
    for hours in (26, 90, 30):
        make_verified(f"overdue-{hours}", hours)
    assert list(needs(anna, now)) == ["overdue-90", "overdue-30", "overdue-26"]


@pytest.mark.parametrize("state", BAD_ENDS)
def test_a_bad_end_needs_attention_until_a_verified_one_follows(
    anna: User, make_verified: MakeVerified, make_run: MakeRun, now: datetime, state: RunState
) -> None:
    cluster = make_verified("orders", 2)
    bad = make_run(cluster, state=state, requested_at=now - HOUR)
    (finding,) = findings(anna, now)
    assert finding.run == bad
    if state is RunState.UNKNOWN:  # it holds the cluster until it has been settled
        BackupRun.objects.filter(pk=bad.pk).update(state=RunState.NOT_STARTED)
    make_run(cluster, state="cancelled", requested_at=now - HOUR / 2)
    assert set(needs(anna, now)) == {"orders"}
    make_run(cluster, state="queued", requested_at=now - HOUR / 3)
    assert set(needs(anna, now)) == {"orders"}
    make_run(cluster, state="succeeded", requested_at=now - HOUR / 4)
    assert needs(anna, now) == {}


def test_the_latest_bad_end_of_a_cluster_is_told_and_no_earlier_one(
    anna: User, make_verified: MakeVerified, make_run: MakeRun, now: datetime
) -> None:
    cluster = make_verified("orders", 2)
    make_run(cluster, state="rejected", requested_at=now - 2 * HOUR)
    latest = make_run(
        cluster, state="failed", requested_at=now - HOUR, finished_at=now - HOUR + HOUR / 60
    )
    (finding,) = findings(anna, now)
    assert finding.run == latest
    assert finding.since == latest.finished_at


@pytest.mark.parametrize("column", ["gone_at", "archived_at"])
def test_clusters_that_do_not_count_need_nobody(
    anna: User, make_cluster: MakeCluster, now: datetime, column: str
) -> None:
    make_cluster(**{column: now})
    assert needs_attention(anna, now).total == 0


@pytest.mark.parametrize(("seconds", "need"), [(-1, "overdue"), (0, "overdue"), (1, None)])
def test_a_cluster_is_overdue_from_its_very_deadline_on(
    anna: User, make_verified: MakeVerified, now: datetime, seconds: int, need: str | None
) -> None:
    make_verified("orders", 24, overdue_at=now + timedelta(seconds=seconds))
    assert needs(anna, now).get("orders") == need


@pytest.mark.parametrize(
    ("readiness", "need"),
    [
        ("backup_off", "backup_off"),
        ("storage_missing", "storage_missing"),
        ("unavailable", "unavailable"),
        ("busy", None),
        ("unknown", None),
        ("ready", None),
    ],
)
def test_what_is_due_needs_somebody_where_waiting_does_not_help(
    anna: User, make_verified: MakeVerified, now: datetime, readiness: str, need: str | None
) -> None:
    make_verified("due", 20, readiness=readiness)
    make_verified("fresh", 1, readiness=readiness)
    assert needs(anna, now) == ({"due": need} if need else {})


STEPS = [
    ({}, {}, NextStep.BACKUP),
    ({}, {"state": "failed", "outcome": "accepted"}, NextStep.BACKUP),
    ({}, {"state": "rejected", "outcome": "conflict"}, NextStep.BACKUP),
    ({}, {"state": "rejected", "outcome": "forbidden"}, NextStep.READ),
    ({}, {"state": "unknown", "outcome": "unanswered"}, NextStep.FOLLOW),
    ({"readiness": "backup_off"}, {}, NextStep.SETTINGS),
    ({"readiness": "storage_missing"}, {"state": "failed"}, NextStep.SETTINGS),
    ({"readiness": "unavailable"}, {}, NextStep.CLUSTER),
]


@pytest.mark.parametrize(("columns", "run", "step"), STEPS)
def test_each_row_offers_what_helps_next(
    anna: User,
    make_verified: MakeVerified,
    make_run: MakeRun,
    now: datetime,
    columns: dict[str, str],
    run: dict[str, str],
    step: NextStep,
) -> None:
    cluster = make_verified("overdue", 30, **columns)
    if run:
        make_run(cluster, requested_at=now - HOUR, **run)
    (finding,) = findings(anna, now)
    assert attention_row(finding, anna).step is step


def test_a_412_is_worth_another_try_once_a_later_check_finds_the_cluster_ready(
    anna: User, make_verified: MakeVerified, make_run: MakeRun, now: datetime
) -> None:
    cluster = make_verified("orders", 2, checked_at=now - 2 * HOUR)
    make_run(
        cluster,
        state="rejected",
        outcome="precondition_failed",
        requested_at=now - HOUR,
        finished_at=now - HOUR,
    )

    def step() -> NextStep:
        (finding,) = findings(anna, now)
        return attention_row(finding, anna).step

    assert step() is NextStep.READ
    Cluster.objects.update(checked_at=now)
    assert step() is NextStep.BACKUP


def test_while_a_new_backup_runs_the_row_leads_to_it(
    anna: User, make_verified: MakeVerified, make_run: MakeRun, now: datetime
) -> None:
    cluster = make_verified("overdue", 30)
    active = make_run(cluster)
    (finding,) = findings(anna, now)
    row = attention_row(finding, anna)
    assert (row.step, row.run) == (NextStep.FOLLOW, active)


def test_connections_that_fail_stand_first_and_disconnected_ones_are_silent(
    web: Client, project: Project, make_cluster: MakeCluster, now: datetime
) -> None:
    make_cluster("never")
    for cloud, error, gone in (("a", "HTTP <403>", None), ("b", "", None), ("c", "x", now)):
        Connection.objects.create(
            cloud=cloud, project=project, sync_error=error, disconnected_at=gone
        )
    text = web.get("/").content.decode()
    table = text[text.index('id="home-attention"') :]
    assert "HTTP &lt;403&gt;" in table
    assert table.count("Synchronisation fails") == 1
    assert table.index("Synchronisation fails") < table.index(">never<")
    assert 'href="/settings/connections/"' in table


def test_a_cause_shows_its_worst_clusters_and_leads_to_all(
    web: Client, anna: User, make_verified: MakeVerified, now: datetime
) -> None:
    for number in range(MOST_ROWS + 3):
        make_verified(f"overdue-{number:02d}", 30 + number)
    names = list(needs(anna, now))
    assert names == [f"overdue-{number:02d}" for number in range(MOST_ROWS + 2, 2, -1)]
    text = page(web, "/")
    cause = f"{MOST_ROWS + 3} \N{MULTIPLICATION SIGN} Overdue without a failure"
    assert cause in words(home_part(text, "attention"))
    assert 'href="/protection/?cause=overdue&amp;handled=no"' in text
    assert 'href="/batches/new/?cause=overdue&amp;handled=no&amp;work=backup"' in text
    listed = web.get("/protection/?cause=overdue&handled=no").context["rows"]
    assert len(listed) == MOST_ROWS + 3


def test_only_what_a_user_may_see_is_found(
    make_cluster: MakeCluster, project: Project, now: datetime
) -> None:
    other = Project.objects.create(cloud="otc", region="eu-nl", project_id="q" * 32, name="other")
    make_cluster("mine")
    make_cluster("theirs", project=other)
    for each in (project, other):
        Connection.objects.create(cloud=each.region, project=each, sync_error="no answer")
    ben = give(User.objects.create_user("ben"), Role.VIEWER, project=project)
    found = needs_attention(ben, now)
    (finding,) = findings(ben, now)
    assert finding.cluster.name == "mine"
    assert [c.project for c in found.connections] == [project]
    assert found.total == 2
    assert not attention_row(finding, ben).may_run
    assert needs_attention(User.objects.create_user("nobody"), now).total == 0


def test_the_number_of_queries_is_the_same_for_a_thousand_clusters(
    anna: User,
    project: Project,
    make_verified: MakeVerified,
    make_run: MakeRun,
    now: datetime,
) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            rows = [attention_row(finding, anna) for finding in findings(anna, now)]
        assert rows
        return len(queries)

    make_run(make_verified("first", 30), state="failed", requested_at=now - HOUR)
    needs_attention(anna, now)  # the roles are read once
    few = cost()
    clusters = Cluster.objects.bulk_create(
        Cluster(project=project, cluster_id=f"many-{n}", name=f"many-{n}") for n in range(1000)
    )
    BackupRun.objects.bulk_create(
        BackupRun(cluster=each, project=project, state="failed", requested_at=now - HOUR)
        for each in clusters
    )
    assert cost() == few


def test_a_cached_count_never_shows_a_cluster_that_has_recovered(
    anna: User, make_verified: MakeVerified, now: datetime, settings: Any
) -> None:
    settings.CACHES = {
        **settings.CACHES,
        "process": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    }
    cluster = make_verified("orders", 30)
    assert needs(anna, now) == {"orders": "overdue"}
    Cluster.objects.update(verified_at=now, due_at=now + HOUR, overdue_at=now + HOUR)
    assert findings(anna, now) == []
    assert needs_attention(anna, now).total == 1  # kept
    assert cluster.pk


def test_the_protection_page_has_the_same_order_and_the_same_steps(
    web: Client,
    anna: User,
    make_cluster: MakeCluster,
    make_verified: MakeVerified,
    make_run: MakeRun,
    now: datetime,
) -> None:
    make_cluster("never")
    make_verified("off", 30, readiness="backup_off")
    make_run(
        make_verified("refused", 40),
        state="rejected",
        outcome="forbidden",
        requested_at=now - HOUR,
    )
    make_run(make_verified("failing", 2), state="failed", requested_at=now - HOUR)
    home = [attention_row(f, anna) for f in findings(anna, now)]
    shown = web.get("/protection/")
    listed = [(row.cluster.name, step) for row, step, *_ in shown.context["rows"]]
    assert [(row.finding.cluster.name, row.step) for row in home] == listed
    assert listed == [
        ("refused", NextStep.READ),
        ("off", NextStep.SETTINGS),
        ("never", NextStep.BACKUP),
        ("failing", NextStep.BACKUP),
    ]
