"""Masking and pruning keep the chain intact and are recorded in it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from dashboard.accounts.models import User
from dashboard.audit import retention, trail, verification
from dashboard.audit.models import Action, Anchor, AuditEvent, Verification
from dashboard.audit.trail import Actor
from dashboard.audit.verification import verify_chain
from dashboard.db import triggers
from dashboard.members.recording import not_recorded
from tests import audit_retention
from tests.audit.conftest import KEEPER, Clock, MakeEvents, Tamper, soon, verified
from tests.audit_guards import guards_lifted

pytestmark = pytest.mark.django_db


def test_masking_takes_everything_personal_and_keeps_the_chain(
    make_events: MakeEvents, anna: User, actor: Actor, clock: Clock, small_chunks: None
) -> None:
    make_events(3)
    trail.record(Action.GRANT_ADDED, actor=actor, target=anna)
    hashes = list(AuditEvent.objects.values_list("hash", flat=True))
    before = clock.between()
    assert retention.maskable(before) == 4
    assert audit_retention.mask(before, actor=KEEPER, reason="90 days") == 4
    done = verified()
    assert (done.result, done.last) == ("intact", 5)
    told = AuditEvent.objects.get(pk=5)
    assert (told.action, told.details["events"] if told.details else 0) == (
        "personal_data_masked",
        4,
    )
    masked = AuditEvent.objects.filter(masked_by=5)
    assert list(masked.values_list("hash", flat=True)) == hashes
    for row in masked.values():
        assert "anna" not in str(row)
        assert "192.0.2.7" not in str(row)
        assert "Firefox" not in str(row)
        assert (row["salt"], row["actor_user_id"]) == ("", None)
    labels = list(masked.order_by("sequence").values_list("target_label", flat=True))
    assert labels == ["prod-logs"] * 3 + [""]
    assert audit_retention.mask(before, actor=KEEPER) == 0


def test_masking_one_person_leaves_the_others(make_events: MakeEvents, anna: User) -> None:
    with not_recorded():
        ben = User.objects.create_user("ben")
    make_events(1)
    by_ben = make_events(1, actor=Actor("ben", ben))
    about_ben = make_events(1, action=Action.GRANT_ADDED, target=ben)
    assert audit_retention.mask(soon(), actor=KEEPER, person=ben) == 2
    masked = set(AuditEvent.objects.filter(masked_by=4).values_list("pk", flat=True))
    assert masked == {by_ben[0].pk, about_ben[0].pk}
    assert "ben" not in str(AuditEvent.objects.get(pk=4).__dict__)
    assert verify_chain().broken_at is None


def test_masking_that_no_event_tells_of_is_found(make_events: MakeEvents, tamper: Tamper) -> None:
    make_events(3)
    tamper(
        "UPDATE audit_event SET actor_name = '', actor_user_id = NULL, ip = '', user_agent = '', "
        "salt = '', masked_by = 3 WHERE sequence = 2"
    )
    reading = verify_chain()
    assert (reading.broken_at, reading.last) == (2, 3)


def test_masking_more_than_the_event_tells_of_is_found(
    make_events: MakeEvents, clock: Clock
) -> None:
    """The triggers allow it, since an event records masking; but the number does not match."""
    make_events(2)
    limit = clock.between()
    make_events(1)
    assert audit_retention.mask(limit, actor=KEEPER) == 2
    assert verify_chain().broken_at is None
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE audit_event SET actor_name = '', actor_user_id = NULL, ip = '', "
            "user_agent = '', salt = '', masked_by = 4 WHERE sequence = 3"
        )
    reading = verify_chain()
    assert (reading.broken_at, reading.last) == (1, 4)
    assert "More events are masked" in reading.problem


def test_pruning_deletes_a_prefix_that_stays_verifiable(
    make_events: MakeEvents, clock: Clock, small_chunks: None
) -> None:
    make_events(5)
    last = AuditEvent.objects.get(pk=5)
    limit = clock.between()
    make_events(3)
    found = retention.prunable(limit)
    assert (found.events, found.first, found.last, found.hash) == (5, 1, 5, last.hash)
    assert AuditEvent.objects.count() == 8
    assert audit_retention.prune(limit, actor=KEEPER, reason="two years") == 5
    assert list(AuditEvent.objects.order_by("pk").values_list("pk", flat=True)) == [6, 7, 8, 9]
    run = AuditEvent.objects.get(pk=9)
    assert (run.action, run.reason) == ("retention_run", "two years")
    assert run.details is not None
    assert (run.details["events"], run.details["hash"]) == (5, last.hash)
    done = verified()
    assert (done.result, done.first, done.last) == ("intact", 6, 9)
    assert audit_retention.prune(limit, actor=KEEPER) == 0
    assert AuditEvent.objects.count() == 4


def test_pruning_again_and_pruning_everything_keep_the_chain(make_events: MakeEvents) -> None:
    make_events(2)
    assert audit_retention.prune(soon(), actor=KEEPER) == 2
    make_events(2)
    assert audit_retention.prune(soon(), actor=KEEPER) == 3
    assert Anchor.objects.count() == 2
    assert trail.beginning().sequence == 5
    assert make_events(1)[0].sequence == 7
    assert verified().result == "intact"


def test_an_interrupted_pruning_is_finished_by_the_next(
    make_events: MakeEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_events(4)
    with monkeypatch.context() as patch:
        patch.setattr(audit_retention, "delete_anchored", lambda: None)
        assert audit_retention.prune(soon(), actor=KEEPER) == 4
    assert AuditEvent.objects.count() == 5
    assert verified().result == "intact"
    assert audit_retention.prune(timezone.now() - timedelta(days=1), actor=KEEPER) == 0
    assert AuditEvent.objects.count() == 1


def test_a_clock_that_was_ahead_does_not_let_later_events_go(
    make_events: MakeEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Event 2 has a time in the future: it and all later events stay."""
    make_events(1)
    with monkeypatch.context() as patch:
        ahead = timezone.now() + timedelta(days=365)
        patch.setattr(trail, "now", lambda: ahead)
        make_events(1)
    make_events(1)
    assert retention.prunable(soon()).events == 1


