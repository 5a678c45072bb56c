"""Each run that ends gets into the audit trail's chain, and stays provable there."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from backups.choices import RunState, Trigger
from backups.models import ApiCall, BackupRun, Cluster, Project, RunEvent, RunSeal, SealBatch
from backups.services.runs import sealing, seals
from backups.services.runs.transitions import transition
from dashboard.audit import merkle
from dashboard.audit.models import AuditEvent

pytestmark = pytest.mark.django_db
OLD = timezone.now() - timedelta(days=40)


@pytest.fixture
def project(db: None) -> Project:
    return Project.objects.create(cloud="otc", region="eu-de", project_id="p", name="shop")


def ended(project: Project, number: int = 1, **columns: Any) -> BackupRun:
    """A run as the services end it, with a finished and an open call."""
    cluster = Cluster.objects.create(project=project, cluster_id=f"c{number}", name="orders")
    columns = {"requested_by_name": "anna", "source_ip": "192.0.2.7", **columns}
    run = BackupRun.objects.create(
        cluster=cluster,
        project=project,
        cluster_cloud_id=cluster.cluster_id,
        cluster_name=cluster.name,
        trigger=Trigger.BUTTON,
        requested_at=OLD,
        state=RunState.ACCEPTED,
        **columns,
    )
    RunEvent.objects.create(run=run, to_state="queued", actor="anna")
    call = {"run": run, "attempt": 1, "method": "POST", "path": "/", "started_at": OLD}
    headers = {"User-Agent": "größer", "Accept": "*"}
    ApiCall.objects.create(
        purpose="collect", finished_at=OLD, retry_after=0.1, request_headers=headers, **call
    )
    ApiCall.objects.create(purpose="records", **call)
    assert transition(
        run, RunState.SUCCEEDED, actor="worker", job_id=f"j{number}", job_finished_at=OLD
    )
    return run


def test_an_end_leaves_a_pending_seal_which_becomes_a_leaf(project: Project) -> None:
    runs = [ended(project, number) for number in range(1, 4)]
    assert RunSeal.objects.filter(batch=None).count() == 3
    assert sealing.seal_pending() == 3
    assert sealing.seal_pending() == 0
    batch = SealBatch.objects.get()
    event = AuditEvent.objects.get(sequence=batch.event)
    assert event.details == {"root": batch.root, "runs": [run.pk for run in runs]}
    leaves = [merkle.leaf_hash(sealing.leaf_of(seal)) for seal in batch.seals.order_by("place")]
    assert merkle.root_of(leaves) == batch.root
    seal = RunSeal.objects.get(run_id=runs[0].pk)
    assert (seal.kind, seal.altered) == ("end", "")
    facts = json.loads(seal.facts)
    assert (facts["state"], facts["job_id"]) == ("succeeded", "j1")
    assert seal.digest == seals.read([runs[0].pk])[runs[0].pk].digest
