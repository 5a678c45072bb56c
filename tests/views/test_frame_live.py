"""The frame of a page that stays open: banners and light follow what is."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from backups import heartbeats, work
from backups.models import Heartbeat, Ticker
from tests.views.conftest import MakeRun
from tests.views.page_text import tight


def alive(*kinds: str) -> None:
    now = timezone.now()
    if "worker" in kinds:
        Heartbeat.objects.create(
            name="worker:1:00000000", kind="worker", seen_at=now, started_at=now
        )
    if "scheduler" in kinds:
        Ticker.objects.create(pk=1, holder="worker:1:00000000", ticks=1, ticked_at=now)


def test_every_live_answer_tells_which_processes_are_missing(
    web: Client, make_run: MakeRun
) -> None:
    run = make_run()
    alive("scheduler")
    for url in ("/live/", "/clusters/live/", "/history/live/", f"/runs/{run.pk}/live/"):
        assert web.get(url, {"shown": ""}).headers["X-Presence"] == "worker"


def test_two_hundred_pages_ask_the_database_once(
    web: Client, django_assert_num_queries: object, make_run: MakeRun
) -> None:
    make_run()
    with django_assert_num_queries(1):  # type: ignore[operator]
        assert {work.token() for _ in range(200)} == {"worker"}


def test_a_process_that_is_missing_now_is_told_over_the_page(web: Client) -> None:
    alive("scheduler")
    text = web.get("/frame/live/", {"was": "all"}).content.decode()
    banners, _, notices = text.partition('id="notices"')
    assert "No worker" in notices
    assert "No worker is running" not in banners
    assert 'id="light" class="dot bad"' in text


def test_a_banner_of_the_page_changes_where_it_stands(
    web: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive("worker", "scheduler")
    text = web.get("/frame/live/", {"was": "worker"}).content.decode()
    assert "A worker is running again." in text.partition('id="notices"')[0]
    assert 'id="light" class="dot ok"' in text
    Heartbeat.objects.update(seen_at=timezone.now() - timedelta(days=1))
    monkeypatch.setattr(heartbeats, "_heartbeats", heartbeats.Watch())
    text = web.get("/frame/live/", {"was": "worker.scheduler"}).content.decode()
    assert "No worker is running" in text.partition('id="notices"')[0]


def test_nonsense_is_as_if_the_page_had_no_banner(web: Client) -> None:
    alive("worker", "scheduler")
    text = web.get("/frame/live/", {"was": "<b>" * 100 + ".x"}).content.decode()
    assert "<section" not in text
    assert "<b>" not in text


def test_the_light_is_on_every_page(web: Client) -> None:
    assert ">No worker</span>" in tight(web.get("/history/").content.decode())
    alive("worker", "scheduler")
    assert ">Running</span>" in tight(web.get("/clusters/").content.decode())
