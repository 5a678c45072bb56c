"""Log backup settings against the simulator: called once, read back, kept, audited."""

from __future__ import annotations

import json

import pytest

from backups.choices import Readiness
from backups.css_api.types import LogStorage
from backups.models import Cluster
from backups.services.clusters.readiness import check_cluster
from backups.services.log_settings import (
    Change,
    ChangeOutcome,
    ChangeResult,
    Decision,
    decide,
    fingerprint,
)
from dashboard.audit.models import AuditEvent
from simulator.client import SimulatorControl
from tests.services.conftest import MakeCluster
from tests.services.log_decisions import (
    ANNA,
    CHANGES,
    NIGHTLY,
    WANTED,
    actions,
    called,
    details,
    fitting,
    last_event,
    stored,
    wanted,
)

pytestmark = pytest.mark.django_db
every_change = pytest.mark.parametrize("change", CHANGES)


# --- Done ----------------------------------------------------------------------------------------


def test_enabling_is_read_back_kept_and_audited(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(log_backup=False)
    decision = wanted(cluster, Change.ENABLE, reason="audit of May")
    assert decide(cluster, decision, ANNA).ending is ChangeOutcome.DONE
    row = stored(cluster)
    assert row.enabled
    assert {"bucket": row.bucket, "base_path": row.base_path, "agency": row.agency} == WANTED
    asked, event = AuditEvent.objects.order_by("sequence")
    assert (asked.action, event.action) == ("log_change_requested", "log_backup_enabled")
    for each in (asked, event):
        assert (each.actor_name, each.ip, each.reason) == ("anna", "10.1.2.3", "audit of May")
        assert (each.target_label, each.project_id) == (str(cluster), cluster.project_id)
        assert each.before is not None
        assert each.before["enabled"] is False
        assert each.details is not None
        assert each.details["wanted"] == {"change": "enable", **WANTED}
    assert event.after == {**WANTED, "enabled": True, "automatic": False, "period": ""}
    assert (details()["result"], details()["http_status"]) == ("done", 200)
    assert details()["cloud_request_id"]
    assert details()["requested_in"] == asked.sequence


def test_a_change_has_the_readiness_checked(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(log_backup=False)
    check_cluster(cluster.pk)
    cluster.refresh_from_db()
    assert cluster.readiness == Readiness.BACKUP_OFF
    assert cluster.check_due_at is not None
    due = cluster.check_due_at
    decide(cluster, wanted(cluster, Change.ENABLE), ANNA)
    cluster.refresh_from_db()
    assert cluster.check_due_at is not None
    assert cluster.check_due_at < due
    check_cluster(cluster.pk)
    cluster.refresh_from_db()
    assert cluster.readiness == Readiness.READY


def test_every_change_and_the_way_back(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    other = LogStorage("other-bucket", "logs", "other_agency")
    changed = decide(cluster, wanted(cluster, Change.CHANGE, storage=other), ANNA)
    assert changed.ending is ChangeOutcome.DONE
    assert stored(cluster).bucket == "other-bucket"
    assert decide(cluster, wanted(cluster, Change.SET_POLICY), ANNA).ending is ChangeOutcome.DONE
    assert (stored(cluster).automatic, stored(cluster).period) == (True, NIGHTLY)
    assert decide(cluster, wanted(cluster, Change.STOP_POLICY), ANNA).ending is ChangeOutcome.DONE
    assert stored(cluster).automatic is False
    assert decide(cluster, wanted(cluster, Change.DISABLE), ANNA).ending is ChangeOutcome.DONE
    assert stored(cluster).enabled is False
    assert actions()[1::2] == [
        "log_backup_changed",
        "log_policy_changed",
        "log_policy_disabled",
        "log_backup_disabled",
    ]
    assert set(actions()[::2]) == {"log_change_requested"}


def test_a_daily_backup_that_went_with_another_change_is_noticed(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster()
    decide(cluster, wanted(cluster, Change.SET_POLICY), ANNA)
    result = decide(cluster, wanted(cluster, Change.CHANGE), ANNA)
    assert (result.ending, result.ended_policy) == (ChangeOutcome.DONE, True)
    assert stored(cluster).automatic is False
    event = last_event()
    assert event.before is not None
    assert event.after is not None
    assert (event.before["automatic"], event.after["automatic"]) == (True, False)
    switched_off = decide(cluster, wanted(cluster, Change.DISABLE), ANNA)
    assert switched_off.ended_policy is False


# --- Not done ------------------------------------------------------------------------------------


def failed(cluster: Cluster, decision: Decision, ending: ChangeOutcome) -> ChangeResult:
    """Decide, and expect a failure that is on record."""
    result = decide(cluster, decision, ANNA)
    assert result.ending is ending
    assert last_event().action == "log_change_failed"
    assert details()["result"] == ending.value
    return result


@every_change
@pytest.mark.parametrize(
    ("preset", "status", "code"),
    [
        ("parameters", 400, "CSS.0001"),
        ("bucket", 400, "CSS.0048"),
        ("not_allowed", 400, "CSS.5090"),
        ("forbidden", 403, "CSS.0010"),
        ("vanished", 403, "CSS.0015"),
        ("busy", 409, "CSS.0011"),
        ("accepted_busy", 202, "CSS.0011"),
        ("precondition", 412, "CSS.0004"),
        ("throttled", 429, "APIGW.0308"),
    ],
)
def test_a_refusal_is_told_with_its_code_and_audited_and_not_repeated(
    make_cluster: MakeCluster,
    cloud: SimulatorControl,
    change: Change,
    preset: str,
    status: int,
    code: str,
) -> None:
    cluster = fitting(make_cluster, change)
    decision, before = wanted(cluster, change), called(cloud, change)
    cloud.fault("status", endpoint=CHANGES[change][2], preset=preset, times=1)
    result = failed(cluster, decision, ChangeOutcome.REFUSED)
    assert code in result.why
    assert result.has_changed is False
    assert called(cloud, change) == before + 1
    event = last_event()
    assert event.before == event.after
    assert (details()["http_status"], details()["error_code"]) == (status, code)
    assert result.answer is not None
    assert details()["cloud_request_id"] == result.answer.request_id


def test_what_does_not_fit_the_switch_is_refused_by_the_cloud(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(log_backup=False)
    for change in (Change.CHANGE, Change.DISABLE, Change.SET_POLICY, Change.STOP_POLICY):
        assert "CSS.0004" in failed(cluster, wanted(cluster, change), ChangeOutcome.REFUSED).why


@pytest.mark.parametrize("fault", ["reset_after", "error_after"])
@every_change
def test_a_change_without_an_answer_is_not_repeated_and_is_settled_by_reading(
    make_cluster: MakeCluster, cloud: SimulatorControl, change: Change, fault: str
) -> None:
    cluster = fitting(make_cluster, change)
    decision, before = wanted(cluster, change), called(cloud, change)
    cloud.fault(fault, endpoint=CHANGES[change][2])
    result = decide(cluster, decision, ANNA)
    assert (result.ending, result.has_changed) == (ChangeOutcome.DONE, True)
    assert called(cloud, change) == before + 1
    assert result.now is not None
    assert fingerprint(stored(cluster)) == fingerprint(result.now)
    assert details()["result"] == "done"
    assert details()["why"]


@pytest.mark.parametrize(
    "fault",
    [{"kind": "reset_before"}, {"kind": "status", "preset": "gateway_timeout"},
     {"kind": "status", "preset": "internal"}, {"kind": "status", "preset": "html_200"}],
    ids=str,
)  # fmt: skip
@every_change
def test_a_change_that_never_arrived_is_not_known_to_be_done_nor_repeated(
    make_cluster: MakeCluster, cloud: SimulatorControl, change: Change, fault: dict[str, str]
) -> None:
    cluster = fitting(make_cluster, change)
    decision, before = wanted(cluster, change), called(cloud, change)
    cloud.fault(endpoint=CHANGES[change][2], **fault)
    result = failed(cluster, decision, ChangeOutcome.UNKNOWN)
    assert (result.has_changed, called(cloud, change)) == (False, before + 1)
    assert fingerprint(stored(cluster)) == decision.seen


def test_what_cannot_be_read_back_is_not_called_done(
    make_cluster: MakeCluster, cloud: SimulatorControl
) -> None:
    cluster = make_cluster(log_backup=None)
    decision = wanted(cluster, Change.ENABLE)
    # read once as they are, and not again
    off = {"logConfiguration": None, "realTimeLogCollectRecord": None}
    cloud.fault("status", endpoint="settings", status=200, body=json.dumps(off), times=1)
    cloud.fault("status", endpoint="settings", preset="unavailable")
    result = decide(cluster, decision, ANNA)
    assert (result.ending, result.now, result.has_changed) == (ChangeOutcome.ACCEPTED, None, None)
    assert (last_event().action, last_event().after) == ("log_backup_enabled", None)
    assert details()["result"] == "accepted"
    assert stored(cluster).enabled is False


def test_settings_that_cannot_be_read_are_not_changed(
    make_cluster: MakeCluster, cloud: SimulatorControl
) -> None:
    cluster = make_cluster(log_backup=False)
    decision = wanted(cluster, Change.ENABLE)
    cloud.fault("status", endpoint="settings", preset="unavailable")
    result = failed(cluster, decision, ChangeOutcome.NOT_SENT)
    assert (result.before, called(cloud, Change.ENABLE)) == (None, 0)
    assert (details()["http_status"], details()["error_code"]) == (503, "APIGW.0613")
    assert actions() == ["log_change_failed"]


def test_a_cloud_whose_entry_is_gone_is_asked_nothing(
    make_cluster: MakeCluster, cloud: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = make_cluster(log_backup=False)
    decision = wanted(cluster, Change.ENABLE)
    cluster.project.cloud = "elsewhere"
    assert "elsewhere" in failed(cluster, decision, ChangeOutcome.NOT_SENT).why
    assert not called(cloud, Change.ENABLE)
