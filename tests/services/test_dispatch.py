"""Handing runs to a broker that takes a connection and then says nothing."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from kombu import pools

from backups.models import BackupRun
from backups.services.dispatch import dispatch_send
from dashboard.celery import app

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
