"""What each answer of the cloud makes of a run."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from backups.choices import Outcome, RunState, Trigger
from backups.models import BackupRun, Cluster, Project, Ticker
from backups.services.runs import following, sending
from backups.services.runs.requests import Requester, request_backup
from tests.audit_guards import guards_lifted

S, O = RunState, Outcome  # noqa: E741


def sent(run: BackupRun) -> BackupRun:
    sending.send_run(run.pk)
    run.refresh_from_db()
    return run


def collects(cloud, run):
    return cloud.ledger(endpoint="collect", cluster=run.cluster_cloud_id)


def test_an_accepted_run_is_accepted_not_succeeded(make_run, cloud):
    run = sent(make_run())
    assert (run.state, run.outcome, run.http_status) == (S.ACCEPTED, O.ACCEPTED, 200)
    assert run.finished_at is None
    assert not run.ended_well
    (call,) = run.api_calls.filter(purpose="collect")
    assert (call.method, call.status, call.sent) == ("POST", 200, True)
    assert call.path.endswith(f"/clusters/{run.cluster_cloud_id}/logs/collect")
    assert run.request_id == call.request_id != ""


ANSWERS = [
    ({"preset": "not_allowed"}, S.REJECTED, O.INVALID_REQUEST, 400, "CSS.5090"),
    ({"status": 401}, S.REJECTED, O.UNAUTHENTICATED, 401, ""),
    ({"status": 403}, S.REJECTED, O.FORBIDDEN, 403, ""),
    ({"status": 404}, S.REJECTED, O.NOT_FOUND, 404, ""),
    ({"status": 409}, S.REJECTED, O.CONFLICT, 409, ""),
    ({"status": 412}, S.REJECTED, O.PRECONDITION_FAILED, 412, ""),
    ({"status": 500}, S.UNKNOWN, O.SERVER_ERROR, 500, ""),
    ({"status": 502}, S.UNKNOWN, O.SERVER_ERROR, 502, ""),
    ({"status": 504}, S.UNKNOWN, O.SERVER_ERROR, 504, ""),
    ({"status": 503}, S.QUEUED, O.SERVER_ERROR, 503, ""),
    ({"status": 429}, S.QUEUED, O.THROTTLED, 429, ""),
    ({"status": 302}, S.REJECTED, O.MALFORMED, 302, ""),
    ({"status": 200, "body_kind": "html"}, S.UNKNOWN, O.MALFORMED, 200, ""),
    ({"status": 200, "body_kind": "not_json"}, S.UNKNOWN, O.MALFORMED, 200, ""),
    ({"status": 200, "body_kind": "huge"}, S.UNKNOWN, O.MALFORMED, 200, ""),
    ({"status": 412, "body_kind": "html"}, S.REJECTED, O.PRECONDITION_FAILED, 412, ""),
    ({"status": 400, "body_kind": "empty"}, S.REJECTED, O.INVALID_REQUEST, 400, ""),
    (
        {"status": 202, "body": '{"errCode":"CSS.0011","externalMessage":"busy"}'},
        S.REJECTED,
        O.CONFLICT,
        202,
        "CSS.0011",
    ),
    (
        {"status": 200, "body": '{"errCode":"CSS.7777","externalMessage":"what?"}'},
        S.UNKNOWN,
        O.MALFORMED,
        200,
        "CSS.7777",
    ),
]


@pytest.mark.parametrize(("fault", "state", "outcome", "status", "code"), ANSWERS)
def test_each_answer_is_told_as_what_it_is(make_run, cloud, fault, state, outcome, status, code):
    run = make_run()
    cloud.fault("status", run.cluster_cloud_id, **fault)
    run = sent(run)
    assert (run.state, run.outcome) == (state, outcome)
    assert (run.http_status, run.error_code) == (status, code)


def test_a_hostile_message_is_kept_as_text(make_run, cloud):
    run = make_run()
    body = '{"errCode":"CSS.0001","externalMessage":"<script>alert(1)</script>"}'
    cloud.fault("status", run.cluster_cloud_id, status=400, body=body)
    assert "<script>alert(1)</script>" in sent(run).message


def test_401_renews_the_token_once_and_only_once(make_run, cloud):
    run = make_run()
    cloud.fault("status", run.cluster_cloud_id, status=401)
    run = sent(run)
    assert [entry.status for entry in collects(cloud, run)] == [401, 401]
    assert run.api_calls.filter(purpose="collect").count() == 2


def test_an_expired_token_costs_one_more_call_and_no_failure(make_run, cloud):
    run = make_run()
    cloud.expire_tokens()
    assert sent(run).state == S.ACCEPTED


def test_a_reset_after_sending_leaves_the_outcome_unknown(make_run, cloud):
    run = make_run()
    cloud.fault("reset_after", run.cluster_cloud_id)
    run = sent(run)
    assert (run.state, run.outcome, run.http_status) == (S.UNKNOWN, O.UNANSWERED, None)
    following.follow_run(run.pk)
    run.refresh_from_db()
    assert run.state == S.ACCEPTED, "the record shows that it had been taken"


def test_a_400_that_breaks_off_leaves_the_outcome_unknown(make_run, cloud):
    """Its code is CSS.0036 here: the job was started, and nobody can read that it may have been."""
    run = make_run()
    cloud.fault("error_after", run.cluster_cloud_id, preset="internal")
    cloud.fault("truncated", run.cluster_cloud_id)
    run = sent(run)
    assert (run.state, run.outcome, run.http_status) == (S.UNKNOWN, O.MALFORMED, 400)
    following.follow_run(run.pk)
    run.refresh_from_db()
    assert run.state == S.ACCEPTED, "the record shows that it had been taken"


def test_a_read_timeout_leaves_the_outcome_unknown(make_run, cloud, settings):
    settings.CSS_READ_TIMEOUT = 0.5
    run = make_run()
    cloud.fault("hang_before", run.cluster_cloud_id)
    run = sent(run)
    assert (run.state, run.outcome) == (S.UNKNOWN, O.UNANSWERED)


def test_a_refused_connection_is_tried_again_and_then_given_up(make_run, cloud, settings):
    settings.BACKUP_MAX_ATTEMPTS = 3
    run = make_run()
    clouds_yaml = Path(os.environ["OS_CLIENT_CONFIG_FILE"])
    entry = "    css_endpoint_override: http://127.0.0.1:1/v1.0\n"
    text = clouds_yaml.read_text()
    clouds_yaml.write_text(text.replace("    region_name:", entry + "    region_name:", 1))
    states = []
    for _ in range(3):
        BackupRun.objects.filter(pk=run.pk).update(not_before=timezone.now())
        run = sent(run)
        states.append(run.state)
    assert states == [S.QUEUED, S.QUEUED, S.REJECTED]
    assert run.outcome == O.UNREACHABLE
    assert run.attempt == 3
    assert not any(run.api_calls.values_list("sent", flat=True))
    assert not collects(cloud, run)


def test_retry_after_is_honoured_and_visible(make_run, cloud):
    run = make_run()
    cloud.fault("status", run.cluster_cloud_id, status=429, headers={"Retry-After": "120"})
    before = timezone.now()
    run = sent(run)
    assert run.not_before >= before + timedelta(seconds=120)
    assert "tried again (2 of 5)" in run.note
    sending.send_run(run.pk)
    assert len(collects(cloud, run)) == 1, "not before its time"


def test_a_retry_after_beyond_all_bounds_ends_the_run(make_run, cloud):
    run = make_run()
    cloud.fault("status", run.cluster_cloud_id, status=429, headers={"Retry-After": "999999"})
    assert sent(run).state == S.REJECTED
    assert "longer than the 3600 s" in run.events.last().note


def test_a_run_that_is_not_tried_again_says_why(make_run, cloud, settings):
    settings.BACKUP_MAX_ATTEMPTS = 1
    run = make_run()
    cloud.fault("status", run.cluster_cloud_id, status=429)
    assert sent(run).state == S.REJECTED
    assert run.events.last().note == "Not tried again: that was attempt 1 of 1."


def test_what_was_told_the_same_retry_after_does_not_come_back_at_once(make_run, cloud, settings):
    settings.BACKUP_RETRY_BASE = 20
    runs = [make_run() for _ in range(4)]
    for run in runs:
        cloud.fault("status", run.cluster_cloud_id, status=429, headers={"Retry-After": "60"})
    asked = timezone.now()
    waits = sorted((sent(run).not_before - asked).total_seconds() for run in runs)
    assert waits[0] >= 60
    assert waits[-1] - waits[0] > 1


def test_a_message_delivered_twice_sends_once(make_run, cloud):
    run = make_run()
    for _ in range(3):
        sending.send_run(run.pk)
    assert len(collects(cloud, run)) == 1


def test_a_run_that_was_taken_over_sends_nothing(make_run, cloud):
    run = sending.claim(make_run().pk)
    assert run is not None
    BackupRun.objects.filter(pk=run.pk).update(attempt=run.attempt + 1)
    from backups.services.runs.call_log import ClaimLost

    with pytest.raises(ClaimLost):
        sending.ask_cloud(run)
    assert not collects(cloud, run)


def test_a_late_answer_still_counts_after_the_run_was_taken_over(make_run, cloud):
    from backups.services.runs.sweeping import take_over

    run = sending.claim(make_run().pk)
    assert run is not None
    cloud.fault("status", run.cluster_cloud_id, status=412)
    overtaken = BackupRun.objects.get(pk=run.pk)
    answer = sending.ask_cloud(run)
    overtaken.refresh_from_db()
    with guards_lifted():  # as if the answer had not been stored yet
        overtaken.api_calls.all().delete()
    assert take_over(overtaken, why="test")
    assert BackupRun.objects.get(pk=run.pk).state == S.UNKNOWN
    assert sending.apply_result(run, answer, actor="test")
    run.refresh_from_db()
    assert (run.state, run.outcome) == (S.REJECTED, O.PRECONDITION_FAILED)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("Auto", "automatic schedule"), ("Manual", "outside this dashboard")],
)
def test_a_conflict_says_who_holds_the_cluster(make_run, cloud, kind, expected):
    run = make_run()
    cloud.start_job(run.cluster_cloud_id, kind)
    run = sent(run)
    assert (run.state, run.outcome) == (S.REJECTED, O.CONFLICT)
    assert expected in run.conflict_holder


def test_a_conflict_links_to_our_own_run(make_cluster, make_run, operator, cloud):
    cluster = make_cluster()
    first = sent(make_run(cluster))
    following.follow_run(first.pk)
    # The run was given up by us while the cloud's job still runs.
    BackupRun.objects.filter(pk=first.pk).update(state=S.UNVERIFIED)
    second = sent(make_run(cluster))
    assert second.conflict_run == first
    assert f"Our run {first.pk} holds" in second.conflict_holder


def test_a_conflict_links_to_our_run_through_another_entry_of_the_same_project(
    make_run, project, cloud
):
    first = sent(make_run())
    following.follow_run(first.pk)
    # the same cluster, as a second entry of clouds.yaml reaches it
    entry = Project.objects.create(
        cloud="second", region=project.region, project_id=project.project_id, name=project.name
    )
    twin = Cluster.objects.create(
        project=entry, cluster_id=first.cluster_cloud_id, name=first.cluster_name
    )
    run = make_run(twin)
    BackupRun.objects.filter(pk=run.pk).update(cloud=project.cloud)
    assert sent(run).conflict_run == first


def test_wait_if_held_tries_again_until_the_cluster_is_free(make_cluster, make_run, cloud):
    cluster = make_cluster()
    cloud.start_job(cluster.cluster_id, "Auto")
    run = sent(make_run(cluster, wait_minutes=10))
    assert (run.state, run.outcome) == (S.QUEUED, O.CONFLICT)
    assert "until" in run.note
    cloud.end_jobs(cluster.cluster_id)
    BackupRun.objects.filter(pk=run.pk).update(not_before=timezone.now())
    assert sent(run).state == S.ACCEPTED


def test_wait_if_held_ends_with_its_time(make_cluster, make_run, cloud):
    cluster = make_cluster()
    cloud.start_job(cluster.cluster_id, "Auto")
    run = make_run(cluster, wait_minutes=1)
    BackupRun.objects.filter(pk=run.pk).update(retry_conflict_until=timezone.now())
    assert sent(run).state == S.REJECTED
    assert "automatic schedule holds" in run.events.last().note
    assert "It was to wait for a free cluster until" in run.events.last().note


@pytest.mark.parametrize("hours", [7, -7])
def test_a_stepped_clock_does_not_have_a_conflict_waited_out_for_longer_than_asked(
    make_cluster, make_run, cloud, monkeypatch, hours
):
    cluster = make_cluster()
    cloud.start_job(cluster.cluster_id, "Auto")
    Ticker.objects.update_or_create(pk=1, defaults={"uptime": 1000.0})
    run = sent(make_run(cluster, wait_minutes=10))
    assert run.state == S.QUEUED

    stepped = timezone.now() + timedelta(hours=hours)
    monkeypatch.setattr(timezone, "now", lambda: stepped)
    for waited, state in (300.0, S.QUEUED), (599.0, S.REJECTED):
        Ticker.objects.update(uptime=1000.0 + waited)
        BackupRun.objects.filter(pk=run.pk).update(not_before=stepped)
        run = sent(run)
        # set ahead, its time has passed: nothing is sent late, and somebody may ask again
        assert run.state == (S.REJECTED if hours > 0 else state)
        if hours > 0:
            break
    assert "It was to wait for a free cluster until" in run.events.last().note


def test_a_clock_set_back_before_the_first_try_adds_nothing_to_the_wait(
    make_cluster, make_run, cloud
):
    cluster = make_cluster()
    cloud.start_job(cluster.cluster_id, "Auto")
    run = make_run(cluster, wait_minutes=10)
    ahead = {
        name: getattr(run, name) + timedelta(hours=7)
        for name in ("requested_at", "retry_conflict_until")
    }
    BackupRun.objects.filter(pk=run.pk).update(**ahead)
    Ticker.objects.update_or_create(pk=1, defaults={"uptime": 1000.0})
    assert sent(run).state == S.QUEUED
    Ticker.objects.update(uptime=1599.0)
    BackupRun.objects.filter(pk=run.pk).update(not_before=timezone.now())
    assert sent(run).state == S.REJECTED


def test_credentials_of_another_project_send_nothing(make_run, cloud):
    run = make_run()
    BackupRun.objects.filter(pk=run.pk).update(project_id_in_cloud="0" * 32)
    run = sent(run)
    assert (run.state, run.outcome) == (S.REJECTED, O.UNAUTHENTICATED)
    assert "belongs to project" in run.message
    assert not collects(cloud, run)


def test_a_cloud_that_left_clouds_yaml_is_a_clear_rejection(make_run, cloud, settings):
    run = make_run()
    BackupRun.objects.filter(pk=run.pk).update(cloud="gone-cloud")
    run = sent(run)
    assert run.state == S.REJECTED
    assert "gone-cloud" in run.message


def test_a_run_of_the_command_line_names_its_requester(make_cluster):
    request = request_backup(make_cluster(), Requester("root (command line)", Trigger.CLI))
    assert request.run.requested_by_name == "root (command line)"
    assert request.run.requested_by is None
