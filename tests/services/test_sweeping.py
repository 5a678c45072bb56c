"""What a dead worker or a lost message leaves behind is put right, and nothing is sent twice."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from backups import heartbeats, uptime
from backups.choices import Outcome, RunState
from backups.css_api.client import Exchange, ShownRequest
from backups.css_api.errors import NotSent, TransportKind
from backups.css_api.types import Answer
from backups.models import BackupRun, Heartbeat
from backups.services.runs import sending, sweeping
from backups.services.runs.call_log import CollectLog

S = RunState


@pytest.fixture
def long_ago(settings):
    """As the product has ticked."""
    return uptime.now() - settings.HEARTBEAT_STALE_AFTER - 5


@pytest.fixture
def abandoned(make_run, long_ago):
    """A run in SENDING whose worker died."""
    run = sending.claim(make_run().pk)
    assert run is not None
    BackupRun.objects.filter(pk=run.pk).update(step_uptime=long_ago)
    run.refresh_from_db()
    return run


def swept(run: BackupRun) -> BackupRun:
    """The run after a sweep, long after its last step."""
    ticked = uptime.now() - settings.HEARTBEAT_STALE_AFTER - 5
    BackupRun.objects.filter(pk=run.pk).update(step_uptime=ticked)
    sweeping.take_over_dead_claims()
    run.refresh_from_db()
    return run


def test_a_worker_that_died_before_sending_has_its_run_queued_again(abandoned):
    run = swept(abandoned)
    assert run.state == S.QUEUED
    assert "nothing had been sent" in run.note
    assert sweeping.due_for_sending(10) == [run.pk]


def test_a_worker_that_died_while_sending_leaves_the_outcome_unknown(abandoned, cloud):
    CollectLog(abandoned).before_send(ShownRequest("POST", "/v1.0/p/clusters/c/logs/collect"))
    run = swept(abandoned)
    assert (run.state, run.outcome) == (S.UNKNOWN, Outcome.UNANSWERED)
    assert run.next_check_at is not None
    assert run.claimed_by == ""


def test_an_answer_that_was_stored_before_the_worker_died_counts(abandoned):
    log = CollectLog(abandoned)
    log.before_send(ShownRequest("POST", "/x"))
    answer = Answer("POST", "/x", 412, request_id="r-1", error_code="CSS.0004", message="off")
    log.after(Exchange("POST", "/x", timezone.now(), answer, None))
    run = swept(abandoned)
    assert (run.state, run.outcome) == (S.REJECTED, Outcome.PRECONDITION_FAILED)
    assert (run.http_status, run.request_id) == (412, "r-1")


def test_an_attempt_that_was_stored_as_not_sent_is_tried_again(abandoned):
    log = CollectLog(abandoned)
    log.before_send(ShownRequest("POST", "/x"))
    error = NotSent(TransportKind.REFUSED, "refused")
    log.after(Exchange("POST", "/x", timezone.now(), None, error))
    assert swept(abandoned).state == S.QUEUED


def test_a_run_of_a_living_worker_is_left_alone(abandoned):
    Heartbeat.objects.create(
        kind="worker",
        name=abandoned.claimed_by,
        started_at=timezone.now(),
        seen_at=timezone.now(),
        seen_uptime=uptime.now(),
    )
    assert swept(abandoned).state == S.SENDING


def test_a_run_of_a_worker_that_fell_silent_is_taken_over(abandoned, long_ago):
    Heartbeat.objects.create(
        kind="worker",
        name=abandoned.claimed_by,
        started_at=timezone.now(),
        seen_at=timezone.now(),
        seen_uptime=long_ago,
    )
    assert swept(abandoned).state == S.QUEUED


def test_two_sweepers_take_a_run_over_once(abandoned):
    twin = BackupRun.objects.get(pk=abandoned.pk)
    assert sweeping.take_over(abandoned, why="first")
    assert not sweeping.take_over(twin, why="second")
    assert abandoned.events.filter(from_state=S.SENDING).count() == 1


def test_a_run_whose_message_was_lost_is_dispatched_again(make_run, settings):
    run = make_run()
    BackupRun.objects.filter(pk=run.pk).update(dispatched_at=timezone.now())
    assert sweeping.due_for_sending(10) == []
    lost = timezone.now() - timedelta(seconds=settings.BACKUP_REDISPATCH_AFTER + 1)
    BackupRun.objects.filter(pk=run.pk).update(dispatched_at=lost)
    assert sweeping.due_for_sending(10) == [run.pk]


def test_a_run_that_waits_for_its_time_is_not_dispatched(make_run):
    run = make_run()
    later = timezone.now() + timedelta(minutes=1)
    BackupRun.objects.filter(pk=run.pk).update(not_before=later)
    assert sweeping.due_for_sending(10) == []


def test_a_worker_that_must_end_hands_its_runs_over(make_run, abandoned):
    in_flight = sending.claim(make_run().pk)
    assert in_flight is not None
    CollectLog(in_flight).before_send(ShownRequest("POST", "/x"))
    assert sweeping.release_claims() == 2
    assert not BackupRun.objects.filter(state=S.SENDING).exists()
    assert BackupRun.objects.get(pk=in_flight.pk).state == S.UNKNOWN
    assert BackupRun.objects.get(pk=abandoned.pk).state == S.QUEUED


@pytest.mark.django_db
def test_a_heartbeat_is_written_and_old_ones_are_forgotten():
    day_old = timezone.now() - timedelta(days=2)
    Heartbeat.objects.create(kind="worker", name="old", started_at=day_old, seen_at=day_old)
    heartbeats.beat("worker")
    heartbeats.beat("worker")
    assert list(Heartbeat.objects.values_list("name", flat=True)) == [heartbeats.process_name()]
    assert [absence.kind for absence in heartbeats.absences()] == ["scheduler"]


class Clock:
    """Stands for the module `time`; seconds pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(heartbeats, "time", clock)
    monkeypatch.setattr(heartbeats, "_last_beat", None)
    monkeypatch.setattr(heartbeats, "_steady_since", 0.0)
    return clock


