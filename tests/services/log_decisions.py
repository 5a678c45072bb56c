"""Decisions about log backup settings, for the tests of this folder, and what is left of them."""

from __future__ import annotations

from typing import Any

from backups.css_api.types import LogStorage
from backups.models import Cluster
from backups.models import LogSettings as StoredSettings
from backups.services.log_settings import (
    Change,
    ChangeOutcome,
    Decision,
    decide,
    fingerprint,
    read_settings,
)
from dashboard.audit.models import AuditEvent
from dashboard.audit.trail import Actor
from simulator.client import SimulatorControl
from tests.services.conftest import MakeCluster

STORAGE = LogStorage("my-bucket", "css/log", "css_obs_agency")
WANTED = {"bucket": "my-bucket", "base_path": "css/log", "agency": "css_obs_agency"}
NIGHTLY = "03:00 GMT+02:00"
ANNA = Actor("anna", ip="10.1.2.3")

# For each change: what it needs, whether log backup is on before, and the endpoint that it calls.
CHANGES: dict[Change, tuple[dict[str, Any], bool, str]] = {
    Change.ENABLE: ({"storage": STORAGE}, False, "open"),
    Change.CHANGE: ({"storage": STORAGE}, True, "settings_update"),
    Change.DISABLE: ({}, True, "close"),
    Change.SET_POLICY: ({"period": NIGHTLY}, True, "policy_update"),
    Change.STOP_POLICY: ({}, True, "policy_close"),
}


def wanted(cluster: Cluster, change: Change, **more: Any) -> Decision:
    seen = fingerprint(read_settings(cluster))
    return Decision(change, seen=seen, **{**CHANGES[change][0], **more})


def fitting(make_cluster: MakeCluster, change: Change) -> Cluster:
    """A cluster on which a change can be made, and does something."""
    cluster = make_cluster(log_backup=CHANGES[change][1])
    if change is Change.STOP_POLICY:
        assert (
            decide(cluster, wanted(cluster, Change.SET_POLICY), ANNA).ending is ChangeOutcome.DONE
        )
    return cluster


def stored(cluster: Cluster) -> StoredSettings:
    return StoredSettings.objects.get(cluster=cluster)


def last_event() -> AuditEvent:
    event = AuditEvent.objects.order_by("sequence").last()
    assert event is not None
    return event


def details() -> dict[str, Any]:
    """Of the last event."""
    found = last_event().details
    assert found is not None
    return found


def actions() -> list[str]:
    return list(AuditEvent.objects.order_by("sequence").values_list("action", flat=True))


def called(cloud: SimulatorControl, change: Change) -> int:
    return len(cloud.ledger(endpoint=CHANGES[change][2]))
