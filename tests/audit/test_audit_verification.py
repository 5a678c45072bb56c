"""Verification of the chain: tampering is found; masking and pruning keep it intact."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone

from dashboard.audit import tasks, verification
from dashboard.audit.guards import GUARDS
from dashboard.audit.hashing import read_rows
from dashboard.audit.models import AuditEvent, EmittedHead, Verification
from dashboard.audit.trail import ChainLink
from dashboard.audit.verification import request_verification, run_verification, verify_chain
from tests.audit.conftest import KEEPER, Clock, MakeEvents, Tamper, verified
from tests.audit_retention import mask, prune

pytestmark = pytest.mark.django_db


def test_an_untouched_chain_is_intact_and_its_range_is_told(
    make_events: MakeEvents, small_chunks: None
) -> None:
    made = make_events(7)
    done = verified()
    assert (done.result, done.first, done.last, done.events) == ("intact", 1, 7, 7)
    assert (done.head, done.broken_at, done.guards_missing) == (made[-1].hash, None, "")


def test_an_empty_trail_is_intact() -> None:
    done = verified()
    assert (done.result, done.events, done.head) == ("intact", 0, "")


@pytest.mark.parametrize(
    ("sql", "broken_at"),
    [
        ("UPDATE audit_event SET reason = 'x' WHERE sequence = 3", 3),
        ("UPDATE audit_event SET action = 'sign_in' WHERE sequence = 3", 3),
        ("UPDATE audit_event SET before = '{\"days\": 8}' WHERE sequence = 1", 1),
        ("UPDATE audit_event SET before = NULL WHERE sequence = 1", 1),
        ("UPDATE audit_event SET at = '2020-01-01 00:00:00+00:00' WHERE sequence = 3", 3),
        ("UPDATE audit_event SET target_label = 'x' WHERE sequence = 3", 3),
        ("UPDATE audit_event SET project_id = 9 WHERE sequence = 3", 3),
        ("UPDATE audit_event SET actor_name = 'eve' WHERE sequence = 3", 3),
        ("UPDATE audit_event SET actor_user_id = NULL WHERE sequence = 3", 3),
        ("UPDATE audit_event SET ip = '' WHERE sequence = 3", 3),
        ("UPDATE audit_event SET salt = '' WHERE sequence = 3", 3),
        ("UPDATE audit_event SET masked_by = 5 WHERE sequence = 3", 3),
        ("UPDATE audit_event SET hash = previous_hash WHERE sequence = 3", 3),
        ("DELETE FROM audit_event WHERE sequence = 3", 3),
        ("DELETE FROM audit_event WHERE sequence < 3", 1),
        ("DELETE FROM audit_event WHERE sequence IN (2, 3, 4)", 2),
        ("UPDATE audit_event SET sequence = 99 WHERE sequence = 5", 5),
    ],
)
def test_tampering_is_found_where_it_was_done(
    make_events: MakeEvents, tamper: Tamper, small_chunks: None, sql: str, broken_at: int
) -> None:
    make_events(5)
    tamper(sql)
    done = verified()
    assert (done.result, done.broken_at) == ("broken", broken_at)
    assert done.problem
    assert done.last == broken_at - 1


def test_a_rehashed_event_does_not_fit_the_one_behind_it(
    make_events: MakeEvents, tamper: Tamper
) -> None:
    make_events(3)
    event = AuditEvent.objects.get(pk=2)
    event.reason = "forged"
    tamper(
        "UPDATE audit_event SET reason = %s, hash = %s WHERE sequence = 2",
        event.reason,
        event.content_hash(),
    )
    assert verify_chain().broken_at == 3


def test_events_cut_off_at_the_end_are_missed_since_the_last_verification(
    make_events: MakeEvents, tamper: Tamper
) -> None:
    make_events(5)
    assert verified().result == "intact"
    tamper("DELETE FROM audit_event WHERE sequence > 3")
    make_events(1)
    done = verified()
    assert (done.result, done.broken_at) == ("broken", 5)
    tamper("DELETE FROM audit_event")
    done = verified()
    assert (done.result, done.broken_at, done.events) == ("broken", 1, 0)


def test_a_chain_made_anew_is_found_by_a_head_that_was_kept(
    make_events: MakeEvents, tamper: Tamper
) -> None:
    kept = [ChainLink(event.sequence, event.hash) for event in make_events(3)]
    assert verify_chain(kept).broken_at is None
    tamper("DELETE FROM audit_event")
    make_events(3, reason="another story")
    assert verify_chain().broken_at is None
    assert verify_chain([kept[1]]).broken_at == 2


def test_two_requests_are_one_verification(make_events: MakeEvents) -> None:
    make_events(1)
    first = request_verification()
    assert request_verification() == first
    assert run_verification(first)
    assert not run_verification(Verification.objects.get(pk=first.pk))
    assert request_verification() != first


def test_a_verification_that_died_is_done_again(make_events: MakeEvents) -> None:
    make_events(1)
    asked = request_verification()
    died = timezone.now() - timedelta(minutes=59)
    Verification.objects.filter(pk=asked.pk).update(started_at=died)
    assert not run_verification(asked)
    Verification.objects.filter(pk=asked.pk).update(started_at=died - timedelta(minutes=2))
    assert run_verification(asked)
    assert asked.result == "intact"


def test_old_verifications_go_and_the_last_intact_one_stays(
    make_events: MakeEvents, tamper: Tamper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "KEEP", 2)
    make_events(3)
    intact = verified()
    tamper("DELETE FROM audit_event WHERE sequence = 3")
    broken = [verified() for _ in range(4)]
    assert {each.result for each in broken} == {"broken"}
    kept = set(Verification.objects.values_list("pk", flat=True))
    assert kept == {intact.pk, broken[2].pk, broken[3].pk}


def test_the_command_prints_range_and_head(make_events: MakeEvents) -> None:
    last = make_events(3)[-1]
    out = StringIO()
    call_command("audit_verify", head=[ChainLink(3, last.hash)], stdout=out)
    assert out.getvalue() == f"events 1 to 3 are intact (3), head 3:{last.hash}\n"


@pytest.mark.parametrize("stored", [False, True], ids=["never verified", "verified before"])
@pytest.mark.parametrize("right_one", ["none", "before", "after"])
@pytest.mark.parametrize("number", [1, 3, 4])
def test_a_wrong_head_is_found_whatever_else_is_known_of_its_number(
    make_events: MakeEvents, stored: bool, right_one: str, number: int
) -> None:
    hashes = {event.sequence: event.hash for event in make_events(3)}
    if stored:
        verified()
    wrong, right = [f"{number}:{'a' * 64}"], []
    if right_one != "none" and number in hashes:
        right = [f"{number}:{hashes[number]}"]
    heads = right + wrong if right_one == "before" else wrong + right
    given = [part for each in heads for part in ("--head", each)]
    with pytest.raises(CommandError, match=f"broken at event {number}") as raised:
        call_command("audit_verify", *given, stdout=StringIO())
    assert raised.value.returncode == 1


def test_a_head_before_the_first_event_is_compared_or_told(
    make_events: MakeEvents, clock: Clock
) -> None:
    hashes = [event.hash for event in make_events(2)]
    between = clock.between()
    make_events(2)
    prune(between, actor=KEEPER)
    call_command("audit_verify", "--head", f"2:{hashes[1]}", stdout=StringIO())
    with pytest.raises(CommandError, match="broken at event 2") as raised:
        call_command("audit_verify", "--head", f"2:{'a' * 64}", stdout=StringIO())
    assert raised.value.returncode == 1
    with pytest.raises(CommandError, match=r"cannot be checked.*: 1$") as raised:
        call_command("audit_verify", "--head", f"1:{hashes[0]}", stdout=StringIO())
    assert raised.value.returncode == 5


@pytest.mark.parametrize(
    ("harm", "status", "words"),
    [
        ("DELETE FROM audit_event WHERE sequence = 2", 1, "broken at event 2"),
        ("UPDATE audit_verification SET result = 'waiting', started_at = %s", 3, "another process"),
    ],
)
def test_the_command_ends_with_a_status_that_tells(
    make_events: MakeEvents, tamper: Tamper, harm: str, status: int, words: str
) -> None:
    make_events(3)
    verified()
    tamper(harm, *([timezone.now()] if "%s" in harm else []))
    with pytest.raises(CommandError, match=words) as raised:
        call_command("audit_verify", stdout=StringIO())
    assert raised.value.returncode == status


def test_the_command_tells_a_missing_trigger(make_events: MakeEvents) -> None:
    make_events(1)
    with transaction.atomic():
        GUARDS.remove(connection)
        with pytest.raises(CommandError, match="audit_event_mask"):
            call_command("audit_verify", stdout=StringIO())
        assert "audit_event_mask" in Verification.objects.latest("pk").guards_missing
        transaction.set_rollback(True)
    assert GUARDS.missing(connection) == set()


def test_the_command_refuses_what_is_no_head() -> None:
    with pytest.raises(CommandError, match="NUMBER:HASH"):
        call_command("audit_verify", "--head", "12")


def test_the_head_is_written_to_the_log(
    make_events: MakeEvents, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "dashboard.audit.tasks"):
        tasks.emit_head()
        assert caplog.messages == []
        last = make_events(2)[-1]
        tasks.emit_head()
    (line,) = caplog.messages
    assert line.startswith(f"audit head 2:{last.hash} 20")


@pytest.mark.parametrize(
    ("ago", "due"), [(None, True), (59, False), (61, True), (-7 * 60, True), (-30, False)]
)
def test_a_head_is_due_by_the_last_time_in_the_database(
    make_events: MakeEvents, caplog: pytest.LogCaptureFixture, ago: int | None, due: bool
) -> None:
    """Minutes ago, or ahead where the clock was wrong; AUDIT_HEAD_INTERVAL is an hour."""
    make_events(1)
    if ago is not None:
        at = timezone.now() - timedelta(minutes=ago)
        EmittedHead.objects.create(pk=1, at=at, sequence=1)
    with caplog.at_level(logging.INFO, "dashboard.audit.tasks"):
        tasks.emit_head_when_due()
        tasks.emit_head_when_due()
    assert len(caplog.messages) == due


def test_a_break_is_an_error_in_the_log(
    make_events: MakeEvents, tamper: Tamper, caplog: pytest.LogCaptureFixture
) -> None:
    make_events(2)
    tamper("UPDATE audit_event SET reason = 'x' WHERE sequence = 2")
    tasks.verify()
    assert "audit trail broken at event 2" in caplog.text


def periodic_tasks(**environment: str) -> dict[str, Any]:
    """The ticker's schedule of a process started in an environment."""
    script = (
        "import json; from dashboard.settings import PERIODIC_TASKS as plan; "
        "print(json.dumps(plan))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **environment},
        cwd=settings.BASE_DIR,
        capture_output=True,
        check=True,
    )
    plan: dict[str, Any] = json.loads(printed.stdout)
    return plan


