"""Handing runs to a broker that hangs, and messages that expire early or late."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from celery.worker.request import Request
from django.conf import settings
from django.utils import timezone
from kombu import pools

from backups import tasks
from backups.choices import RunState
from backups.models import BackupRun, Cluster
from backups.services.clusters import checks
from backups.services.dispatch import dispatch_check, dispatch_follow, dispatch_send
from backups.services.runs.following import due_for_check
from backups.services.runs.transitions import transition
from dashboard.celery import app
from simulator.client import SimulatorControl

AT_ONCE = 3.0  # seconds, on a machine that does other things as well


@pytest.fixture
def deaf_broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The only broker: what a Redis looks like that is stopped, or behind a dead route."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        producers = pools.producers[app.connection_for_write(url)]
        monkeypatch.setattr(app.amqp, "_producer_pool", producers)
        yield
        producers.force_close_all()


@pytest.mark.usefixtures("deaf_broker")
def test_a_broker_that_hangs_does_not_hold_up_the_click(make_run):
    run = make_run()
    begun = time.monotonic()
    dispatch_send([run.pk])
    assert time.monotonic() - begun < AT_ONCE
    run = BackupRun.objects.get(pk=run.pk)
    assert "The queue is unreachable" in run.note
    assert run.dispatched_at is None


# --- Messages whose worth is limited, and clocks that differ --------------------------------------


def published(monkeypatch: pytest.MonkeyPatch, publish: Callable[[], object], *, ahead: int) -> Any:
    """What a worker reads from Redis of a message whose publisher's clock is hours ahead."""
    now = app.now
    queue = settings.CELERY_TASK_DEFAULT_QUEUE
    with app.connection_for_read() as connection, connection.SimpleQueue(queue) as messages:
        messages.clear()  # of what other tests have published
    with monkeypatch.context() as publisher:
        publisher.setattr(app, "now", lambda: now() + timedelta(hours=ahead))
        publish()
    with app.connection_for_read() as connection, connection.SimpleQueue(queue) as messages:
        message = messages.get(timeout=10)
        message.ack()
    return Request(message, app=app)


@pytest.mark.usefixtures("redis_url")
def test_a_message_that_expires_early_is_published_again(
    make_run: Any, make_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker drops it: its clock was set ahead after the message was published."""
    run, cluster = make_run(), make_cluster()
    BackupRun.objects.filter(pk=run.pk).update(state="accepted", next_check_at=timezone.now())
    Cluster.objects.exclude(pk=cluster.pk).update(check_due_at=timezone.now() + timedelta(hours=1))
    for find, publish in (
        (lambda: due_for_check(10), dispatch_follow),
        (checks.claim, lambda ids: dispatch_check(ids, worth=checks.MESSAGE_LIFETIME)),
    ):
        ids = find()
        assert len(ids) == 1
        request = published(monkeypatch, lambda: publish(ids), ahead=-7)  # noqa: B023
        assert request.maybe_expire()
        assert find() == [], "it is leased"
        at = timezone.now()
        worth = max(settings.BACKUP_REDISPATCH_AFTER, checks.MESSAGE_LIFETIME)
        with monkeypatch.context() as later:
            later.setattr(timezone, "now", lambda: at + timedelta(seconds=worth + 1))  # noqa: B023
            assert ids[0] in find()


@pytest.mark.usefixtures("redis_url")
def test_a_message_that_should_have_expired_does_no_harm(
    make_run: Any, monkeypatch: pytest.MonkeyPatch, cloud: SimulatorControl
) -> None:
    """The clock was set back: it is worth something for hours, and what it asks for is done."""
    run = make_run()
    assert transition(run, RunState.CANCELLED, actor="anna", note="no longer wanted")
    before, seen = BackupRun.objects.values().get(pk=run.pk), len(cloud.ledger())
    request = published(monkeypatch, lambda: dispatch_follow([run.pk]), ahead=7)
    assert not request.maybe_expire()
    tasks.follow_runs(*request.args)
    tasks.send_run(run.pk)
    assert BackupRun.objects.values().get(pk=run.pk) == before
    assert len(cloud.ledger()) == seen
