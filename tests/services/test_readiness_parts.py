"""A check whose parts fail keeps what is known; of two checks the later counts."""

from __future__ import annotations

from datetime import timedelta

import pytest
import yaml
from django.utils import timezone

from backups.choices import Outcome, Readiness, RunState
from backups.css_api.types import LogSettingsInfo
from backups.models import BackupRun, Cluster
from backups.models import LogSettings as StoredSettings
from backups.services.clusters import readiness

R, S = Readiness, RunState


def checked(cluster: Cluster) -> Cluster:
    readiness.check_cluster(cluster.pk)
    cluster.refresh_from_db()
    return cluster


def test_a_cluster_whose_settings_fail_keeps_the_last_answer_with_its_age(make_cluster, cloud):
    cluster = checked(make_cluster())
    answered = cluster.checked_at
    cloud.fault("status", cluster.cluster_id, endpoint="settings", preset="error_500")
    checked(cluster)
    assert cluster.readiness == R.READY
    assert cluster.readiness_detail == "Available, and log backup is on."
    assert cluster.checked_at == answered
    assert "Log backup settings: HTTP 500" in cluster.check_error
    cloud.clear_faults(cluster.cluster_id)
    checked(cluster)
    assert cluster.checked_at > answered
    assert cluster.check_error == ""


def test_a_reason_that_is_sure_is_told_although_another_part_failed(make_cluster, cloud):
    busy, off = checked(make_cluster()), checked(make_cluster())
    cloud.change_cluster(busy.cluster_id, actions=["GROWING"])
    cloud.fault("status", busy.cluster_id, endpoint="settings", preset="unavailable")
    assert checked(busy).readiness == R.BUSY
    cloud.change_cluster(off.cluster_id, log_backup=False)
    cloud.fault("status", off.cluster_id, endpoint="detail", preset="bad_gateway")
    assert checked(off).readiness == R.BACKUP_OFF
    assert "Cluster: HTTP 502" in off.check_error
    assert off.status == "200", "what was known of it stays"


def test_unreadable_records_leave_the_readiness_known(make_cluster, cloud):
    cluster = make_cluster()
    cloud.fault("status", cluster.cluster_id, endpoint="records", preset="forbidden")
    checked(cluster)
    assert cluster.readiness == R.READY
    assert "Records: HTTP 403 CSS.0010" in cluster.check_error


@pytest.mark.parametrize("body_kind", ["html", "not_json", "wrong_shape", "invalid_utf8", "empty"])
@pytest.mark.parametrize("endpoint", ["detail", "settings", "records"])
def test_an_answer_that_cannot_be_used_fails_its_part_only(
    make_cluster, cloud, endpoint, body_kind
):
    cluster = make_cluster()
    cloud.fault("status", cluster.cluster_id, endpoint=endpoint, status=200, body_kind=body_kind)
    checked(cluster)
    assert "unusable answer" in cluster.check_error
    assert cluster.readiness == (R.READY if endpoint == "records" else R.UNKNOWN)
    assert {"detail", "settings", "records"} == {
        entry.endpoint for entry in cloud.ledger(cluster=cluster.cluster_id)
    }


def test_a_cluster_that_was_never_read_says_why(make_cluster, cloud):
    cluster = make_cluster()
    cloud.fault("status", cluster.cluster_id, endpoint="detail", preset="forbidden")
    checked(cluster)
    assert (cluster.readiness, cluster.checked_at) == (R.UNKNOWN, None)
    assert "CSS.0010" in cluster.check_error


def test_after_no_answer_nothing_more_is_asked(make_cluster, cloud):
    cluster = checked(make_cluster())
    answered = cluster.checked_at
    seen = len(cloud.ledger(cluster=cluster.cluster_id))
    cloud.fault("reset_before", cluster.cluster_id, endpoint="detail")
    checked(cluster)
    assert len(cloud.ledger(cluster=cluster.cluster_id)) == seen + 1
    assert (cluster.readiness, cluster.checked_at) == (R.READY, answered)
    assert cluster.check_error


def test_a_cloud_that_cannot_be_reached_leaves_the_last_answer(
    make_cluster, cloud, tmp_path, monkeypatch
):
    cluster = checked(make_cluster())
    answered = cluster.checked_at
    elsewhere = yaml.safe_load((tmp_path / "clouds.yaml").read_text())
    elsewhere["clouds"]["demo"] |= {
        "css_endpoint_override": f"http://127.0.0.1:9/v1.0/{cluster.project.project_id}"
    }
    (tmp_path / "clouds.yaml").write_text(yaml.safe_dump(elsewhere))
    checked(cluster)
    assert (cluster.readiness, cluster.checked_at) == (R.READY, answered)
    assert "127.0.0.1:9" in cluster.check_error


def test_credentials_that_lead_to_another_project_are_told(make_cluster):
    cluster = make_cluster()
    cluster.project.project_id = "another"
    cluster.project.save()
    checked(cluster)
    assert cluster.checked_at is None
    assert "now reaches project" in cluster.check_error


# --- of two checks the later counts


def test_a_check_that_began_earlier_does_not_replace_a_newer_answer(make_cluster, cloud):
    cluster = make_cluster(log_backup=False)
    cluster = Cluster.objects.select_related("project").get(pk=cluster.pk)
    slow = readiness._read(cluster, [])
    began = timezone.now()
    cloud.change_cluster(cluster.cluster_id, log_backup=True)
    checked(cluster)
    readiness._store(cluster, slow, began - timedelta(seconds=1), [])
    cluster.refresh_from_db()
    assert cluster.readiness == R.READY
    assert cluster.log_settings.enabled


def test_settings_are_kept_unless_newer_ones_are_there(make_cluster):
    cluster, now = make_cluster(), timezone.now()
    on = LogSettingsInfo(enabled=True, bucket="new", agency="a", auto_enabled=True, period="00:00")
    readiness.store_settings(cluster, on, now)
    readiness.store_settings(cluster, LogSettingsInfo(enabled=False), now - timedelta(seconds=5))
    stored = StoredSettings.objects.get(cluster=cluster)
    assert (stored.enabled, stored.bucket, stored.automatic) == (True, "new", True)
    assert readiness.store_settings(cluster, LogSettingsInfo(enabled=False)).enabled is False
    assert StoredSettings.objects.count() == 1


def test_settings_say_since_when_they_are_as_they_are(make_cluster):
    cluster, now = make_cluster(), timezone.now()
    on = LogSettingsInfo(enabled=True, bucket="b", agency="a")
    told = readiness.store_settings(cluster, on, now)
    assert told.changed_at is None, "it was never seen otherwise"
    again = readiness.store_settings(cluster, on, now + timedelta(seconds=1))
    assert (again.changed_at, again.read_at) == (None, now + timedelta(seconds=1))
    other = LogSettingsInfo(enabled=True, bucket="other", agency="a")
    later = now + timedelta(seconds=2)
    assert readiness.store_settings(cluster, other, later).changed_at == later
    readiness.store_settings(cluster, other, later + timedelta(seconds=1))
    assert cluster.log_settings.changed_at == later


def test_a_refusal_by_the_identity_service_is_not_taken_for_one_by_the_cluster(
    make_cluster, make_run
):
    cluster = make_cluster()
    run = make_run(cluster)
    BackupRun.objects.filter(pk=run.pk).update(state=S.REJECTED, outcome=Outcome.FORBIDDEN)
    assert checked(cluster).readiness == R.READY
