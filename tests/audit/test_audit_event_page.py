"""The page of an event."""

from __future__ import annotations

import re
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from dashboard.accounts.models import User
from dashboard.audit.models import Action
from dashboard.audit.trail import Actor, record
from tests import audit_retention
from tests.audit.conftest import MakeEvents, Tamper, page_of
from tests.views.page_text import tight

pytestmark = pytest.mark.django_db
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7|add:7 }}"


@pytest.fixture(autouse=True)
def no_sign_in_events(web: Client) -> None:
    """The sign-in is event 1; events of tests start at 2."""


class Elements(HTMLParser):
    """Find what a page could execute: foreign scripts, handlers, styles, odd images."""

    def __init__(self) -> None:
        super().__init__()
        self.foreign: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        source = names.get("src") or ""
        if tag in ("script", "img") and not source.startswith("/static/"):
            self.foreign.append(f"{tag} {source}")
        self.foreign += [f"{tag} {n}" for n in names if n.startswith("on") or n == "style"]


def test_hostile_texts_are_shown_as_text(web: Client, actor: Actor) -> None:
    event = record(
        Action.LOG_BACKUP_CHANGED,
        actor=Actor(HOSTILE, ip="192.0.2.7", user_agent=HOSTILE, request_id=HOSTILE),
        target_label=HOSTILE,
        project=User(pk=7, username=HOSTILE),
        reason=HOSTILE,
        before={HOSTILE: HOSTILE},
        after={HOSTILE: [HOSTILE, {HOSTILE: 1}]},
        details={HOSTILE: HOSTILE, "rtl": "\u202egnp.exe"},
    )
    for page in (
        page_of(web),
        page_of(web, object=HOSTILE[:200], actor=HOSTILE, window="all"),
        web.get(event.get_absolute_url()).content.decode(),
    ):
        assert "&lt;script&gt;" in page
        assert "{{ 7|add:7 }}" in page
        assert "\u202e" not in page
        found = Elements()
        found.feed(page)
        assert found.foreign == []


def test_an_event_shows_what_was_changed_and_its_link(web: Client, actor: Actor) -> None:
    before = record(Action.SYNC_REQUESTED, actor=actor)
    event = record(
        Action.LOG_BACKUP_CHANGED,
        actor=actor,
        before={"bucket": "old-logs", "agency": "css"},
        after={"bucket": "new-logs", "agency": "css", "days": 30},
    )
    page = tight(web.get(event.get_absolute_url()).content.decode())
    rows = dict(re.findall(r'<tr( class="changed")?><th scope="row"><bdi[^>]*>(\w+)', page))
    assert rows == {"": "agency", ' class="changed"': "days"}
    assert page.count('class="changed"') == 2
    for text in ("old-logs", "new-logs", event.hash, before.hash, "0123456789abcdef", "Firefox"):
        assert text in page
    assert before.get_absolute_url() in page


def test_an_event_that_was_changed_says_so(
    web: Client, make_events: MakeEvents, tamper: Tamper
) -> None:
    make_events(2)
    tamper("UPDATE audit_event SET reason = 'x' WHERE sequence = 2")
    tamper("UPDATE audit_event SET actor_name = 'eve' WHERE sequence = 3")
    changed = web.get(reverse("audit:event-detail", args=[2])).content.decode()
    assert "Its content does not match its hash" in changed
    changed = web.get(reverse("audit:event-detail", args=[3])).content.decode()
    assert "Its personal data does not match its digest" in changed
    right = web.get(reverse("audit:event-detail", args=[1])).content.decode()
    assert "modified after it was written" not in right


def test_a_masked_event_shows_who_masked_it_and_nothing_personal(
    web: Client, make_events: MakeEvents
) -> None:
    make_events(1, actor=Actor("ben", ip="192.0.2.8", user_agent="Safari"))
    audit_retention.mask(timezone.now() + timedelta(seconds=1), actor=Actor.process("retention"))
    page = web.get(reverse("audit:event-detail", args=[2])).content.decode()
    assert "masked by" in page
    assert reverse("audit:event-detail", args=[3]) in page
    for text in ("192.0.2.8", "Safari", "ben</bdi>"):
        assert text not in page
    assert "192.0.2.8" not in page_of(web)
