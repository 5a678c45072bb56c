"""The two projects of tests/access, with more of what pages can show."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from backups.choices import ACTIVE, Outcome, Protection, Readiness, RunState, Trigger
from backups.models import ApiCall, BackupRun, Cluster, Project, RunEvent
from tests.access.conftest import World, plain_static_files, world

__all__ = ["crowded", "plain_static_files", "world"]

OUTCOMES = {
    RunState.REJECTED: [each for each in Outcome if each],
    RunState.UNKNOWN: [Outcome.UNANSWERED],
    RunState.SUCCEEDED: [Outcome.ACCEPTED],
    RunState.FAILED: [Outcome.ACCEPTED],
    RunState.UNVERIFIED: [Outcome.ACCEPTED],
    RunState.ACCEPTED: [Outcome.ACCEPTED],
}
OVERDUE_SINCE = {Protection.PROTECTED: 1, Protection.DUE: 20, Protection.OVERDUE: 30}  # hours


@pytest.fixture
def crowded(world: World) -> World:
    """The world with a run in every state and of every outcome, and clusters of every kind."""
    project = world.own["project"]
    assert isinstance(project, Project)
    for state in RunState:
        for outcome in OUTCOMES.get(state, [Outcome.NONE]):
            _run(_cluster(project, f"id-{state}-{outcome}"), state, outcome)
    for readiness in Readiness:
        _cluster(project, f"id-{readiness}", readiness=readiness)
    now = timezone.now()
    for protection, hours in OVERDUE_SINCE.items():
        verified = now - timedelta(hours=hours)
        _cluster(
            project,
            f"id-{protection}",
            verified_at=verified,
            due_at=verified + timedelta(hours=18),
            overdue_at=verified + timedelta(hours=24),
        )
    _cluster(project, "id-gone", gone_at=now)
    _cluster(project, "id-archived", archived_at=now)
    return world


def _cluster(project: Project, cloud_id: str, **columns: object) -> Cluster:
    values = {"name": f"name-{cloud_id}", "engine": "OpenSearch", "status": "200"}
    return Cluster.objects.create(project=project, cluster_id=cloud_id, **values | columns)


def _run(cluster: Cluster, state: RunState, outcome: Outcome) -> BackupRun:
    project, now = cluster.project, timezone.now()
    asked = outcome is not Outcome.NONE
    run = BackupRun.objects.create(
        cluster=cluster,
        project=project,
        cluster_cloud_id=cluster.cluster_id,
        cluster_name=cluster.name,
        cloud=project.cloud,
        region=project.region,
        project_id_in_cloud=project.project_id,
        project_name=project.name,
        requested_by_name="ben",
        trigger=Trigger.BUTTON,
        reason="before the upgrade",
        state=state,
        outcome=outcome,
        attempt=int(asked),
        sent_at=now if asked else None,
        answered_at=now if asked else None,
        finished_at=None if state in ACTIVE else now,
    )
    RunEvent.objects.create(run=run, to_state=RunState.QUEUED, actor="ben", note="Noted before")
    if asked:
        ApiCall.objects.create(
            run=run, attempt=1, purpose="collect", method="POST", path="/logs", started_at=now
        )
    return run
