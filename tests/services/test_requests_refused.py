"""What cannot be backed up at all: `request_backup` itself refuses it, whoever asks."""

from __future__ import annotations

import pytest
from django.utils import timezone, translation

from backups.choices import Readiness, RunState, Trigger
from backups.models import BackupRun, Cluster, Connection, Project
from backups.services.clusters import checks, readiness
from backups.services.connections import manage
from backups.services.runs.requests import CannotBackUp, Requester, request_backup
from backups.services.runs.transitions import transition
from dashboard.audit.trail import Actor
from tests.language import pseudo

ASKER = Requester("anna", Trigger.BUTTON)


@pytest.fixture
def cluster(make_cluster) -> Cluster:
    made = make_cluster()
    Cluster.objects.filter(pk=made.pk).update(readiness=Readiness.READY)
    return made


@pytest.fixture
def entry(cluster) -> Connection:
    where = cluster.project
    return Connection.objects.create(cloud=where.cloud, region=where.region, project=where)


@pytest.mark.parametrize("column", ["archived_at", "gone_at"])
def test_archived_and_gone_clusters_are_refused_however_old_the_callers_copy_is(cluster, column):
    Cluster.objects.filter(pk=cluster.pk).update(**{column: timezone.now()})
    with pytest.raises(CannotBackUp):
        request_backup(cluster, ASKER)
    assert not BackupRun.objects.exists()


def test_clusters_of_a_disconnected_cloud_are_refused_until_it_is_connected(cluster, entry):
    manage.disconnect(entry, Actor("anna"))
    with pytest.raises(CannotBackUp, match="disconnected"):
        request_backup(cluster, ASKER)
    manage.connect(entry.cloud, entry.region, Actor("anna"))
    assert request_backup(cluster, ASKER).created


def test_a_request_that_was_made_already_is_answered_with_its_run(cluster):
    first = request_backup(cluster, ASKER, idempotency_key="form-1").run
    transition(first, RunState.CANCELLED, actor="anna", note="no more")
    Cluster.objects.filter(pk=cluster.pk).update(archived_at=timezone.now())
    assert request_backup(cluster, ASKER, idempotency_key="form-1").run == first


def test_clusters_of_a_disconnected_cloud_are_not_ready(cluster, entry):
    manage.disconnect(entry, Actor("anna"))
    cluster.refresh_from_db()
    assert (cluster.readiness, cluster.readiness_detail) == (
        Readiness.UNKNOWN,
        "The connection is disconnected: the cluster is not checked.",
    )


def test_a_check_of_a_disconnected_cloud_asks_nobody_and_changes_nothing(cluster, entry):
    manage.disconnect(entry, Actor("anna"))
    checks.request_check(cluster.pk)
    readiness.check_cluster(cluster.pk)
    cluster.refresh_from_db()
    assert (cluster.readiness, cluster.check_error) == (Readiness.UNKNOWN, "")


def test_a_cloud_that_is_connected_again_has_its_clusters_checked_at_once(cluster, entry):
    manage.disconnect(entry, Actor("anna"))
    manage.connect(entry.cloud, entry.region, Actor("anna"))
    cluster.refresh_from_db()
    assert cluster.check_due_at == checks.ASKED_FOR


def test_what_leaving_clouds_yaml_stores_is_english_in_every_language(
    cluster, monkeypatch, settings
):
    pseudo.install(monkeypatch, settings)
    left = Project.objects.create(cloud="left", region="", project_id="p")
    row = Connection.objects.create(cloud="left", region="", project=left)
    gone = Cluster.objects.create(project=left, cluster_id="id", name="orders")
    with translation.override(pseudo.CODE):
        manage.disconnect(row, Actor("anna"))
    gone.refresh_from_db()
    assert gone.gone_at is not None
    assert gone.readiness_detail == "Gone from the cloud."