def test_pruning_while_the_chain_is_read_is_no_break(
    make_events: MakeEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_events(6)
    limit = soon()
    monkeypatch.setattr(verification, "CHUNK", 2)
    problem_of, calls = verification._problem, []

    def prune_meanwhile(event: AuditEvent, *others: Any) -> str:
        calls.append(event.sequence)
        if len(calls) == 2:
            audit_retention.prune(limit, actor=KEEPER)
            make_events(2)
        return problem_of(event, *others)

    monkeypatch.setattr(verification, "_problem", prune_meanwhile)
    reading = verify_chain()
    assert reading.broken_at is None
    assert calls == [1, 2]
    assert verify_chain().events == 3


def test_an_anchor_that_no_retention_run_tells_of_is_found(
    make_events: MakeEvents, tamper: Tamper
) -> None:
    make_events(4)
    old = AuditEvent.objects.get(pk=2)
    tamper(
        "INSERT INTO audit_anchor (sequence, hash, at, recorded_by) VALUES (2, %s, %s, 4)",
        old.hash,
        old.at,
    )
    tamper("DELETE FROM audit_event WHERE sequence < 3")
    assert verify_chain().broken_at == 3


@pytest.mark.django_db(transaction=True)
def test_a_trail_can_be_carried_to_another_database(
    make_events: MakeEvents, clock: Clock, tmp_path: Path
) -> None:
    """With dumpdata and load_dump, as in docs/operations.md; here into the same database."""
    odd = {"text": "größer \U0001f600", "number": 2**53 - 1, "none": None, "list": [1, {"a": True}]}
    make_events(2)
    limit = clock.between()
    make_events(3, details=odd, before=odd)
    audit_retention.mask(clock.between(), actor=KEEPER)
    audit_retention.prune(limit, actor=KEEPER)
    hashes = list(AuditEvent.objects.values_list("hash", flat=True))
    path = tmp_path / "audit.json"
    call_command("dumpdata", "audit", output=str(path), verbosity=0)
    with pytest.raises(CommandError, match="not empty: audit_anchor, audit_event") as refused:
        call_command("load_dump", str(path), verbosity=0)
    assert refused.value.returncode == 2
    with guards_lifted():
        for model in (AuditEvent, Anchor, Verification):
            model.objects.all().delete()
    call_command("load_dump", str(path), verbosity=0)
    assert list(AuditEvent.objects.values_list("hash", flat=True)) == hashes
    done = verified()
    assert (done.result, done.first, done.last, done.guards_missing) == ("intact", 3, 7, "")


@pytest.mark.django_db(transaction=True)
def test_a_dump_that_cannot_be_loaded_leaves_the_database_empty_and_guarded(
    make_events: MakeEvents, tmp_path: Path
) -> None:
    make_events(2)
    path = tmp_path / "audit.json"
    call_command("dumpdata", "audit", output=str(path), verbosity=0)
    rows = json.loads(path.read_text())
    path.write_text(json.dumps([*rows, {**rows[0], "model": "audit.unknown"}]))
    with guards_lifted():
        AuditEvent.objects.all().delete()
    with pytest.raises(CommandError, match="unusable"):
        call_command("load_dump", str(path), verbosity=0)
    assert not AuditEvent.objects.exists()
    assert triggers.missing(connection) == set()
    with pytest.raises(CommandError, match="is not a file"):
        call_command("load_dump", str(tmp_path / "missing.json"), verbosity=0)