def reports(clock, settings, seconds):
    """This process reports for some seconds."""
    until = clock.now + seconds
    while clock.now < until:
        clock.now += settings.HEARTBEAT_INTERVAL
        heartbeats._beaten()


def test_after_a_database_outage_a_living_workers_answer_is_awaited(
    abandoned, cloud, clock, settings
):
    """Every heartbeat is stale then; the worker has the answer and cannot write it yet."""
    reports(clock, settings, 60)
    cloud.fault("status", abandoned.cluster_cloud_id, preset="precondition")
    held = BackupRun.objects.get(pk=abandoned.pk)
    CollectLog(held).before_send(ShownRequest("POST", "/x"))
    answer = sending.ask_cloud(held)
    clock.now += 27  # the database was away for so long
    heartbeats._beaten()
    assert swept(abandoned).state == S.SENDING
    assert sending.apply_result(held, answer, actor="the other worker")
    abandoned.refresh_from_db()
    assert (abandoned.state, abandoned.outcome) == (S.REJECTED, Outcome.PRECONDITION_FAILED)


def test_a_worker_that_stays_silent_after_the_outage_is_dead(abandoned, clock, settings):
    reports(clock, settings, 60)
    clock.now += 27
    heartbeats._beaten()
    assert swept(abandoned).state == S.SENDING
    reports(clock, settings, 2 * settings.HEARTBEAT_INTERVAL)
    assert swept(abandoned).state == S.QUEUED


def test_who_cannot_report_itself_takes_nobody_for_dead(abandoned, clock, settings):
    reports(clock, settings, 60)
    clock.now += settings.HEARTBEAT_STALE_AFTER
    assert swept(abandoned).state == S.SENDING
