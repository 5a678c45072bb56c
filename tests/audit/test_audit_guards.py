"""The database itself prevents changes of the trail."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, models, transaction
from django.utils import timezone

from dashboard.audit import trail
from dashboard.audit.guards import GUARDS
from dashboard.audit.models import Action, Anchor, AuditEvent
from dashboard.audit.trail import Actor
from dashboard.audit.verification import verify_chain
from tests import audit_retention
from tests.audit.conftest import MakeEvents, Tamper

pytestmark = pytest.mark.django_db
LATER = timedelta(days=1)
POSTGRES = "postgresql"


def refuses(sql: str, *parameters: Any) -> bool:
    """Return whether our triggers reject a statement."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql, parameters)
    except DatabaseError as error:
        if "append-only" not in str(error):
            raise
        return True
    return False


def test_the_guards_are_there_after_migrating() -> None:
    assert GUARDS.missing(connection) == set()


def test_a_trigger_that_was_taken_away_or_switched_off_is_missed() -> None:
    with connection.cursor() as cursor:
        if connection.vendor == POSTGRES:
            cursor.execute("ALTER TABLE audit_event DISABLE TRIGGER audit_event_mask")
            cursor.execute("DROP TRIGGER audit_event_prune ON audit_event")
        else:
            cursor.execute("DROP TRIGGER audit_event_mask")
            cursor.execute("DROP TRIGGER audit_event_prune")
    assert GUARDS.missing(connection) == {"audit_event_mask", "audit_event_prune"}
    call_command("migrate", "audit", verbosity=0)
    assert GUARDS.missing(connection) == set()


NEW_VALUES = {
    "BigIntegerField": 99,
    "PositiveSmallIntegerField": 99,
    "BooleanField": True,
    "JSONField": "{}",
    "DateTimeField": "2020-01-01 00:00:00+00:00",
    "CharField": "x",
}


@pytest.mark.parametrize("field", AuditEvent._meta.concrete_fields, ids=lambda field: field.column)
def test_no_column_of_an_event_can_be_changed(
    make_events: MakeEvents, field: models.Field[Any, Any]
) -> None:
    make_events(2)
    change = f"UPDATE audit_event SET {field.column} = %s WHERE sequence = 2"
    assert refuses(change, NEW_VALUES[field.get_internal_type()])


def test_no_event_can_be_deleted_or_replaced(make_events: MakeEvents) -> None:
    make_events(3)
    assert refuses("DELETE FROM audit_event WHERE sequence = 1")
    assert refuses("DELETE FROM audit_event")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        AuditEvent.objects.all().delete()
    columns = ", ".join(field.column for field in AuditEvent._meta.concrete_fields)
    if connection.vendor == POSTGRES:
        assert refuses("TRUNCATE audit_event")
        assert refuses("TRUNCATE audit_event, audit_anchor CASCADE")
        assert refuses("TRUNCATE audit_anchor")
    else:  # REPLACE deletes without running delete triggers
        copy = columns.replace("sequence", "2").replace("reason", "'x'")
        assert refuses(
            f"INSERT OR REPLACE INTO audit_event ({columns}) "
            f"SELECT {copy} FROM audit_event WHERE sequence = 3"
        )
        assert refuses("UPDATE OR REPLACE audit_event SET sequence = 2 WHERE sequence = 3")
    assert AuditEvent.objects.count() == 3


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": 2, "previous_hash": "{first}"},
        {"sequence": 5},
        {"sequence": 4, "previous_hash": "f" * 64},
        {"sequence": 0, "previous_hash": "0" * 64},
        {"sequence": 4, "masked_by": 3},
    ],
)
def test_only_the_next_link_is_accepted(make_events: MakeEvents, change: dict[str, Any]) -> None:
    first, _second, third = make_events(3)
    event = AuditEvent.objects.get(pk=3)
    event.previous_hash = third.hash
    for name, value in change.items():
        setattr(event, name, first.hash if value == "{first}" else value)
    with pytest.raises(DatabaseError), transaction.atomic():
        event.save(force_insert=True)
    assert AuditEvent.objects.count() == 3


