"""Recording an event."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from django.test import RequestFactory

from dashboard.accounts.models import User
from dashboard.audit import values
from dashboard.audit.models import Action, AuditEvent
from dashboard.audit.trail import Actor, record
from dashboard.audit.values import GENESIS
from dashboard.members.recording import not_recorded
from tests.audit.conftest import MakeEvents

pytestmark = pytest.mark.django_db


def test_events_are_numbered_without_a_gap_and_each_seals_the_one_before(
    make_events: MakeEvents,
) -> None:
    made = make_events(3)
    assert [event.sequence for event in made] == [1, 2, 3]
    assert [event.previous_hash for event in made] == [GENESIS, made[0].hash, made[1].hash]


def test_the_hash_is_the_documented_one(make_events: MakeEvents) -> None:
    """Computed from the row alone, as docs/audit.md specifies."""
    (made,) = make_events(1, target=User.objects.get(), reason="größer", after={"days": 30})
    event = AuditEvent.objects.get(pk=made.pk)

    def digest(value: Any) -> str:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    personal = digest(
        {
            "salt": event.salt,
            "personal": {
                "actor": "anna",
                "ip": "192.0.2.7",
                "target_id": str(event.actor_user_id),
                "target_label": "prod-logs",
                "user_agent": "Firefox",
                "user_id": event.actor_user_id,
            },
        }
    )
    assert event.personal == personal
    assert event.hash == digest(
        {
            "action": "log_backup_changed",
            "after": {"days": 30},
            "at": event.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
            "before": {"days": 7},
            "details": None,
            "form": 1,
            "personal": personal,
            "previous_hash": "0" * 64,
            "project": {"id": None, "label": ""},
            "reason": "größer",
            "request_id": "0123456789abcdef",
            "sequence": 1,
            "target": {"id": None, "is_person": True, "label": None, "type": "accounts.user"},
        }
    )


def test_an_event_and_its_change_are_rolled_back_together(
    make_events: MakeEvents, anna: User
) -> None:
    with transaction.atomic():
        User.objects.filter(pk=anna.pk).update(first_name="changed")
        make_events(1)
        transaction.set_rollback(True)
    anna.refresh_from_db()
    assert anna.first_name == ""
    assert make_events(1)[0].sequence == 1


def test_a_change_whose_event_cannot_be_stored_does_not_happen(
    anna: User, actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the caller continues: the whole transaction is rolled back."""
    monkeypatch.setattr(AuditEvent, "content_hash", lambda event: None)  # violates NOT NULL
    with transaction.atomic():
        with not_recorded():
            User.objects.filter(pk=anna.pk).update(first_name="changed")
        with pytest.raises(DatabaseError):
            record(Action.OBJECTIVE_CHANGED, actor=actor)
    anna.refresh_from_db()
    assert anna.first_name == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("password", "hunter2hunter2"),
        ("bucket_secret", ["hunter2hunter2"]),
        ("Access_Key", "hunter2hunter2"),
        ("AK", "hunter2hunter2"),
        ("note", "Authorization: Bearer hunter2hunter2"),
        ("note", "postgres://root:hunter2hunter2@db/x"),
        ("note", "token gAAAAABhunter2hunter2hunter2hunter2"),
    ],
)
def test_a_secret_is_not_stored(make_events: MakeEvents, name: str, value: Any) -> None:
    nested = {"outer": [{name: value}]}
    (event,) = make_events(1, before={name: value}, after=nested, details=nested, reason="x")
    stored = AuditEvent.objects.values().get(pk=event.pk)
    assert "hunter2" not in str(stored)
    assert "[redacted]" in str(stored["before"])


def test_that_a_secret_was_empty_and_names_about_secrets_are_kept() -> None:
    kept = {"token": None, "password": "", "token_name": "ci", "secret_set": True, "token_id": 5}
    assert values.storable(kept) == kept


def test_values_survive_both_databases_as_they_were_hashed(make_events: MakeEvents) -> None:
    odd = {
        "float": 1e22,
        "decimal": Decimal("1.10"),
        "great": 2**70,
        "small": -(2**53) + 1,
        "time": datetime(2026, 1, 31, 12, tzinfo=UTC),
        "day": date(2026, 1, 31),
        "set": {"b", "a"},
        "bytes": b"\x00\x01",
        "text": "nul \x00 lone \ud800 astral \U0001f600 end",
        "deep": {"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}},
        "long": "x" * 5000,
        "many": list(range(500)),
        "ключ": True,
    }
    (event,) = make_events(1, before=odd, reason="\x00\u202etxt", target_label="a\nb" * 200)
    stored = AuditEvent.objects.get(pk=event.pk)
    assert stored.content_hash() == stored.hash
    assert stored.personal_digest() == stored.personal
    assert stored.before is not None
    assert stored.before["float"] == "1e+22"
    assert stored.before["time"] == "2026-01-31T12:00:00.000Z"
    assert stored.before["set"] == ["a", "b"]
    assert len(stored.before["long"]) == values.MAX_TEXT_LENGTH
    assert len(stored.before["many"]) == values.MAX_ITEMS + 1
    assert "\x00" not in str(stored.before)
    assert "\n" not in stored.target_label


@pytest.mark.parametrize("address", ["::ffff:192.0.2.7", "2001:db8:0:0::1", "192.0.2.7", ""])
def test_an_address_is_kept_letter_for_letter(address: str) -> None:
    made = record(Action.SIGN_IN, actor=Actor("anna", ip=address or None))
    stored = AuditEvent.objects.get(pk=made.pk)
    assert stored.ip == address
    assert stored.personal_digest() == stored.personal


def test_an_event_outlives_its_account_and_its_object(anna: User, actor: Actor) -> None:
    ben = User.objects.create_user("ben")
    event = record(Action.GRANT_ADDED, actor=actor, target=ben)
    anna.delete()
    ben.delete()
    kept = AuditEvent.objects.get(pk=event.pk)
    assert (kept.actor_name, kept.target_label) == ("anna", "ben")
    assert kept.content_hash() == kept.hash


def test_the_events_about_an_object_are_found(anna: User, actor: Actor) -> None:
    with not_recorded():
        ben = User.objects.create_user("ben")
    about = [record(Action.GRANT_ADDED, actor=actor, target=ben) for _ in range(2)]
    record(Action.GRANT_ADDED, actor=actor, target=anna)
    assert list(AuditEvent.objects.about(ben)) == about[::-1]


def test_an_actor_is_read_from_a_request(rf: RequestFactory, anna: User) -> None:
    request = rf.get("/", headers={"User-Agent": "curl"}, REMOTE_ADDR="192.0.2.9")
    request.user = anna
    request.request_id = "abc"  # type: ignore[attr-defined]
    assert Actor.of(request) == Actor("anna", anna, "192.0.2.9", "curl", "abc")


def test_every_action_fits_its_column() -> None:
    longest = AuditEvent._meta.get_field("action").max_length
    assert longest is not None
    assert max(len(action.value) for action in Action) <= longest
