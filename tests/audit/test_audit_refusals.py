"""Denied requests: an event at once, then one a minute with a count."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.audit import tasks
from dashboard.audit.models import AuditEvent, RefusalCount
from dashboard.audit.refusals import record_refusal
from dashboard.audit.trail import Actor
from dashboard.audit.verification import verify_chain
from tests.grants import give

THREADS, EACH = 6, 25


def refusals() -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(action="access_denied").order_by("sequence"))


def a_minute_later() -> None:
    RefusalCount.objects.update(recorded_at=timezone.now() - timedelta(seconds=61))


@pytest.fixture
def refused(db: None, client: Client) -> Client:
    """A browser of a viewer."""
    client.force_login(give(User.objects.create_user("ben"), Role.VIEWER))
    return client


def test_a_hundred_refusals_of_one_account_are_one_event_and_a_number(refused: Client) -> None:
    for number in range(100):
        assert refused.get("/audit/" if number % 2 else "/settings/access/").status_code == 403
    (first,) = refusals()
    assert first.details["path"] == "/settings/access/"
    assert "refused_again" not in first.details
    a_minute_later()
    tasks.record_counted_refusals()
    first, rest = refusals()
    assert rest.details["refused_again"] == 99
    assert rest.details["refused_again_at"] == ["GET /audit/", "GET /settings/access/"]
    assert (rest.actor_name, rest.actor_user_id, rest.ip) == ("ben", first.actor_user_id, first.ip)
    assert verify_chain().broken_at is None


def test_the_next_refusal_after_a_minute_tells_the_number_too(refused: Client) -> None:
    for _ in range(3):
        refused.get("/audit/")
    a_minute_later()
    refused.get("/settings/access/")
    refused.get("/audit/")
    _first, second = refusals()
    assert (second.details["path"], second.details["refused_again"]) == ("/settings/access/", 2)
    a_minute_later()
    tasks.record_counted_refusals()
    assert [each.details.get("refused_again") for each in refusals()] == [None, 2, 1]


def test_nothing_is_kept_of_a_refusal_that_stays_alone(refused: Client) -> None:
    refused.get("/audit/")
    a_minute_later()
    tasks.record_counted_refusals()
    assert len(refusals()) == 1
    assert not RefusalCount.objects.exists()


def test_before_the_minute_is_over_nothing_is_told(refused: Client) -> None:
    refused.get("/audit/")
    refused.get("/audit/")
    tasks.record_counted_refusals()
    assert len(refusals()) == 1
    assert RefusalCount.objects.get().count == 1


def test_accounts_do_not_hide_each_other(refused: Client) -> None:
    other = Client()
    other.force_login(User.objects.create_user("carla"))
    for client in (refused, other):
        assert client.get("/audit/").status_code == 403
    assert [event.actor_name for event in refusals()] == ["ben", "carla"]


def test_a_clock_that_was_set_back_loses_no_refusal(refused: Client) -> None:
    refused.get("/audit/")
    refused.get("/audit/")
    RefusalCount.objects.update(recorded_at=timezone.now() + timedelta(hours=3))
    refused.get("/audit/")
    assert [each.details.get("refused_again") for each in refusals()] == [None, 1]


@pytest.mark.django_db(transaction=True)
def test_refusals_at_the_same_moment_are_all_counted() -> None:
    ben = User.objects.create_user("ben")

    def ask(_thread: int) -> None:
        for _ in range(EACH):
            record_refusal(Actor("ben", ben), {"method": "GET", "path": "/audit/"})
        connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(ask, range(THREADS)))
    assert len(refusals()) == 1
    assert RefusalCount.objects.get().count == THREADS * EACH - 1
    assert verify_chain().broken_at is None


@pytest.mark.django_db(transaction=True)
def test_none_is_lost_while_the_counted_ones_are_told() -> None:
    ben = User.objects.create_user("ben")

    def ask(thread: int) -> None:
        for _ in range(EACH):
            if thread % 3:
                record_refusal(Actor("ben", ben), {"method": "GET", "path": "/audit/"})
            else:
                a_minute_later()
                tasks.record_counted_refusals()
        connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(ask, range(THREADS)))
    a_minute_later()
    tasks.record_counted_refusals()
    counted = sum(each.details.get("refused_again", 0) for each in refusals())
    own = sum("path" in each.details for each in refusals())
    assert own + counted == EACH * (THREADS - THREADS // 3)
    assert verify_chain().broken_at is None
