"""The end of a run may say something about its cluster, which is then checked at once."""

from __future__ import annotations

import pytest

from backups.choices import Readiness
from backups.models import BackupRun
from backups.services.clusters import checks, readiness
from backups.services.runs import following, sending


def ended(run: BackupRun) -> BackupRun:
    sending.send_run(run.pk)
    run.refresh_from_db()
    assert run.is_terminal
    return run


@pytest.mark.parametrize("preset", ["precondition", "busy", "bucket", "vanished", "forbidden"])
def test_a_refusal_that_tells_of_readiness_has_the_cluster_checked_at_once(
    make_cluster, make_run, cloud, preset
):
    cluster = make_cluster()
    readiness.check_cluster(cluster.pk)
    assert checks.claim() == []
    cloud.fault("status", cluster.cluster_id, preset=preset)
    ended(make_run(cluster))
    assert checks.claim() == [cluster.pk]


def test_a_refusal_that_tells_nothing_of_it_does_not(make_cluster, make_run, cloud):
    cluster = make_cluster()
    readiness.check_cluster(cluster.pk)
    cloud.fault("status", cluster.cluster_id, preset="parameters")
    ended(make_run(cluster))
    assert checks.claim() == []


def test_a_cluster_that_was_busy_with_the_run_is_checked_when_that_has_ended(
    make_cluster, make_run, cloud
):
    cluster = make_cluster()
    run = make_run(cluster)
    sending.send_run(run.pk)
    readiness.check_cluster(cluster.pk)
    cluster.refresh_from_db()
    assert cluster.readiness == Readiness.BUSY
    cloud.end_jobs(cluster.cluster_id)
    following.follow_run(run.pk)
    assert checks.claim() == [cluster.pk]
    readiness.check_cluster(cluster.pk)
    cluster.refresh_from_db()
    assert cluster.readiness == Readiness.READY


def test_from_a_412_to_the_words_on_the_cluster(make_cluster, make_run, cloud):
    cluster = make_cluster()
    readiness.check_cluster(cluster.pk)
    cloud.change_cluster(cluster.cluster_id, log_backup=False)
    ended(make_run(cluster))
    (pk,) = checks.claim()
    readiness.check_cluster(pk)
    cluster.refresh_from_db()
    assert cluster.readiness == Readiness.BACKUP_OFF
