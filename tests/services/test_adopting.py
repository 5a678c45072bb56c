"""A database that was copied elsewhere sends nothing until it is adopted there."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from backups import instance
from backups.choices import RunState, Trigger
from backups.models import BackupRun, Batch, BatchItem, Firing, Instance
from backups.services.adopting import NothingToAdopt, adopt
from backups.services.batches import starting
from backups.services.batches.making import BatchProblem, make_batch
from backups.services.batches.selecting import of_rows
from backups.services.runs import call_log, sending
from backups.services.runs.requests import CannotBackUp, Requester
from dashboard.accounts.models import User
from dashboard.audit.models import AuditEvent
from dashboard.audit.trail import Actor
from simulator.client import SimulatorControl
from tests.services.conftest import MakeRun
from tests.services.schedules import make_schedule

pytestmark = pytest.mark.django_db

ADMIN = Actor("anna")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Starts a process that serves: it says which instance it belongs to."""

    def start() -> str:
        monkeypatch.setattr(instance, "_serves", True)
        monkeypatch.setattr(instance, "_uid", "")
        return instance.uid()

    return start


@pytest.fixture
def copied(started: Any, settings: Any) -> Any:
    """Has the database run where it has not run before."""

    def copy() -> str:
        row = Instance.objects.get()
        place = {name: f"{value}0" for name, value in row.home.items() if name not in KEPT}
        Instance.objects.update(home={**row.home, **place})
        return str(started())

    return copy


KEPT = ("engine", "keys")


def test_a_restart_and_a_second_worker_are_the_same_instance(started: Any) -> None:
    first = started()
    home = Instance.objects.get().home
    assert [started() for _ in range(3)] == [first] * 3
    assert (Instance.objects.get().home, instance.problem()) == (home, "")


def test_a_secret_key_that_is_rotated_with_its_fallback_changes_nothing(
    started: Any, settings: Any
) -> None:
    first, old = started(), settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "n" * 60, [old]
    assert started() == first
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = old, []  # not restarted yet
    assert started() == first
    settings.SECRET_KEY = "n" * 60
    assert (started(), instance.problem()) == (first, "")


def test_another_secret_key_is_another_installation(started: Any, settings: Any) -> None:
    first = started()
    settings.SECRET_KEY = "n" * 60
    assert started() != first
    assert "SECRET_KEY" in instance.problem()