EMPTIED = (
    "actor_name = '', actor_user_id = NULL, ip = '', user_agent = '', salt = '', masked_by = %s"
)


@pytest.mark.parametrize(
    "more",
    [
        "",  # no event records it
        ", reason = 'x'",
        ", hash = 'x'",
        ", personal = 'x'",
        ", target_label = ''",
    ],
)
def test_masking_is_refused_with_anything_beside_it(
    make_events: MakeEvents, actor: Actor, more: str
) -> None:
    make_events(2)
    told = trail.record(
        Action.PERSONAL_DATA_MASKED if more else Action.RETENTION_RUN, actor=actor
    ).sequence
    assert refuses(f"UPDATE audit_event SET {EMPTIED}{more} WHERE sequence = 1", told)


def test_masking_half_masking_later_ones_and_masking_twice_are_refused(
    make_events: MakeEvents, actor: Actor
) -> None:
    make_events(1)
    told = trail.record(Action.PERSONAL_DATA_MASKED, actor=actor).sequence
    make_events(1)
    mask = f"UPDATE audit_event SET {EMPTIED} WHERE sequence = %s"
    assert refuses(mask.replace("salt = ''", "salt = 'x'"), told, 1)
    assert refuses(mask.replace("actor_name = ''", "actor_name = 'eve'"), told, 1)
    assert refuses(mask, told, 3)
    assert not refuses(mask, told, 1)
    assert refuses(mask, told, 1)
    assert refuses("UPDATE audit_event SET actor_name = 'eve' WHERE sequence = 1")


def test_an_anchor_needs_its_event_its_hash_and_a_retention_run(
    make_events: MakeEvents, actor: Actor
) -> None:
    events = make_events(3)
    run = trail.record(Action.RETENTION_RUN, actor=actor)
    other = make_events(1)[0]
    insert = "INSERT INTO audit_anchor (sequence, hash, at, recorded_by) VALUES (%s, %s, %s, %s)"
    right = events[1]
    assert refuses(insert, 2, "f" * 64, right.at, run.sequence)
    assert refuses(insert, 99, right.hash, right.at, run.sequence)
    assert refuses(insert, 2, right.hash, timezone.now(), run.sequence)
    assert refuses(insert, 2, right.hash, right.at, other.sequence)
    assert refuses(insert, other.sequence, other.hash, other.at, run.sequence)
    assert Anchor.objects.count() == 0


def test_a_temporary_table_of_the_same_name_answers_for_nothing(make_events: MakeEvents) -> None:
    make_events(2)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE audit_anchor (sequence bigint, hash text)")
        cursor.execute("INSERT INTO audit_anchor VALUES (99, 'x')")
        assert refuses("DELETE FROM audit_event WHERE sequence = 1")
        cursor.execute("DROP TABLE audit_anchor")


def test_an_anchor_opens_only_what_is_before_it_and_stays(make_events: MakeEvents) -> None:
    (old,) = make_events(1)
    assert audit_retention.prune(timezone.now() + LATER, actor=Actor.process("retention")) == 1
    make_events(2)
    assert Anchor.objects.get().sequence == old.sequence
    assert refuses("DELETE FROM audit_event")
    assert refuses("UPDATE audit_anchor SET sequence = 3")
    assert refuses("DELETE FROM audit_anchor")
    assert verify_chain().broken_at is None


@pytest.mark.django_db(transaction=True)
def test_manage_py_flush_is_refused(make_events: MakeEvents) -> None:
    make_events(1)
    with pytest.raises(CommandError):
        call_command("flush", interactive=False, verbosity=0)
    assert AuditEvent.objects.count() == 1


def test_a_row_that_was_changed_all_the_same_is_not_hidden_by_reinstalling(
    make_events: MakeEvents, tamper: Tamper
) -> None:
    make_events(2)
    tamper("UPDATE audit_event SET reason = 'x' WHERE sequence = 1")
    assert GUARDS.missing(connection) == set()
    assert verify_chain().broken_at == 1
