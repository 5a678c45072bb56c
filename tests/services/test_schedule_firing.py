"""Schedules fire each slot once, with the permissions of their owner, and say what they did not."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import OperationalError, connection
from django.db.models import F
from django.utils import timezone

from backups.choices import Cause, ItemState, NoticeKind, RunState, Trigger
from backups.models import (
    Batch,
    Channel,
    Cluster,
    Delivery,
    Firing,
    Instance,
    Notice,
    Project,
    Rule,
    Schedule,
    Ticker,
)
from backups.services import rate
from backups.services.batches.starting import advance
from backups.services.notifications.outbox import forget_rules
from backups.services.report_trail import trail_of
from backups.services.runs.requests import Requester, request_backup
from backups.services.schedules import firing, manage
from backups.services.schedules.firing import fire_due, jitter, run_now
from backups.services.schedules.pings import queue_due
from dashboard.accounts.access import Role, RoleRequired
from dashboard.accounts.models import Grant, User
from dashboard.audit.models import Action, AuditEvent
from dashboard.audit.trail import Actor
from dashboard.encryption import decrypt, encrypt
from tests.audit.test_audit_concurrency import test_url as url_of_the_test_database
from tests.grants import give
from tests.services.schedules import make_schedule

_numbers = itertools.count(1)
Make = Callable[..., list[Cluster]]
JUST_NOW, HOURS = timedelta(seconds=2), timedelta(hours=7)


@pytest.fixture(autouse=True)
def broker(redis_url: str, settings: Any) -> Iterator[None]:
    settings.BACKUP_BATCH_RATE = 100.0
    rate.close()
    yield
    rate.close()


@pytest.fixture
def project(db: None) -> Project:
    return Project.objects.create(
        cloud="otc", project_id=f"schedules-{next(_numbers)}", name="shop"
    )


@pytest.fixture
def anna(project: Project) -> User:
    return give(User.objects.create_user(f"anna-{next(_numbers)}"), Role.OPERATOR, project=project)


@pytest.fixture
def make_clusters(project: Project) -> Make:
    def make(count: int = 1, **columns: Any) -> list[Cluster]:
        values = {"project": project, "status": "200", "readiness": "ready"} | columns
        rows = [
            Cluster(cluster_id=f"id-{number}", name=f"cluster-{number}", **values)
            for number in itertools.islice(_numbers, count)
        ]
        return Cluster.objects.bulk_create(rows)

    return make


@pytest.fixture
def rule(db: None) -> Iterator[None]:
    """Somebody wants to hear of schedules."""
    channel = Channel.objects.create(name="mail", kind="webhook", enabled=True)
    kinds = [NoticeKind.SCHEDULE_SKIPPED.value, NoticeKind.SCHEDULE_STOPPED.value]
    Rule.objects.create(channel=channel, kinds=kinds)
    forget_rules()
    yield
    forget_rules()


def only_firing() -> Firing:
    return Firing.objects.select_related("schedule").get()


def busy(cluster: Cluster) -> None:
    Cluster.objects.filter(pk=cluster.pk).update(readiness="busy", checked_at=timezone.now())


# --- slots ---------------------------------------------------------------------------------------


def test_a_due_slot_makes_one_batch_with_the_permissions_of_its_owner(
    anna: User, project: Project, make_clusters: Make
) -> None:
    make_clusters(3)
    schedule = make_schedule(anna, project, due=JUST_NOW, reason="every night")
    slot = schedule.next_slot
    make_clusters(1)  # the filter is evaluated when it fires
    make_clusters(1, readiness="backup_off", checked_at=timezone.now())
    assert fire_due() == 1
    assert fire_due() == 0
    firing = only_firing()
    assert (firing.slot, firing.result, firing.note) == (slot, "fired", "")
    assert (firing.matched, firing.requested, firing.by_hand) == (5, 4, False)
    batch = firing.batch
    assert (batch.trigger, batch.requested_by, batch.reason) == (
        Trigger.SCHEDULE,
        anna,
        "every night",
    )
    schedule.refresh_from_db()
    assert slot is not None
    assert schedule.next_slot == slot + timedelta(days=1)
    event = AuditEvent.objects.get(action=Action.BATCH_REQUESTED)
    assert event.details["schedule"] == "nightly"
    advance()
    assert set(batch.items.values_list("run__trigger", flat=True)) == {None, Trigger.SCHEDULE}


def test_what_is_not_due_paused_or_deleted_does_not_fire(
    anna: User, project: Project, make_clusters: Make
) -> None:
    make_clusters()
    make_schedule(anna, project, due=-HOURS)
    make_schedule(anna, project, due=None)
    gone = make_schedule(anna, project, due=JUST_NOW)
    manage.delete(gone, user=anna, actor=Actor("anna"))
    assert fire_due() == 0
    assert not Firing.objects.exists()


def test_clusters_that_were_picked_by_hand(
    anna: User, project: Project, make_clusters: Make
) -> None:
    first, second, _third = make_clusters(3)
    make_schedule(anna, project, due=JUST_NOW, picked=[first.pk, second.pk, 10**9])
    fire_due()
    batch = Batch.objects.get()
    assert set(batch.items.values_list("cluster", flat=True)) == {first.pk, second.pk}


def test_a_night_without_workers_is_caught_up_once(
    anna: User, project: Project, make_clusters: Make
) -> None:
    make_clusters()
    schedule = make_schedule(anna, project, due=HOURS)
    five = make_schedule(anna, project, due=HOURS, interval=300, overlap=True, name="five")
    assert fire_due() == 2
    assert fire_due() == 0, "never a storm"
    firing = schedule.firings.get()
    assert (firing.result, Batch.objects.filter(firing=firing).count()) == ("caught_up", 1)
    firing = five.firings.get()
    assert "Also for slots since" in firing.note
    assert timezone.now() - firing.slot < timedelta(minutes=6), "the newest"
    for each in (schedule, five):
        each.refresh_from_db()
        assert each.next_at is not None
        assert each.next_at > timezone.now() - JUST_NOW


def test_a_night_without_workers_is_left_out_if_so_wished(
    anna: User, project: Project, make_clusters: Make, rule: None
) -> None:
    make_clusters()
    make_schedule(anna, project, due=HOURS, catch_up="none")
    assert fire_due() == 1
    firing = only_firing()
    assert (firing.result, Batch.objects.exists()) == ("skipped", False)
    assert "No worker was running" in firing.note
    notice = Notice.objects.get()
    assert (notice.kind, notice.project) == ("schedule_skipped", project)
    assert notice.facts["path"] == firing.schedule.get_absolute_url()


def test_a_clock_that_was_set_back_fires_no_slot_twice_and_stalls_nothing(
    anna: User, project: Project, make_clusters: Make
) -> None:
    make_clusters()
    now = timezone.now()
    # both were planned when the clock was seven hours ahead
    later = {"planned_at": now + HOURS}
    often = make_schedule(anna, project, due=-HOURS, interval=300, name="often", **later)
    cron = {"interval": 0, "cron": "*/5 * * * *"}
    clock = make_schedule(anna, project, due=-HOURS, name="clock", **later, **cron)
    base = now.replace(second=0, microsecond=0) - timedelta(minutes=now.minute % 5)
    fired = [base + timedelta(minutes=5 * n) for n in (1, 2)]
    for slot in fired:
        Firing.objects.create(schedule=clock, slot=slot, result="fired")
    fire_due()
    assert not often.firings.exists()
    for each, most in ((often, 5), (clock, 15)):
        each.refresh_from_db()
        assert each.next_at is not None
        assert now < each.next_at <= timezone.now() + timedelta(minutes=most)
    assert clock.next_slot not in fired
    # a slot that is planned again all the same is not fired again
    Schedule.objects.filter(pk=clock.pk).update(next_slot=F("planned_at"), next_at=F("planned_at"))
    clock.refresh_from_db()
    assert clock.next_slot is not None
    slot = base - timedelta(minutes=5)
    Firing.objects.create(schedule=clock, slot=slot, result="fired")
    Schedule.objects.filter(pk=clock.pk).update(next_slot=slot, next_at=slot)
    fire_due()
    slots = list(clock.firings.values_list("slot", flat=True))
    assert len(slots) == len(set(slots))


def test_jitter_is_the_same_for_a_slot_and_within_its_limit(
    anna: User, project: Project, make_clusters: Make
) -> None:
    make_clusters()
    schedule = make_schedule(anna, project, due=JUST_NOW, jitter=600)
    slot = timezone.now().replace(microsecond=0)
    found = {jitter(schedule, slot + timedelta(days=n)) for n in range(200)}
    assert max(found) <= timedelta(minutes=10)
    assert len(found) > 100
    assert jitter(schedule, slot) == jitter(schedule, slot)
    fire_due()
    schedule.refresh_from_db()
    assert schedule.next_slot is not None
    assert schedule.next_at == schedule.next_slot + jitter(schedule, schedule.next_slot)


def test_a_copied_database_fires_nothing(anna: User, project: Project, make_clusters: Make) -> None:
    make_clusters()
    make_schedule(anna, project, due=JUST_NOW)
    Instance.objects.update_or_create(pk=1, defaults={"uid": "0123456789abcdef", "adopted": False})
    assert fire_due() == 0
    Instance.objects.update(adopted=True)
    assert fire_due() == 1


def test_a_schedule_that_cannot_be_read_holds_up_no_other(
    anna: User, project: Project, make_clusters: Make
) -> None:
    make_clusters()
    broken = make_schedule(anna, project, due=HOURS, zone="Mars/Olympus", name="broken")
    make_schedule(anna, project, due=JUST_NOW)
    assert fire_due() == 2
    broken.refresh_from_db()
    assert not broken.is_on
    assert "cannot be computed (ZoneInfoNotFoundError)" in broken.stopped_reason
    assert only_firing().result == "fired"


def test_a_schedule_whose_row_is_locked_holds_up_no_other(
    anna: User, project: Project, make_clusters: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clusters()
    locked = make_schedule(anna, project, due=HOURS, name="locked")
    make_schedule(anna, project, due=JUST_NOW)
    fire = firing._fire_slot

    def wait_for_a_lock(pk: int, **more: Any) -> bool:
        if pk == locked.pk:
            raise OperationalError("canceling statement due to lock timeout")
        return fire(pk, **more)

    monkeypatch.setattr(firing, "_fire_slot", wait_for_a_lock)
    with pytest.raises(OperationalError, match="lock timeout"):
        fire_due()
    assert only_firing().schedule.name == "nightly"
    monkeypatch.undo()
    assert fire_due() == 1, "the next tick tries it again"


def test_a_failure_is_stored_and_the_next_slot_is_tried(
    anna: User, project: Project, make_clusters: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_args: Any, **_more: Any) -> None:
        raise RuntimeError("no such thing")

    make_clusters()
    make_schedule(anna, project, due=JUST_NOW)
    with monkeypatch.context() as patched:
        patched.setattr("backups.services.schedules.firing.make_batch", fails)
        assert fire_due() == 1
    firing = only_firing()
    assert (firing.result, firing.note) == (
        "failed",
        "RuntimeError: the worker's log has the details.",
    )
    assert firing.schedule.is_on
    assert firing.schedule.next_slot == firing.slot + timedelta(days=1)


@pytest.mark.django_db(transaction=True)
def test_tickers_at_the_same_moment_fire_once(
    anna: User, project: Project, make_clusters: Make
) -> None:
    make_clusters(2)
    schedules = [make_schedule(anna, project, due=JUST_NOW, name=f"s{n}") for n in range(3)]
    start = threading.Barrier(4)
    fired: list[int] = []

    def tick() -> None:
        try:
            start.wait(10)
            fired.append(fire_due())
        finally:
            connection.close()

    threads = [threading.Thread(target=tick) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(fired) == len(schedules)
    assert Firing.objects.count() == Batch.objects.count() == len(schedules)


DYING = """
import os, signal, django
django.setup()
from backups.services.schedules import firing
made = firing.make_batch
def die(*args, **more):
    made(*args, **more)
    os.kill(os.getpid(), signal.SIGKILL)
