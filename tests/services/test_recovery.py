"""What the chaos run found: races and lost holds, each in the order in which it happened."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from backups import heartbeats
from backups.choices import Outcome, RunState
from backups.css_api.client import Exchange, ShownRequest
from backups.css_api.types import Answer
from backups.models import ApiCall, BackupRun, Heartbeat
from backups.services.runs import following, lanes, sending, sweeping
from backups.services.runs.call_log import CollectLog
from tests.audit_guards import guards_lifted

S = RunState


@pytest.fixture
def claimed(make_run):
    """A run that this process has claimed."""
    run = sending.claim(make_run().pk)
    assert run is not None
    return run


def test_a_run_that_is_sent_while_the_sweeper_looks_at_it_is_not_queued_again(claimed):
    as_the_sweeper_read_it = BackupRun.objects.get(pk=claimed.pk)
    CollectLog(claimed).before_send(ShownRequest("POST", "/x"))
    assert not sweeping.take_over(as_the_sweeper_read_it, why="The worker is gone")
    claimed.refresh_from_db()
    assert claimed.state == S.SENDING


def test_a_claim_that_a_living_worker_lost_hold_of_is_queued_again(claimed):
    now = timezone.now()
    Heartbeat.objects.create(
        kind="worker", name=heartbeats.process_name(), started_at=now, seen_at=now
    )
    sweeping.take_over_lost_claims()
    claimed.refresh_from_db()
    assert claimed.state == S.QUEUED
    assert claimed.not_before <= timezone.now()


def test_a_request_that_a_living_worker_lost_hold_of_is_settled_by_the_records(claimed):
    CollectLog(claimed).before_send(ShownRequest("POST", "/x"))
    sweeping.take_over_lost_claims()
    claimed.refresh_from_db()
    assert claimed.state == S.UNKNOWN


def test_a_claim_that_is_being_worked_on_is_left_alone(claimed):
    with lanes.sending_here(claimed.pk), lanes.sending_here(claimed.pk):
        pass
    with lanes.sending_here(claimed.pk):
        sweeping.take_over_lost_claims()
        claimed.refresh_from_db()
        assert claimed.state == S.SENDING
    assert not lanes.is_sending_here(claimed.pk)


def test_a_stored_answer_counts_from_when_it_came_and_not_from_its_takeover(claimed):
    log = CollectLog(claimed)
    log.before_send(ShownRequest("POST", "/x"))
    answer = Answer("POST", "/x", 500, message="Internal Server Error")
    log.after(Exchange("POST", "/x", timezone.now(), answer, None))
    came = timezone.now() - timedelta(seconds=12)
    with guards_lifted():
        ApiCall.objects.filter(run=claimed).update(finished_at=came)
    assert sweeping.take_over(claimed, why="The worker is gone")
    claimed.refresh_from_db()
    assert (claimed.state, claimed.outcome) == (S.UNKNOWN, Outcome.SERVER_ERROR)
    assert claimed.answered_at == came


def test_a_try_whose_commit_was_cut_off_leaves_one_row_of_the_request(claimed):
    log, now = CollectLog(claimed), timezone.now()
    first = log._store(ShownRequest("POST", "/x"), now)
    assert log._store(ShownRequest("POST", "/x"), now) == first
    assert ApiCall.objects.filter(run=claimed).count() == 1


def test_a_reading_that_is_lost_is_asked_for_again_before_long(claimed, settings):
    CollectLog(claimed).before_send(ShownRequest("POST", "/x"))
    now = timezone.now()
    BackupRun.objects.filter(pk=claimed.pk).update(state=S.UNKNOWN, next_check_at=now)
    assert following.due_for_check(10) == [claimed.pk]
    assert following.due_for_check(10) == []
    claimed.refresh_from_db()
    wait = claimed.next_check_at - now
    assert wait <= timedelta(seconds=settings.BACKUP_REDISPATCH_AFTER + 1)
