"""The status of the chain on the page, and “Verify now”."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse
from kombu.exceptions import OperationalError as BrokerError

from dashboard.accounts.models import User
from dashboard.audit import tasks
from dashboard.audit.models import AuditEvent, Verification
from dashboard.audit.verification import request_verification, run_verification
from tests.audit.conftest import MakeEvents, Tamper, page_of, shown

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_sign_in_events(web: Client) -> None:
    """The sign-in is event 1; events of tests start at 2."""


def test_the_page_tells_the_verified_range_and_how_old_that_is(
    web: Client, make_events: MakeEvents
) -> None:
    assert "has not been verified yet" in page_of(web)
    make_events(2)
    run_verification(request_verification())
    make_events(1)
    page = page_of(web)
    assert "Events 1 to 3 are verified: intact." in page
    assert "1 newer event since" in page


def test_the_page_tells_the_first_break(
    web: Client, make_events: MakeEvents, tamper: Tamper
) -> None:
    make_events(3)
    tamper("UPDATE audit_event SET reason = 'x' WHERE sequence = 3")
    run_verification(request_verification())
    page = page_of(web)
    assert "The chain is broken at event" in page
    assert reverse("audit:event-detail", args=[3]) in page
    assert "Events 1 to 2 are intact." in page


def test_opening_the_page_verifies_nothing(
    web: Client, make_events: MakeEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hashed(event: AuditEvent) -> str:
        raise AssertionError("the page read the chain")

    make_events(2)
    monkeypatch.setattr(AuditEvent, "content_hash", hashed)
    assert shown(web) == [3, 2, 1]


def test_verify_now_queues_one_verification(
    web: Client, make_events: MakeEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_events(1)
    sent: list[str] = []
    monkeypatch.setattr(tasks.verify, "delay", lambda: sent.append("verify"))
    for _ in range(2):
        response = web.post(reverse("audit:verify"), follow=True)
    assert "Verification queued" in response.content.decode()
    assert "Verification queued since" in response.content.decode()
    assert Verification.objects.filter(result="waiting").count() == 1
    part = reverse("audit:chain-status")
    waiting = web.get(part).content.decode()
    assert "Verification queued since" in waiting
    assert f'hx-get="{part}"' in waiting, "it asks for the result"
    tasks.verify()
    assert "Events 1 to 2 are verified" in page_of(web)
    done = web.get(part).content.decode()
    assert "Events 1 to 2 are verified" in done
    assert "hx-get" not in done


def test_verify_now_without_a_broker_says_so_and_keeps_the_wish(
    web: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable() -> None:
        raise BrokerError("connection refused")

    monkeypatch.setattr(tasks.verify, "delay", unreachable)
    response = web.post(reverse("audit:verify"), follow=True)
    assert "The queue is unreachable" in response.content.decode()
    assert Verification.objects.get().result == "waiting"


@pytest.mark.parametrize("name", ["events", "verify"])
def test_verbs_are_kept_apart(web: Client, name: str) -> None:
    wrong = web.get if name == "verify" else web.post
    assert wrong(reverse(f"audit:{name}")).status_code == 405
    assert Verification.objects.count() == 0


def test_a_form_without_its_token_is_refused(anna: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(anna)
    assert strict.post(reverse("audit:verify")).status_code == 403
    assert Verification.objects.count() == 0
