"""A check reads a cluster's detail, settings and records, and keeps what they tell."""

from __future__ import annotations

import json

import pytest
from django.utils import timezone

from backups.choices import Readiness, RunState
from backups.models import BackupRun, Cluster
from backups.services.clusters import readiness
from backups.services.runs import sending

R, S = Readiness, RunState


def checked(cluster: Cluster) -> Cluster:
    readiness.check_cluster(cluster.pk)
    cluster.refresh_from_db()
    return cluster


def look(cluster: Cluster) -> tuple[str, str]:
    return cluster.readiness, cluster.readiness_detail


def settings_body(**fields: object) -> str:
    configuration = {"obsBucket": "b", "agency": "a", "basePath": "p", "logSwitch": True}
    return json.dumps({"logConfiguration": {**configuration, **fields}})


def test_a_healthy_cluster_is_ready_and_its_facts_and_settings_are_kept(make_cluster):
    cluster = make_cluster(nodes=2)
    before = timezone.now()
    checked(cluster)
    assert look(cluster) == (R.READY, "Available, and log backup is on.")
    assert before <= cluster.checked_at <= timezone.now()
    assert cluster.check_error == ""
    assert (cluster.status, cluster.actions, len(cluster.nodes)) == ("200", [], 2)
    assert cluster.nodes[0]["status"] == "200"
    assert cluster.endpoint.endswith(":9200")
    settings = cluster.log_settings
    assert (settings.enabled, settings.bucket) == (True, "simulated-log-bucket")
    assert (settings.agency, settings.automatic) == ("css_obs_agency", False)
    assert settings.base_path.startswith("css/log/")


STATES = {
    "off": ({"log_backup": False}, R.BACKUP_OFF, "switched off"),
    "never configured": ({"log_backup": None}, R.BACKUP_OFF, "switched off"),
    "creating": (
        {"status": "100", "actions": ["CREATING"], "node_status": "100"},
        R.UNAVAILABLE,
        "being created",
    ),
    "failed": (
        {"status": "303", "failed_code": "CSS.6000", "failed_message": "Failed to create."},
        R.UNAVAILABLE,
        "CSS.6000 Failed to create.",
    ),
    "busy": ({"actions": ["GROWING"]}, R.BUSY, "being scaled out"),
    "a node is set up": ({"node_status": "100"}, R.BUSY, "being set up"),
    "an unknown status": ({"status": "950"}, R.UNKNOWN, "“950”"),
    "no node": ({"nodes": 0}, R.UNKNOWN, "no node"),
}


@pytest.mark.parametrize("case", STATES)
def test_each_state_of_the_cloud_is_told_as_what_it_is(make_cluster, case):
    fields, expected, words = STATES[case]
    cluster = checked(make_cluster(**fields))
    assert cluster.readiness == expected
    assert words in cluster.readiness_detail
    assert cluster.checked_at
    assert cluster.check_error == ""


@pytest.mark.parametrize("missing", ["obsBucket", "agency"])
def test_settings_without_bucket_or_agency_are_told(make_cluster, cloud, missing):
    cluster = make_cluster()
    body = settings_body(**{missing: ""})
    cloud.fault("status", cluster.cluster_id, endpoint="settings", status=200, body=body)
    assert checked(cluster).readiness == R.STORAGE_MISSING


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("precondition", R.BACKUP_OFF),
        ("bucket", R.STORAGE_MISSING),
        ("frozen", R.UNAVAILABLE),
        ("backup_running", R.BUSY),
    ],
)
def test_an_answer_to_the_reading_of_the_settings_may_tell_too(
    make_cluster, cloud, preset, expected
):
    cluster = make_cluster()
    cloud.fault("status", cluster.cluster_id, endpoint="settings", preset=preset)
    assert checked(cluster).readiness == expected
    assert "Log backup settings: HTTP" in cluster.check_error


@pytest.mark.parametrize("job_type", ["Auto", "Manual"])
def test_a_running_log_backup_makes_the_cluster_busy_until_it_ends(make_cluster, cloud, job_type):
    cluster = make_cluster()
    cloud.start_job(cluster.cluster_id, job_type)
    checked(cluster)
    assert cluster.readiness == R.BUSY
    assert ("scheduled" in cluster.readiness_detail) == (job_type == "Auto")
    cloud.end_jobs(cluster.cluster_id)
    assert checked(cluster).readiness == R.READY


# --- what the last request was refused for


def refused(make_run, cloud, cluster: Cluster, **fault: object) -> BackupRun:
    run = make_run(cluster)
    cloud.fault("status", cluster.cluster_id, times=1, **fault)
    sending.send_run(run.pk)
    run.refresh_from_db()
    assert run.state == S.REJECTED
    return run


def test_a_bucket_that_only_the_request_found_missing_counts_until_the_settings_change(
    make_cluster, make_run, cloud
):
    cluster = checked(make_cluster())
    run = refused(make_run, cloud, cluster, preset="bucket")
    checked(cluster)
    assert cluster.readiness == R.STORAGE_MISSING
    assert f"run {run.pk}" in cluster.readiness_detail
    body = settings_body(obsBucket="another-bucket")
    cloud.fault("status", cluster.cluster_id, endpoint="settings", status=200, body=body)
    assert checked(cluster).readiness == R.READY
    assert checked(cluster).readiness == R.READY


