"""Gauges say what the database says, and their labels stay few."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from backups import gauges
from backups.choices import ConnectionFault, RunState
from backups.models import BackupRun, Cluster, Connection, Project, RunSeal
from dashboard.audit.models import Verification
from tests.services.conftest import MakeCluster, MakeRun

pytestmark = pytest.mark.django_db


def values(collect: object, name: str) -> dict[tuple[str, ...], float]:
    """The samples of a gauge by the values of its labels."""
    (family,) = (each for each in collect() if each.name == f"css_backup_{name}")  # type: ignore[operator]
    return {tuple(each.labels.values()): each.value for each in family.samples}


def test_runs_by_state_and_the_oldest_that_waits(make_run: MakeRun) -> None:
    first, second = make_run(), make_run()
    now = timezone.now()
    BackupRun.objects.filter(pk=first.pk).update(
        requested_at=now - timedelta(hours=1), not_before=now + timedelta(hours=1)
    )
    BackupRun.objects.filter(pk=second.pk).update(not_before=now - timedelta(minutes=2))
    assert values(gauges.runs, "runs_active")["queued",] == 2
    assert values(gauges.runs, "queued_run_oldest_age_seconds")[()] == pytest.approx(3600, abs=60)
    # the first waits on purpose
    assert values(gauges.runs, "queued_run_longest_due_seconds")[()] == pytest.approx(120, abs=60)


def test_runs_of_the_last_day_by_what_became_of_them(make_run: MakeRun) -> None:
    for code, hours in (("CSS.0004", 1), ("X.1", 2), ("X.2", 3), ("CSS.0004", 25)):
        BackupRun.objects.filter(pk=make_run().pk).update(
            state=RunState.REJECTED,
            outcome="precondition_failed",
            error_code=code,
            requested_at=timezone.now() - timedelta(hours=hours),
        )
    found = values(gauges.runs, "runs_last_day")
    key = ("rejected", "precondition_failed")
    assert found[*key, "CSS.0004", "button"] == 1
    assert found[*key, "other", "button"] == 2


def test_clusters_by_project_and_protection_agree_with_the_rows(
    make_cluster: MakeCluster, project: Project
) -> None:
    now, clusters = timezone.now(), [make_cluster() for _ in range(4)]
    for cluster, due, overdue in zip(clusters, (1, -1, -2), (2, 1, -1), strict=False):
        Cluster.objects.filter(pk=cluster.pk).update(
            verified_at=now - timedelta(days=3),
            due_at=now + timedelta(hours=due),
            overdue_at=now + timedelta(hours=overdue),
        )
    found = values(gauges.clusters, "clusters")
    kinds = ("protected", "due", "overdue", "never")
    assert [found[str(project), kind] for kind in kinds] == [1, 1, 1, 1]
    Cluster.objects.filter(pk=clusters[3].pk).update(archived_at=now)
    assert values(gauges.clusters, "clusters")[str(project), "never"] == 0


def test_projects_beyond_the_first_are_one_label(
    make_cluster: MakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gauges, "MOST_PROJECTS", 1)
    mine = make_cluster()
    for number in range(3):
        other = Project.objects.create(cloud="otc", region="r", project_id=str(number), name="n")
        Cluster.objects.create(project=other, cluster_id=f"c-{number}", name="c")
    found = values(gauges.clusters, "clusters")
    assert found["other", "never"] == 3
    assert {project for project, _ in found} == {"other", str(mine.project)}


def test_connections_that_fail_by_fault(project: Project) -> None:
    for region, error, fault in (
        ("a", "", ConnectionFault.NONE),
        ("b", "no such host", ConnectionFault.DNS),
        ("c", "of an older version", ConnectionFault.NONE),
    ):
        Connection.objects.create(cloud="x", region=region, sync_error=error, sync_fault=fault)
    assert values(gauges.connections, "connections")[()] == 3
    assert values(gauges.connections, "connections_failing") == {("dns",): 1, ("other",): 1}


def test_without_a_worker_none_is_alive_and_work_does_not_flow() -> None:
    assert values(gauges.work_flow, "workers_alive")[()] == 0
    assert values(gauges.work_flow, "work_trouble")["worker",] == 1
    assert values(gauges.work_flow, "sweep_age_seconds") == {}


def test_pending_seals_and_the_last_verification() -> None:
    assert values(gauges.evidence, "seals_pending")[()] == 0
    assert values(gauges.evidence, "audit_intact") == {}
    now = timezone.now()
    RunSeal.objects.create(run_id=1, facts="{}", made_at=now - timedelta(minutes=10))
    Verification.objects.create(
        result="broken",
        requested_at=now,
        finished_at=now - timedelta(hours=1),
        guards_missing="a_trigger",
    )
    assert values(gauges.evidence, "seal_pending_oldest_age_seconds")[()] == pytest.approx(600, 0.1)
    assert values(gauges.evidence, "audit_intact")[()] == 0
    assert values(gauges.evidence, "audit_guards_intact")[()] == 0
    assert values(gauges.evidence, "audit_verification_age_seconds")[()] == pytest.approx(3600, 0.1)
