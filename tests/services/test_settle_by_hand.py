"""What the records cannot settle somebody may, with a reason, late enough, and on record."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from backups import uptime
from backups.choices import Outcome, Ruling, RunState
from backups.models import BackupRun
from backups.models.run_log import LONGEST_RULING
from backups.services.clusters import readiness
from backups.services.clusters.protection import verified
from backups.services.runs import following, sending, settling
from backups.services.runs.requests import Requester, request_backup
from backups.services.runs.settling import CannotSettle, settle_by_hand
from dashboard.audit.models import Action, AuditEvent
from dashboard.audit.trail import Actor
from simulator.client import SimulatorControl
from tests.services.conftest import MakeCluster, MakeRun

S = RunState
ANNA = Actor("anna", ip="10.1.2.3")
WHY = "No job in the console, ticket 4711"


def unknown(run: BackupRun, cloud: SimulatorControl) -> BackupRun:
    """Send a run so that nobody knows what came of it, and make the records unreadable."""
    cloud.fault("reset_before", run.cluster_cloud_id)
    sending.send_run(run.pk)
    cloud.fault("status", run.cluster_cloud_id, endpoint="records", status=403)
    run.refresh_from_db()
    assert run.state == S.UNKNOWN
    return run


def followed(run: BackupRun) -> BackupRun:
    following.follow_run(run.pk)
    run.refresh_from_db()
    return run


def aged(run: BackupRun, seconds: float) -> BackupRun:
    """As if all of it had happened so many seconds earlier."""
    then = timezone.now() - timedelta(seconds=seconds)
    ticked = uptime.now() - seconds
    times: dict[str, Any] = {"sent_at": then, "answered_at": then, "step_uptime": ticked}
    if run.records_readable_at:
        times |= {"records_readable_at": then, "readable_uptime": ticked}
    BackupRun.objects.filter(pk=run.pk).update(**times)
    run.refresh_from_db()
    return run


@pytest.fixture
def stuck(make_run: MakeRun, cloud: SimulatorControl) -> BackupRun:
    """A run whose records have been unreadable for as long as it takes."""
    run = aged(unknown(make_run(), cloud), following.unreadable_limit() + 1)
    return followed(run)


@pytest.mark.parametrize(
    ("ruling", "state"), [(Ruling.STARTED, S.UNVERIFIED), (Ruling.NOT_STARTED, S.NOT_STARTED)]
)
def test_a_ruling_ends_the_run_with_who_and_why(
    stuck: BackupRun, ruling: Ruling, state: RunState
) -> None:
    settle_by_hand(stuck, ruling, actor=ANNA, reason=f" {WHY} ")
    stuck.refresh_from_db()
    assert (stuck.state, stuck.settled_by_hand) == (state, True)
    assert stuck.finished_at is not None
    assert stuck.next_check_at is None
    assert stuck.outcome == Outcome.UNANSWERED, "what the request came to is still not known"
    assert not stuck.ended_well
    event = stuck.events.latest("pk")
    assert (event.actor, event.from_state, event.to_state) == ("anna", S.UNKNOWN, state)
    assert event.note.startswith("Settled by hand, the cloud started ")
    assert event.note.endswith(f": {WHY}")


def test_it_is_an_event_of_the_audit_trail(stuck: BackupRun) -> None:
    settle_by_hand(stuck, Ruling.NOT_STARTED, actor=ANNA, reason=WHY)
    event = AuditEvent.objects.about(stuck).latest("sequence")
    assert event.action == Action.RUN_SETTLED
    assert (event.actor_name, event.ip, event.reason) == ("anna", "10.1.2.3", WHY)
    assert (event.before, event.after) == ({"state": "unknown"}, {"state": "not_started"})
    assert event.project_id == stuck.project_id


def test_the_cluster_is_free_afterwards(stuck: BackupRun, operator: Requester) -> None:
    assert not request_backup(stuck.cluster, operator).created, "it holds its slot"
    settle_by_hand(stuck, Ruling.STARTED, actor=ANNA, reason=WHY)
    assert request_backup(stuck.cluster, operator).created


def test_nothing_becomes_verified_or_accepted_by_it(stuck: BackupRun) -> None:
    settle_by_hand(stuck, Ruling.STARTED, actor=ANNA, reason=WHY)
    stuck.cluster.refresh_from_db()
    assert stuck.cluster.verified_at is None
    assert not stuck.job_id
    verified(stuck.cluster_id, timezone.now())
    stuck.cluster.refresh_from_db()
    assert stuck.cluster.verified_at is not None, "what would have shown it"


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_without_a_reason_nothing_is_settled(stuck: BackupRun, reason: str) -> None:
    with pytest.raises(CannotSettle, match="how you know"):
        settle_by_hand(stuck, Ruling.STARTED, actor=ANNA, reason=reason)
    stuck.refresh_from_db()
    assert stuck.state == S.UNKNOWN


def test_the_longest_reason_is_kept_whole(stuck: BackupRun) -> None:
    reason = "x" * LONGEST_RULING
    settle_by_hand(stuck, Ruling.NOT_STARTED, actor=ANNA, reason=reason)
    assert stuck.events.latest("pk").note.endswith(f": {reason}")


# --- refused while the records may still settle it -----------------------------------------------


def refused(run: BackupRun, why: str) -> None:
    with pytest.raises(CannotSettle, match=why):
        settle_by_hand(run, Ruling.NOT_STARTED, actor=ANNA, reason=WHY)
    run.refresh_from_db()
    assert not run.settled_by_hand
    assert not AuditEvent.objects.filter(action=Action.RUN_SETTLED).exists()


def test_not_before_the_records_were_unreadable_for_long(
    make_run: MakeRun, cloud: SimulatorControl
) -> None:
    run = unknown(make_run(), cloud)
    run = followed(aged(run, following.unreadable_limit() - 30))
    refused(run, "may settle it")
    assert run.state == S.UNKNOWN
    assert settling.open_from(run) > timezone.now()


def test_not_where_they_were_readable_in_between(
    make_run: MakeRun, cloud: SimulatorControl, settings: Any
) -> None:
    """Read well once, within the grace time: what the limit counts from is that reading."""
    settings.BACKUP_SETTLE_GRACE = 100_000
    run = unknown(make_run(), cloud)
    cloud.clear_faults(run.cluster_cloud_id)
    run = followed(aged(run, following.unreadable_limit() + 1))
    assert run.records_readable_at is not None
    settings.BACKUP_SETTLE_GRACE = 25
    refused(run, "may settle it")


def test_not_within_the_grace_time_however_long_that_is(stuck: BackupRun, settings: Any) -> None:
    settings.BACKUP_SETTLE_GRACE = 100_000
    refused(stuck, "may settle it")


@pytest.mark.parametrize("minutes", [3, 600])
def test_not_while_nobody_reads_the_records(stuck: BackupRun, minutes: int) -> None:
    """No worker, or nobody who sweeps: the records may be readable for all that is known."""
    due = timezone.now() - timedelta(minutes=minutes)
    BackupRun.objects.filter(pk=stuck.pk).update(next_check_at=due)
    stuck.refresh_from_db()
    refused(stuck, "not being read")


def test_not_before_they_were_read_at_all(make_run: MakeRun, cloud: SimulatorControl) -> None:
    run = aged(unknown(make_run(), cloud), 100_000)
    assert run.checks == 0
    refused(run, "not being read")


@pytest.mark.parametrize("state", sorted(set(RunState) - {S.UNKNOWN}))
def test_not_a_run_whose_outcome_is_known(make_run: MakeRun, state: RunState) -> None:
    run = make_run()
    BackupRun.objects.filter(pk=run.pk).update(state=state)
    run.refresh_from_db()
    refused(run, "already ended" if run.is_terminal else "nothing to settle")


def test_what_a_reading_finds_meanwhile_counts_more(
    stuck: BackupRun, cloud: SimulatorControl, settings: Any
) -> None:
    as_somebody_sees_it = BackupRun.objects.get(pk=stuck.pk)
    settings.BACKUP_SETTLE_GRACE = 100_000
    cloud.clear_faults(stuck.cluster_cloud_id)
    followed(stuck)
    settings.BACKUP_SETTLE_GRACE = 25
    refused(as_somebody_sees_it, "may settle it")
    assert as_somebody_sees_it.state == S.UNKNOWN


def test_a_run_that_ended_meanwhile_keeps_its_end(
    stuck: BackupRun, cloud: SimulatorControl
) -> None:
    as_somebody_sees_it = BackupRun.objects.get(pk=stuck.pk)
    cloud.clear_faults(stuck.cluster_cloud_id)
    assert followed(stuck).state == S.NOT_STARTED
    refused(as_somebody_sees_it, "already ended: Not started")


def test_two_who_settle_at_once_are_one_ruling(stuck: BackupRun) -> None:
    twin = BackupRun.objects.get(pk=stuck.pk)
    settle_by_hand(stuck, Ruling.STARTED, actor=ANNA, reason=WHY)
    with pytest.raises(CannotSettle, match="already ended"):
        settle_by_hand(twin, Ruling.NOT_STARTED, actor=Actor("ben"), reason="no")
    assert AuditEvent.objects.filter(action=Action.RUN_SETTLED).count() == 1
    assert twin.state == S.UNVERIFIED


# --- afterwards ----------------------------------------------------------------------------------


def test_an_answer_that_comes_after_it_changes_nothing(
    make_run: MakeRun, cloud: SimulatorControl, stuck: BackupRun
) -> None:
    from backups.css_api.types import Answer

    settle_by_hand(stuck, Ruling.NOT_STARTED, actor=ANNA, reason=WHY)
    assert not sending.apply_result(stuck, Answer("POST", "/x", 200), actor="worker")
    stuck.refresh_from_db()
    assert (stuck.state, stuck.settled_by_hand) == (S.NOT_STARTED, True)


def test_a_record_that_turns_up_later_corrects_the_run(
    make_cluster: MakeCluster, make_run: MakeRun, cloud: SimulatorControl
) -> None:
    cluster = make_cluster()
    run = make_run(cluster)
    cloud.fault("error_after", cluster.cluster_id, preset="gateway_timeout")
    sending.send_run(run.pk)
    cloud.fault("status", cluster.cluster_id, endpoint="records", status=403)
    run.refresh_from_db()
    assert run.state == S.UNKNOWN
    run = followed(aged(run, following.unreadable_limit() + 1))
    settle_by_hand(run, Ruling.STARTED, actor=ANNA, reason=WHY)
    cloud.clear_faults(cluster.cluster_id)
    cloud.end_jobs(cluster.cluster_id)
    readiness.check_cluster(cluster.pk)
    run = cluster.runs.get()
    assert (run.state, run.corrected_from) == (S.SUCCEEDED, S.UNVERIFIED)
    assert run.settled_by_hand, "that somebody had settled it stays known"