def test_a_refusal_counts_until_a_request_is_accepted(make_cluster, make_run, cloud):
    cluster = make_cluster()
    refused(make_run, cloud, cluster, preset="frozen")
    assert checked(cluster).readiness == R.UNAVAILABLE
    run = make_run(cluster)
    sending.send_run(run.pk)
    cloud.end_jobs(cluster.cluster_id)
    assert checked(cluster).readiness == R.READY


def test_a_user_who_may_read_and_not_back_up_is_told(make_cluster, make_run, cloud):
    cluster = make_cluster()
    refused(make_run, cloud, cluster, preset="forbidden")
    checked(cluster)
    assert cluster.readiness == R.UNKNOWN
    assert "not authorised" in cluster.readiness_detail
    assert cluster.checked_at, "it is an answer, and not a failed check"


def test_a_passing_conflict_of_the_past_does_not_count(make_cluster, make_run, cloud):
    cluster = make_cluster()
    refused(make_run, cloud, cluster, preset="busy")
    assert checked(cluster).readiness == R.READY


# --- gone


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_cluster_that_the_cloud_does_not_know_is_not_available(make_cluster, cloud, by_hand):
    cluster = make_cluster()
    Cluster.objects.filter(pk=cluster.pk).update(by_hand=by_hand)
    cloud.remove_cluster(cluster.cluster_id)
    checked(cluster)
    assert look(cluster) == (R.UNAVAILABLE, "Not found in the cloud.")
    assert "CSS.0015" in cluster.check_error
    assert bool(cluster.gone_at) == by_hand, "the list decides for those that are not by hand"
    asked = {entry.endpoint for entry in cloud.ledger(cluster=cluster.cluster_id)}
    assert asked == {"detail"}


def test_a_cluster_registered_by_hand_that_comes_back_is_no_longer_gone(make_cluster):
    cluster = make_cluster()
    Cluster.objects.filter(pk=cluster.pk).update(by_hand=True, gone_at=timezone.now())
    assert checked(cluster).gone_at is None


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 404, "body_kind": "html"},
        {"status": 404, "body": '{"error_code":"APIGW.0101","error_msg":"no such API"}'},
    ],
)
def test_a_404_of_a_proxy_or_gateway_does_not_make_a_cluster_gone(make_cluster, cloud, fault):
    cluster = make_cluster()
    Cluster.objects.filter(pk=cluster.pk).update(by_hand=True)
    cloud.fault("status", cluster.cluster_id, endpoint="detail", **fault)
    checked(cluster)
    assert cluster.readiness == R.UNKNOWN
    assert cluster.gone_at is None
    assert cluster.check_error


# --- what may not be seen


def test_a_cluster_that_the_list_shows_and_the_detail_denies_is_not_gone(cloud, db):
    from backups.services.connections.sync import sync_clusters

    cluster_id = cloud.add_cluster("denied")
    sync_clusters()
    cluster = Cluster.objects.get(cluster_id=cluster_id)
    cloud.fault("status", cluster_id, endpoint="detail", preset="vanished")
    checked(cluster)
    assert cluster.readiness == R.UNKNOWN
    assert "Ask whoever manages IAM" in cluster.readiness_detail
    assert cluster.gone_at is None
    assert cluster.checked_at
    for endpoint in ("settings", "records"):
        cloud.fault("status", cluster_id, endpoint=endpoint, preset="vanished")
    checked(cluster)
    assert "Ask whoever manages IAM" in cluster.readiness_detail
    cloud.clear_faults(cluster_id)
    cloud.remove_cluster(cluster_id)
    sync_clusters()
    checked(cluster)
    assert cluster.gone_at is not None


def test_what_is_known_of_a_denied_cluster_still_counts(cloud, db):
    from backups.services.connections.sync import sync_clusters

    cluster_id = cloud.add_cluster("denied", log_backup=False)
    sync_clusters()
    cloud.fault("status", cluster_id, endpoint="detail", preset="vanished")
    cluster = Cluster.objects.get(cluster_id=cluster_id)
    assert checked(cluster).readiness == R.BACKUP_OFF


@pytest.mark.parametrize("fault", [None, {"status": 400, "body": '{"errCode":"CSS.5090"}'}])
def test_records_that_are_denied_while_log_backup_is_off_are_no_error(make_cluster, cloud, fault):
    cluster = make_cluster(log_backup=None if fault is None else False)
    if fault:
        cloud.fault("status", cluster.cluster_id, endpoint="records", **fault)
    checked(cluster)
    assert (cluster.readiness, cluster.check_error) == (R.BACKUP_OFF, "")


def test_records_that_fail_otherwise_are_an_error(make_cluster, cloud):
    off = make_cluster(log_backup=False)
    cloud.fault("status", off.cluster_id, endpoint="records", preset="unavailable")
    assert "Records" in checked(off).check_error
    on = make_cluster()
    cloud.fault("status", on.cluster_id, endpoint="records", preset="not_allowed")
    assert "Records" in checked(on).check_error
