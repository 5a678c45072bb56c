"""Of two who change a cluster's log backup settings, one does; and what a crash leaves."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from backups.css_api.types import LogStorage
from backups.models import Cluster
from backups.models import LogSettings as StoredSettings
from backups.services import log_settings
from backups.services.log_settings import Change, ChangeOutcome, Decision, decide
from dashboard.audit.models import AuditEvent
from simulator.client import SimulatorControl
from tests.services.conftest import MakeCluster
from tests.services.log_decisions import (
    ANNA,
    STORAGE,
    WANTED,
    actions,
    called,
    details,
    stored,
    wanted,
)

pytestmark = pytest.mark.django_db


def test_settings_that_somebody_else_changed_meanwhile_are_not_overwritten(
    make_cluster: MakeCluster, cloud: SimulatorControl
) -> None:
    cluster = make_cluster(log_backup=False)
    decision = wanted(cluster, Change.ENABLE)
    theirs = LogStorage("their-bucket", "css/log", "their_agency")
    decide(cluster, wanted(cluster, Change.ENABLE, storage=theirs), ANNA)
    count = AuditEvent.objects.count()
    assert decide(cluster, decision, ANNA).ending is ChangeOutcome.STALE
    assert stored(cluster).bucket == "their-bucket"
    assert called(cloud, Change.ENABLE) == 1
    assert AuditEvent.objects.count() == count


def test_a_change_in_the_console_is_found_before_ours_is_sent(
    make_cluster: MakeCluster, cloud: SimulatorControl
) -> None:
    cluster = make_cluster()
    decision = wanted(cluster, Change.CHANGE)
    cloud.change_cluster(cluster.cluster_id, log_backup=False)
    assert decide(cluster, decision, ANNA).ending is ChangeOutcome.STALE
    assert stored(cluster).enabled is False
    assert called(cloud, Change.CHANGE) == 0


def test_settings_that_were_never_read_fit_no_form(
    make_cluster: MakeCluster, cloud: SimulatorControl
) -> None:
    decision = Decision(Change.ENABLE, STORAGE, seen="0" * 32)
    assert decide(make_cluster(log_backup=False), decision, ANNA).ending is ChangeOutcome.STALE
    assert not cloud.ledger(endpoint="settings") + cloud.ledger(endpoint="open")


def test_while_a_change_is_under_way_another_is_not_sent(
    make_cluster: MakeCluster, cloud: SimulatorControl
) -> None:
    cluster = make_cluster(log_backup=False)
    decision = wanted(cluster, Change.ENABLE)
    rows = StoredSettings.objects.filter(cluster=cluster)
    rows.update(changing_until=timezone.now() + timedelta(seconds=60))
    assert decide(cluster, decision, ANNA).ending is ChangeOutcome.OCCUPIED
    assert called(cloud, Change.ENABLE) == 0
    # a process that died with it in hand holds nobody up for longer
    rows.update(changing_until=timezone.now() - timedelta(seconds=1))
    assert decide(cluster, decision, ANNA).ending is ChangeOutcome.DONE
    assert stored(cluster).changing_until is None


@pytest.mark.django_db(transaction=True)
def test_a_form_that_is_sent_many_times_at_once_becomes_one_call(
    make_cluster: MakeCluster, cloud: SimulatorControl
) -> None:
    cluster = make_cluster(log_backup=False)
    decision = wanted(cluster, Change.ENABLE)
    together = threading.Barrier(5)

    def send(_: int) -> ChangeOutcome:
        try:
            together.wait(10)
            return decide(Cluster.objects.get(pk=cluster.pk), decision, ANNA).ending
        finally:
            connection.close()

    with ThreadPoolExecutor(5) as pool:
        endings = list(pool.map(send, range(5)))
    assert endings.count(ChangeOutcome.DONE) == 1
    assert set(endings) <= {ChangeOutcome.DONE, ChangeOutcome.OCCUPIED, ChangeOutcome.STALE}
    assert called(cloud, Change.ENABLE) == 1
    assert actions() == ["log_change_requested", "log_backup_enabled"]
    assert stored(cluster).changing_until is None


@pytest.mark.django_db(transaction=True)
def test_the_decision_is_committed_before_the_cloud_is_asked(
    make_cluster: MakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = make_cluster(log_backup=False)
    decision = wanted(cluster, Change.ENABLE)

    def die(*_: object) -> None:
        raise SystemExit

    monkeypatch.setattr(log_settings, "_call", die)
    with pytest.raises(SystemExit):
        decide(cluster, decision, ANNA)
    assert actions() == ["log_change_requested"]
    assert details()["wanted"] == {"change": "enable", **WANTED}
