"""Two databases with one instance id on one Redis are found, and neither sends until adopted.

Redis is real. A second database is played by a second watch: what it does is write its tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import current_app
from django.core.management import call_command

from backups import heartbeats, instance, ticker, work
from backups.choices import RunState
from backups.models import BackupRun, Instance
from backups.services.adopting import NothingToAdopt, adopt
from backups.services.runs import sending, sweeping
from backups.services.runs.requests import CannotBackUp
from backups.ticker import CLASH_KEY, CLASH_LOOK_EVERY, CLASH_LOOKS, ClashWatch, Lease, TickerThread
from dashboard.audit.models import AuditEvent
from dashboard.audit.trail import Actor
from simulator.client import SimulatorControl
from tests.private_redis import PrivateRedis
from tests.services.conftest import MakeRun
from tests.services.test_ticker import Clock

pytestmark = pytest.mark.django_db

ADMIN = Actor("anna")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(ticker, "time", clock)
    return clock


@pytest.fixture
def broker(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url.replace("redis+socket", "unix")) as client:
        client.flushdb()
        yield client


def looks(clock: Clock, *watches: ClashWatch, times: int = 1, term: int = 1) -> list[bool]:
    """Let each look in turn, `times` times; returns what the first one found."""
    found = []
    for _ in range(times):
        clock.now += CLASH_LOOK_EVERY
        answers = [watch.look(term) for watch in watches]
        found.append(answers[0])
    return found


# --- A clash --------------------------------------------------------------------------------------


def test_each_of_two_databases_finds_the_other(clock: Clock, broker: redis.Redis) -> None:
    one, other = ClashWatch(), ClashWatch()
    # the first look has nothing of its own to miss
    assert looks(clock, one, other, times=CLASH_LOOKS + 1) == [False] * CLASH_LOOKS + [True]
    assert looks(clock, one) == looks(clock, other) == [True]
    (key,) = broker.scan_iter()
    assert key.decode() == instance.key_prefix() + CLASH_KEY
    assert 0 < broker.ttl(key) <= ticker.CLASH_KEY_SECONDS


def test_instances_with_ids_of_their_own_do_not_meet(
    clock: Clock, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = ClashWatch(), ClashWatch()
    for _ in range(10):
        clock.now += CLASH_LOOK_EVERY
        assert not one.look(1)
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(instance, "_uid", "ffffffffffffffff")
            assert not other.look(1)


def test_it_ends_when_the_other_one_has_gone(clock: Clock, broker: redis.Redis) -> None:
    one, other = ClashWatch(), ClashWatch()
    assert looks(clock, one, other, times=10)[-1]
    assert looks(clock, one, times=3) == [True, False, False]


# --- What is none ---------------------------------------------------------------------------------


def test_one_that_ticks_for_long_finds_nothing(clock: Clock, broker: redis.Redis) -> None:
    assert not any(looks(clock, ClashWatch(), times=50))


def test_it_looks_at_its_interval_only(clock: Clock, broker: redis.Redis) -> None:
    one, other = ClashWatch(), ClashWatch()
    for _ in range(CLASH_LOOKS * int(CLASH_LOOK_EVERY)):
        clock.now += 1
        assert not one.look(1)
        other.look(1)


def test_workers_of_one_database_that_take_turns_do_not_clash(
    clock: Clock, broker: redis.Redis
) -> None:
    leases = [Lease("a:1:0"), Lease("b:2:0")]
    watches = [ClashWatch(), ClashWatch()]
    for turn in range(12):
        for _ in range(2 * int(CLASH_LOOK_EVERY)):
            clock.now += 1
            for lease, watch in zip(leases, watches, strict=True):
                assert not (lease.hold() and watch.look(lease.term))
        assert leases[turn % 2].held
        leases[turn % 2].release()
        assert leases[1 - turn % 2].hold()


def test_a_holder_that_was_away_and_takes_the_lease_back_begins_anew(clock: Clock) -> None:
    first, second = Lease("a:1:0"), Lease("b:2:0")
    first.hold()
    terms = [first.term]
    for _ in range(2):
        second.hold()
        for _ in range(7):  # the first one is stopped
            clock.now += 1
            second.hold()
        assert second.held
        second.release()
        assert first.hold()
        terms.append(first.term)
    assert terms == [1, 2, 3]


def test_two_that_tick_for_a_moment_do_not_clash(clock: Clock, broker: redis.Redis) -> None:
    """Whoever has lost the lease without knowing writes once more at most."""
    holder, late = ClashWatch(), ClashWatch()
    late.look(1)
    assert not any(looks(clock, holder, times=3))
    assert looks(clock, late) == [False]
    assert not any(looks(clock, holder, times=10))
    # and another one that does it right afterwards
    for _ in range(CLASH_LOOKS - 1):
        assert looks(clock, ClashWatch()) == [False]
        assert not any(looks(clock, holder))
    assert not any(looks(clock, holder, times=10))


def test_a_redis_that_was_emptied_or_set_back_is_no_clash(
    clock: Clock, broker: redis.Redis
) -> None:
    watch = ClashWatch()
    for _ in range(10):
        assert looks(clock, watch) == [False]
        broker.flushdb()
    assert looks(clock, watch, times=3) == [False] * 3
    broker.set(instance.key_prefix() + CLASH_KEY, "what a replica still had")
    assert not any(looks(clock, watch, times=5))


def test_a_redis_that_is_away_is_no_clash(
    clock: Clock, tmp_path: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    socket_path = tmp_path / "r.sock"
    one, other = ClashWatch(), ClashWatch()
    url, current_app.conf.broker_url = (
        current_app.conf.broker_url,
        f"redis+socket://{socket_path}?virtual_host=0",
    )
    try:
        with PrivateRedis(tmp_path / "redis", socket_path) as server:
            assert looks(clock, one, other, times=CLASH_LOOKS) == [False] * CLASH_LOOKS
            server.stop()
            assert looks(clock, one, other, times=2) == [False] * 2
            server.start()
            # what was counted before says nothing any more, and what was written is not known
            assert looks(clock, one, times=5) == [False] * 5
            assert looks(clock, one, other, times=CLASH_LOOKS + 1)[-1]
    finally:
        current_app.conf.broker_url = url
    assert not caplog.records


# --- What follows ---------------------------------------------------------------------------------


@pytest.fixture
def own_row(monkeypatch: pytest.MonkeyPatch) -> str:
    """This process belongs to the instance in the database; returns its id."""
    monkeypatch.setattr(instance, "_uid", "")
    return instance.uid()


def test_the_worker_that_ticks_finds_it(
    clock: Clock,
    broker: redis.Redis,
    own_row: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    settings: Any,
) -> None:
    settings.PERIODIC_TASKS = {}
    monkeypatch.setattr(sweeping, "sweep", lambda clocks: None)
    monkeypatch.setattr(ticker, "close_old_connections", lambda: None)
    thread, other = TickerThread(), ClashWatch()
    for _ in range(8 * int(CLASH_LOOK_EVERY)):
        clock.now += 1
        thread.tick()
        other.look(1)
    row = Instance.objects.get()
    assert (row.uid, row.origin, row.adopted, row.clashes) == (own_row, own_row, False, True)
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1, "said once"
    assert "has the same id" in errors[0].getMessage()


def test_nothing_is_sent_until_it_is_adopted_under_an_id_of_its_own(
    own_row: str, make_run: MakeRun, cloud: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeats, "absences", list)
    queued = make_run()
    claimed = sending.claim(make_run().pk)
    assert claimed is not None
    instance.note_clash()
    instance.note_clash()

    assert "has the same id" in instance.problem()
    assert "manage.py adopt" in instance.problem()
    assert [(trouble.kind, trouble.words) for trouble in work.troubles()] == [
        ("instance", instance.problem())
    ]
    with pytest.raises(work.Missing, match="has the same id"):
        work.check_instance()
    sending.send_run(queued.pk)
    queued.refresh_from_db()
    assert (queued.state, queued.attempt) == (RunState.QUEUED, 0)
    assert "has the same id" in queued.note
    with pytest.raises(CannotBackUp, match="has the same id"):
        make_run()
    assert not cloud.ledger(endpoint="collect")

    # the claim is handed back, so both are queued
    assert adopt(ADMIN, "the copy that became staging", moved=False) == 2
    row = Instance.objects.get()
    assert row.uid != own_row
    assert (row.adopted, row.clashes) == (True, False)
    event = AuditEvent.objects.order_by("-sequence")[0]
    assert (event.before, event.after) == ({"instance": own_row}, {"instance": row.uid})
    assert "Restart" in instance.problem()
    with pytest.raises(NothingToAdopt):
        adopt(ADMIN, "again", moved=False)
    instance.note_clash()  # by a process of before, which still has the old id
    assert Instance.objects.get().adopted

    monkeypatch.setattr(instance, "_uid", "")  # a restart
    assert instance.problem() == ""
    run = make_run()
    sending.send_run(run.pk)
    assert BackupRun.objects.get(pk=run.pk).state == RunState.ACCEPTED


def test_a_copy_that_is_recognised_later_is_a_copy(own_row: str) -> None:
    instance.note_clash()
    Instance.objects.update(uid="ffffffffffffffff")
    assert not Instance.objects.get().clashes


def test_a_restart_alone_ends_nothing(own_row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    instance.note_clash()
    monkeypatch.setattr(instance, "_uid", "")
    monkeypatch.setattr(instance, "_serves", True)
    assert instance.uid() == own_row
    assert "has the same id" in instance.problem()


def test_the_command_says_that_a_restart_is_needed(own_row: str, capsys: Any) -> None:
    instance.note_clash()
    call_command("adopt", reason="the original", moved=True)
    assert "restart web and workers" in capsys.readouterr().out
    assert Instance.objects.get().uid != own_row