def test_head_and_verification_are_planned_and_can_be_left_out() -> None:
    plan = periodic_tasks()
    # checks every minute whether AUDIT_HEAD_INTERVAL is over, likewise
    assert plan["audit-head"] == ["dashboard.audit.tasks.emit_head_when_due", 60]
    # checks hourly whether AUDIT_VERIFY_INTERVAL is over, also across restarts
    assert plan["audit-verify"] == ["dashboard.audit.tasks.verify_when_due", 3600]
    off = periodic_tasks(AUDIT_HEAD_INTERVAL="0", AUDIT_VERIFY_INTERVAL="0")
    assert [name for name in off if name.startswith("audit")] == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("ended", "due"),
    [
        (None, True),
        (timedelta(hours=-1), False),
        (timedelta(hours=-25), True),
        (timedelta(hours=7), False),  # the clock has been set back by seven hours
        (timedelta(days=300), True),  # the clock was wrong then: do not wait for 300 days
    ],
)
def test_a_verification_is_due_a_day_after_the_last_one(
    ended: timedelta | None, due: bool, settings: Any
) -> None:
    settings.AUDIT_VERIFY_INTERVAL = 86_400.0
    if ended is not None:
        at = timezone.now() + ended
        Verification.objects.create(
            requested_at=at, started_at=at, finished_at=at, result="intact", first=1, last=1
        )
    before = Verification.objects.count()
    tasks.verify_when_due()
    assert Verification.objects.count() - before == due


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"reason": 'größer "x" \\ \U0001f600\n', "after": {"b": [1, None, True], "a": {"ü": "\t"}}},
        {"before": None, "details": {"number": -(2**53) + 1, "at": timezone.now()}},
        {"person": True},
    ],
)
def test_a_row_is_hashed_like_its_event(
    make_events: MakeEvents, anna: Any, clock: Clock, fields: dict[str, Any]
) -> None:
    if fields.pop("person", False):
        fields = {"target": anna, "project": None, "target_label": "anna ü"}
    make_events(1, **fields)
    for _masked in (False, True):
        event = AuditEvent.objects.get(sequence=1)
        (hashes,) = read_rows(0, 1, 2)
        assert hashes.content_hash == event.content_hash() == event.hash == hashes.hash
        assert hashes.personal_digest == ("" if event.is_masked else event.personal_digest())
        assert hashes.has_personal == (any(event.personal_part().values()) or bool(event.salt))
        mask(clock.between(), actor=KEEPER)
