"""Backups are verified while somebody changes the objective: the deadlines are the new ones."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from backups.models import Cluster, Project
from backups.services.clusters import protection
from dashboard.audit.trail import Actor
from tests.services.cloud_jobs import at_once

ANNA = Actor("anna")
HOUR = timedelta(hours=1)


@pytest.fixture
def cluster(project: Project) -> Cluster:
    return Cluster.objects.create(project=project, cluster_id="c-1", name="orders")


@pytest.mark.django_db(transaction=True)
def test_backups_that_are_verified_while_the_objective_changes_get_the_new_deadlines(
    cluster, project
):
    began = timezone.now()

    def back_up(numbers: range) -> None:
        for number in numbers:
            protection.verified(cluster.pk, began + number * timedelta(microseconds=1))

    def change_the_objective() -> None:
        for hours in range(2, 32):
            protection.set_objective(Project.objects.get(pk=project.pk), hours, ANNA)

    at_once(
        [lambda: back_up(range(0, 60, 2)), lambda: back_up(range(1, 60, 2)), change_the_objective]
    )
    cluster.refresh_from_db()
    assert cluster.verified_at == began + timedelta(microseconds=59)
    assert cluster.overdue_at == cluster.verified_at + 31 * HOUR
    assert cluster.due_at == cluster.verified_at + 31 * HOUR * protection.DUE_SHARE


@pytest.mark.django_db(transaction=True)
def test_a_backup_that_waited_for_a_change_of_the_objective_gets_the_new_deadlines(
    cluster, project, monkeypatch
):
    protection.verified(cluster.pk, timezone.now() - HOUR)
    asked, seen = threading.Event(), protection._objective

    def told(cluster_id: int) -> int:
        hours = seen(cluster_id)
        asked.set()
        return hours

    def verify() -> None:
        try:
            protection.verified(cluster.pk, timezone.now())
        finally:
            connection.close()

    backup = threading.Thread(target=verify)
    with transaction.atomic():
        protection.set_objective(project, 2, ANNA)
        monkeypatch.setattr(protection, "_objective", told)
        backup.start()
        assert asked.wait(20), "it has read the old objective"
    backup.join()
    cluster.refresh_from_db()
    assert cluster.overdue_at - cluster.verified_at == 2 * HOUR