firing.make_batch = die
firing.fire_due()
"""


@pytest.mark.django_db(transaction=True)
def test_a_process_killed_between_claim_and_batch_leaves_nothing_half(
    anna: User, project: Project, make_clusters: Make
) -> None:
    make_clusters(2)
    schedule = make_schedule(anna, project, due=JUST_NOW)
    Instance.objects.all().delete()
    died = subprocess.run(
        [sys.executable, "-c", DYING],
        env={
            **os.environ,
            "DATABASE_URL": url_of_the_test_database(),
            "DATA_DIR": str(django_settings.DATA_DIR),
            "DJANGO_SETTINGS_MODULE": "dashboard.settings",
        },
        cwd=django_settings.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert not Firing.objects.exists()
    assert not Batch.objects.exists()
    unchanged = Schedule.objects.get()
    assert unchanged.next_at == schedule.next_at
    Instance.objects.all().delete()
    assert fire_due() == 1
    assert only_firing().batch.items.count() == 2


# --- the owner -----------------------------------------------------------------------------------


def _loses_its_role(anna: User) -> None:
    Grant.objects.filter(user=anna).delete()


def _becomes_a_viewer(anna: User) -> None:
    Grant.objects.filter(user=anna).update(role=Role.VIEWER)


def _is_deactivated(anna: User) -> None:
    User.objects.filter(pk=anna.pk).update(is_active=False)


def _is_deleted(anna: User) -> None:
    anna.delete()


@pytest.mark.parametrize(
    ("happens", "said"),
    [
        (_loses_its_role, "may no longer back up clusters of one of its projects."),
        (_becomes_a_viewer, "may no longer back up clusters of one of its projects."),
        (_is_deactivated, "was deactivated."),
        (_is_deleted, "was deleted."),
    ],
)
def test_a_schedule_stops_when_its_owner_may_not_back_up_any_more(
    happens: Callable[[User], None],
    said: str,
    anna: User,
    project: Project,
    make_clusters: Make,
    rule: None,
) -> None:
    make_clusters()
    schedule = make_schedule(anna, project, due=JUST_NOW)
    happens(anna)
    assert fire_due() == 1
    schedule.refresh_from_db()
    assert (schedule.is_on, schedule.next_at) == (False, None)
    assert schedule.stopped_reason.endswith(said)
    firing = only_firing()
    assert (firing.result, firing.note) == ("skipped", schedule.stopped_reason)
    assert not Batch.objects.exists()
    event = AuditEvent.objects.get(action=Action.SCHEDULE_STOPPED)
    assert (event.before["is_on"], event.after["is_on"]) == (True, False)
    assert event.reason == schedule.stopped_reason
    assert anna.get_username() not in event.reason, "names could not be masked there"
    assert NoticeKind.SCHEDULE_STOPPED in set(Notice.objects.values_list("kind", flat=True))
    assert fire_due() == 0


def test_a_role_lost_in_a_project_without_its_clusters_does_not_matter(
    anna: User, project: Project, make_clusters: Make
) -> None:
    make_clusters()
    other = Project.objects.create(cloud="otc", project_id="other")
    schedule = make_schedule(anna, project, other, due=JUST_NOW)
    fire_due()
    assert only_firing().result == "fired"
    assert list(schedule.projects.all()) == [project]


# --- what is not ready ---------------------------------------------------------------------------


def test_an_open_batch_of_the_last_firing_skips_this_one(
    anna: User, project: Project, make_clusters: Make, rule: None
) -> None:
    make_clusters(2)
    schedule = make_schedule(anna, project, due=JUST_NOW)
    fire_due()
    first = Batch.objects.get()
    slot = timezone.now() - JUST_NOW / 2
    Schedule.objects.update(next_slot=slot, next_at=slot)
    fire_due()
    skipped = schedule.firings.get(result="skipped")
    assert skipped.note == f"Batch {first.pk} of an earlier firing is still open."
    assert Notice.objects.get().facts["text"].endswith(skipped.note)
    slot = timezone.now() - JUST_NOW / 4
    Schedule.objects.update(next_slot=slot, next_at=slot, overlap=True, when_not_ready="anyway")
    fire_due()
    assert Batch.objects.count() == 2


@pytest.mark.parametrize("policy", ["skip", "wait", "anyway"])
def test_without_a_cluster_the_firing_is_skipped_and_says_so(
    policy: str, anna: User, project: Project, make_clusters: Make
) -> None:
    if policy != "anyway":
        make_clusters(2, readiness="backup_off", checked_at=timezone.now())
    make_schedule(anna, project, due=JUST_NOW, when_not_ready=policy, wait_minutes=5)
    fire_due()
    firing = only_firing()
    assert (firing.result, firing.requested) == ("skipped", 0)
    assert firing.note == (
        "No cluster matches its selection."
        if policy == "anyway"
        else "None of its 2 clusters can be backed up: Log backup is off (2)."
    )


def test_busy_clusters_wait_until_they_are_free_and_hold_up_no_other(
    anna: User, project: Project, make_clusters: Make
) -> None:
    occupied, running, *free = make_clusters(4)
    busy(occupied)
    other = request_backup(running, Requester("carl", Trigger.BUTTON)).run
    Ticker.objects.update_or_create(pk=1, defaults={"uptime": 1000.0})
    make_schedule(anna, project, due=JUST_NOW, when_not_ready="wait", wait_minutes=5)
    fire_due()
    batch = Batch.objects.get()
    assert only_firing().requested == 4

    def states() -> dict[int, str]:
        return dict(batch.items.values_list("cluster", "state"))

    for _ in range(3):
        advance()
    assert [states()[each.pk] for each in free] == [ItemState.STARTED] * 2
    assert [states()[each.pk] for each in (occupied, running)] == [ItemState.WAITING] * 2
    Cluster.objects.filter(pk=occupied.pk).update(readiness="ready")
    advance()
    assert states()[occupied.pk] == ItemState.STARTED
    # the bound is of the product's own clock: no step of the wall clock ends it
    Ticker.objects.update(uptime=1000.0 + 5 * 60 + 1)
    advance()
    item = batch.items.get(cluster=running)
    assert (item.state, item.cause, item.run) == (ItemState.STARTED, Cause.JOINED, other)


def test_after_the_bound_a_busy_cluster_is_skipped(
    anna: User, project: Project, make_clusters: Make
) -> None:
    [occupied] = make_clusters()
    busy(occupied)
    Ticker.objects.update_or_create(pk=1, defaults={"uptime": 1000.0})
    make_schedule(anna, project, due=JUST_NOW, when_not_ready="wait", wait_minutes=5)
    fire_due()
    item = Batch.objects.get().items.get()
    for uptime, state in ((1299.0, ItemState.WAITING), (1301.0, ItemState.SKIPPED)):
        Ticker.objects.update(uptime=uptime)
        advance()
        item.refresh_from_db()
        assert item.state == state
    assert item.cause == Cause.BUSY


def test_anyway_requests_what_would_probably_be_rejected(
    anna: User, project: Project, make_clusters: Make
) -> None:
    make_clusters(2, readiness="backup_off", checked_at=timezone.now())
    make_schedule(anna, project, due=JUST_NOW, when_not_ready="anyway")
    fire_due()
    advance()
    assert Batch.objects.get().items.filter(state=ItemState.STARTED).count() == 2


# --- by hand -------------------------------------------------------------------------------------


def test_run_now_fires_for_who_asks_and_leaves_the_timing(
    anna: User, project: Project, make_clusters: Make
) -> None:
    make_clusters(2)
    schedule = make_schedule(anna, project, due=None)
    carl = give(User.objects.create_user("carl"), Role.OPERATOR)
    firing = run_now(schedule, carl, Requester("carl", Trigger.SCHEDULE, user=carl))
    assert (firing.result, firing.by_hand, firing.by_name) == ("fired", True, "carl")
    assert firing.batch.requested_by == carl
    schedule.refresh_from_db()
    assert (schedule.is_on, schedule.next_at) == (False, None)
    again = run_now(schedule, carl, Requester("carl", Trigger.SCHEDULE, user=carl))
    assert (again.result, again.note) == (
        "skipped",
        f"Batch {firing.batch.pk} of an earlier firing is still open.",
    )


def test_run_now_by_somebody_who_may_do_more_adds_no_cluster(
    anna: User, project: Project, make_clusters: Make
) -> None:
    make_clusters(2)
    make_clusters(3, project=Project.objects.create(cloud="otc", project_id="elsewhere"))
    schedule = make_schedule(anna, project, due=-HOURS)
    root = User.objects.create_superuser("root")
    firing = run_now(schedule, root, Requester("root", Trigger.SCHEDULE, user=root))
    assert firing.batch.items.count() == 2
    assert list(schedule.projects.all()) == [project]


def test_an_operator_of_one_of_its_projects_cannot_run_it(
    anna: User, project: Project, make_clusters: Make
) -> None:
    make_clusters()
    hidden = Project.objects.create(cloud="otc", project_id="hidden", name="hidden")
    make_clusters(1, project=hidden)
    schedule = make_schedule(anna, project, hidden, due=-HOURS)
    carl = give(User.objects.create_user("carl"), Role.OPERATOR, project=project)
    with pytest.raises(RoleRequired) as refused:
        manage.require_run(carl, schedule)
    assert "hidden" not in str(refused.value)


def test_the_report_has_no_batch_of_a_slot_among_what_was_done_by_hand(
    anna: User, project: Project, make_clusters: Make
) -> None:
    make_clusters()
    schedule = make_schedule(anna, project, due=JUST_NOW, overlap=True)
    assert fire_due() == 1
    asks = Requester("anna", Trigger.SCHEDULE, user=anna, request_id="r1")
    by_hand = run_now(schedule, anna, asks)
    root = User.objects.create_superuser("root")
    now = timezone.now()
    trail = trail_of(root, None, now - HOURS, now + HOURS)
    assert trail is not None
    (event,) = [each for each in trail.events if each.action == Action.BATCH_REQUESTED]
    assert event.target_id == str(by_hand.batch.pk)


def test_a_change_of_the_name_does_not_lose_a_slot_that_is_due(
    anna: User, project: Project, make_clusters: Make
) -> None:
    make_clusters()
    schedule = make_schedule(anna, project, due=JUST_NOW)
    slot = schedule.next_slot
    schedule = manage.save(schedule, {"name": "new"}, anna, Actor("anna"))
    assert schedule.next_slot == slot
    schedule = manage.save(schedule, {"interval": 600}, anna, Actor("anna"))
    assert schedule.next_slot != slot


def test_who_saves_a_schedule_needs_the_role_in_all_of_its_projects(
    anna: User, project: Project, make_clusters: Make
) -> None:
    make_clusters()
    seen = Project.objects.create(cloud="otc", project_id="seen", name="seen")
    make_clusters(1, project=seen)
    hidden = Project.objects.create(cloud="otc", project_id="hidden", name="hidden")
    make_clusters(1, project=hidden)
    values = {"name": "all", "cron": "30 2 * * *", "zone": "UTC", "query": "show=present"}
    schedule = manage.save(Schedule(), values, anna, Actor("anna"))
    assert list(schedule.projects.all()) == [project], "what is not seen is not selected"
    give(anna, Role.VIEWER, project=seen)
    with pytest.raises(RoleRequired, match="seen"):
        manage.save(Schedule(), values, anna, Actor("anna"))
    assert Schedule.objects.count() == 1


def test_who_changes_it_becomes_its_owner(
    anna: User, project: Project, make_clusters: Make
) -> None:
    make_clusters()
    schedule = make_schedule(anna, project, due=-HOURS)
    carl = give(User.objects.create_user("carl"), Role.OPERATOR)
    with pytest.raises(RoleRequired):
        manage.save(schedule, {"name": "mine"}, carl, Actor("carl"))
    give(carl, Role.ADMIN, project=project)
    saved = manage.save(
        schedule, {"name": "mine"}, carl, Actor("carl"), ping_url="https://hc.example/1"
    )
    assert (saved.owner, saved.owner_name, saved.anchor) == (carl, "carl", schedule.anchor)
    event = AuditEvent.objects.get(action=Action.SCHEDULE_CHANGED)
    assert (event.before["name"], event.after["name"]) == ("nightly", "mine")
    assert event.actor_name == "carl", "the owner from then on"
    assert anna.get_username() not in f"{event.before}{event.after}"
    assert (event.before["ping"], event.after["ping"]) == (False, True)
    assert "hc.example" not in str(event.after)
    with pytest.raises(manage.ScheduleProblem, match="has changed"):
        manage.save(schedule, {"name": "late"}, carl, Actor("carl"))


# --- pings ---------------------------------------------------------------------------------------


def verify_all(batch: Batch) -> None:
    advance()
    for item in batch.items.exclude(run=None):
        run = item.run
        assert run is not None
        type(run).objects.filter(pk=run.pk).update(state=RunState.SUCCEEDED)
    advance()


def test_a_batch_that_ended_well_is_pinged_and_others_are_pinged_as_failed(
    anna: User, project: Project, make_clusters: Make
) -> None:
    make_clusters(2)
    url = "https://hc.example/ping/secret"
    make_schedule(anna, project, due=JUST_NOW, ping_sealed=encrypt(url))
    fire_due()
    assert queue_due() == 0, "not before its batch has ended"
    verify_all(Batch.objects.get())
    assert (queue_due(), queue_due()) == (1, 0)
    ping = Delivery.objects.get()
    assert (ping.kind, ping.title, ping.body) == (NoticeKind.PING, "", "")
    assert decrypt(ping.sealed).reveal() == url
    assert "hc.example" not in ping.sealed + Schedule.objects.get().ping_sealed
    # a cluster that was left out is no success
    make_clusters(1, readiness="backup_off", checked_at=timezone.now())
    slot = timezone.now() - JUST_NOW / 2
    Schedule.objects.update(next_slot=slot, next_at=slot)
    fire_due()
    verify_all(Batch.objects.order_by("-pk")[0])
    queue_due()
    newest = Delivery.objects.order_by("-pk")[0]
    assert (newest.title, newest.body) == ("fail", "1 of 3 clusters not verified.")


def test_a_skipped_firing_is_pinged_as_failed_at_once(
    anna: User, project: Project, db: None
) -> None:
    make_schedule(anna, project, due=JUST_NOW, ping_sealed=encrypt("https://hc.example/1"))
    fire_due()
    queue_due()
    ping = Delivery.objects.get()
    assert (ping.title, ping.body) == ("fail", "No cluster matches its selection.")