def test_a_command_with_half_of_the_environment_moves_nothing(
    started: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = started()
    monkeypatch.setattr(instance, "_serves", False)
    monkeypatch.setattr(instance, "_uid", "")
    settings.SECRET_KEY = "n" * 60
    assert (instance.uid(), Instance.objects.get().adopted) == (first, True)


def test_a_copy_sends_nothing_until_it_is_adopted(
    started: Any, copied: Any, make_run: MakeRun, cloud: SimulatorControl
) -> None:
    first = started()
    run = make_run()
    assert copied() != first
    assert Instance.objects.get().origin == first
    for _ in range(2):
        sending.send_run(run.pk)
    run.refresh_from_db()
    assert (run.state, run.attempt) == (RunState.QUEUED, 0)
    assert "came from another instance" in run.note
    assert not cloud.ledger(endpoint="collect")
    with pytest.raises(CannotBackUp, match="came from another instance"):
        make_run()

    assert adopt(ADMIN, "staging, from last night's dump", moved=False) == 1
    run.refresh_from_db()
    assert run.state == RunState.CANCELLED
    assert "may have sent it" in run.events.last().note
    event = AuditEvent.objects.order_by("-sequence")[0]
    assert (event.action, event.actor_name) == ("instance_adopted", "anna")
    assert event.before == {"instance": first}
    again = make_run()
    sending.send_run(again.pk)
    again.refresh_from_db()
    assert again.state == RunState.ACCEPTED
    assert len(cloud.ledger(endpoint="collect")) == 1
    with pytest.raises(NothingToAdopt):
        adopt(ADMIN, "again", moved=False)


@pytest.mark.parametrize(("moved", "state"), [(False, "cancelled"), (True, "waiting")])
def test_a_batch_goes_on_where_the_original_does_not(
    started: Any, copied: Any, make_run: MakeRun, moved: bool, state: str
) -> None:
    started()
    run = make_run()
    batch = Batch.objects.create(requested_by_name="anna", trigger="bulk")
    item = BatchItem.objects.create(batch=batch, cluster=run.cluster, project=run.project)
    copied()
    assert starting.start_waiting() == 0, "nothing until it is adopted"
    with pytest.raises(BatchProblem, match="adopted"):
        make_batch(of_rows([run.cluster_id], None), Requester("anna", Trigger.CLI), anyway=True)
    adopt(ADMIN, "moved here", moved=moved)
    item.refresh_from_db()
    assert item.state == state


@pytest.mark.parametrize("moved", [False, True])
def test_schedules_go_on_where_the_original_does_not(
    started: Any, copied: Any, make_run: MakeRun, moved: bool
) -> None:
    started()
    run = make_run()
    owner = User.objects.create_user("anna")
    schedule = make_schedule(owner, run.project, due=timedelta(hours=1))
    slot = timezone.now() - timedelta(days=1)
    Firing.objects.create(schedule=schedule, slot=slot, result="fired", awaits_ping=True)
    copied()
    adopt(ADMIN, "here", moved=moved)
    schedule.refresh_from_db()
    assert schedule.is_on is (schedule.next_at is not None) is moved
    assert ("the original instance fires it" in schedule.stopped_reason) is not moved
    assert Firing.objects.get().awaits_ping is moved
    stopped = AuditEvent.objects.filter(action="schedule_stopped")
    assert [event.actor_name for event in stopped] == ([] if moved else ["anna"])


def test_an_instance_that_was_moved_goes_on(
    started: Any, copied: Any, make_run: MakeRun, capsys: Any
) -> None:
    started()
    run = make_run()
    copied()
    with pytest.raises(CommandError, match="reason"):
        call_command("adopt", reason=" ", moved=True)
    call_command("adopt", reason="a new database server", moved=True)
    sending.send_run(run.pk)
    assert BackupRun.objects.get().state == RunState.ACCEPTED


def test_a_claim_that_came_with_a_copy_is_not_sent_again(
    started: Any, copied: Any, make_run: MakeRun, cloud: SimulatorControl
) -> None:
    started()
    unsent, sent = make_run(), make_run()
    for run in unsent, sent:
        assert sending.claim(run.pk)
    call_log.CollectLog(BackupRun.objects.get(pk=sent.pk))._store(SHOWN, sent.requested_at)
    copied()
    assert adopt(ADMIN, "staging", moved=False) == 1
    states = dict(BackupRun.objects.values_list("pk", "state"))
    assert states == {unsent.pk: RunState.CANCELLED, sent.pk: RunState.UNKNOWN}
    assert not cloud.ledger(endpoint="collect")


def test_the_command_notices_a_move_before_anything_was_started(
    started: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = started()
    monkeypatch.setattr(instance, "_serves", False)
    with pytest.raises(CommandError, match="belongs to this instance already"):
        call_command("adopt", reason="nothing happened", moved=True)
    settings.SECRET_KEY = "n" * 60  # somebody's shell
    with pytest.raises(CommandError, match="belongs to this instance already"):
        call_command("adopt", reason="nothing happened", moved=True)
    home = Instance.objects.get().home
    Instance.objects.update(home={**home, "engine": "another"})
    call_command("adopt", reason="from SQLite to PostgreSQL", moved=True)
    row = Instance.objects.get()
    assert (row.adopted, row.origin, row.home["engine"]) == (True, first, home["engine"])


class SHOWN:
    """A request as it is shown."""

    method, path, url, headers, body = "POST", "/x", "https://css/x", (), ""


def test_the_fence_stops_what_was_claimed_before(
    started: Any, make_run: MakeRun, cloud: SimulatorControl
) -> None:
    started()
    run = sending.claim(make_run().pk)
    assert run is not None
    Instance.objects.update(adopted=False)
    with pytest.raises(call_log.ClaimLost):
        sending.ask_cloud(run)
    assert not cloud.ledger(endpoint="collect")


def test_a_process_of_before_says_that_it_must_be_restarted(started: Any) -> None:
    started()
    Instance.objects.update(uid="ffffffffffffffff")
    assert "Restart" in instance.problem()


def test_facts_that_one_place_cannot_read_tell_nothing() -> None:
    home = {"engine": "postgresql", "system": "1", "database": "2", "table": "3", "keys": ["a"]}
    assert instance.differences(home, {**home, "system": ""}) == []
    assert instance.merged(home, {**home, "system": "", "keys": ["a"]}) == home
    assert instance.differences(home, {**home, "system": "9"}) == ["database server"]
    assert instance.differences({}, home) == []
