"""The history page."""

from __future__ import annotations

import base64
import html
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.views.conftest import MakeRun

URL = "/history/"


def runs_in(text: str) -> list[int]:
    return [int(pk) for pk in re.findall(r'<tr id="run-(\d+)"', text)]


def test_a_row_tells_the_whole_story_in_short(web: Client, make_run: MakeRun) -> None:
    now = timezone.now()
    run = make_run(
        state="rejected",
        outcome="precondition_failed",
        http_status=412,
        error_code="CSS.0004",
        message="Log backup is off.",
        requested_at=now - timedelta(hours=2),
        finished_at=now - timedelta(hours=2) + timedelta(seconds=75),
        trigger="cli",
    )
    text = web.get(URL).content.decode()
    for part in (
        "2 h ago",
        f"{run.requested_at:%Y-%m-%d %H:%M:%S} UTC",
        run.cluster_name,
        "ben",
        "Command line",
        "Rejected",
        "Precondition failed",
        "HTTP 412 · CSS.0004",
        "Log backup is off.",
        "1 min 15 s",
        f'href="/runs/{run.pk}/"',
    ):
        assert part in text


def test_the_newest_comes_first_and_pages_neither_repeat_nor_skip(
    web: Client, make_run: MakeRun
) -> None:
    moment = timezone.now()
    cluster = make_run(state="failed", requested_at=moment).cluster
    for number in range(119):  # many at the same moment: the id decides
        make_run(cluster, state="failed", requested_at=moment - timedelta(seconds=number // 40))
    seen: list[int] = []
    url = URL
    for _ in range(3):
        text = web.get(url).content.decode()
        seen += runs_in(text)
        older = re.search(r'rel="next" href="/history/([^"]+)"', text)
        url = URL + html.unescape(older[1]) if older else ""
    assert url == ""
    assert len(seen) == len(set(seen)) == 120
    assert seen[0] == max(seen[:40])


def test_a_run_that_arrives_while_paging_shifts_nothing(web: Client, make_run: MakeRun) -> None:
    moment = timezone.now() - timedelta(hours=1)
    cluster = make_run(state="failed", requested_at=moment).cluster
    for number in range(60):
        make_run(cluster, state="failed", requested_at=moment - timedelta(seconds=number))
    text = web.get(URL).content.decode()
    older = re.search(r'rel="next" href="/history/([^"]+)"', text)
    assert older
    expected = runs_in(web.get(URL + html.unescape(older[1])).content.decode())
    make_run(cluster, state="failed")
    assert runs_in(web.get(URL + html.unescape(older[1])).content.decode()) == expected


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "%00",
        "é",
        "=",
        "a" * 5000,
        base64.urlsafe_b64encode(b"100000000000000000-1").decode(),
        base64.urlsafe_b64encode(b"-1-1").decode(),
        base64.urlsafe_b64encode(b"1-9999999999999999999").decode(),
        base64.urlsafe_b64encode("\u0661-\u0661".encode()).decode(),
    ],
)
def test_a_cursor_that_is_none_is_a_400_with_a_clear_text(web: Client, cursor: str) -> None:
    response = web.get(f"{URL}?older={cursor}")
    assert response.status_code == 400
    assert "cannot be read" in response.content.decode()


def test_neither_count_nor_offset_and_the_same_number_of_queries_for_any_length(
    web: Client, make_run: MakeRun
) -> None:
    make_run(state="succeeded")
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as captured:
            web.get(URL)
        counts.append(len(captured))
        assert not [q["sql"] for q in captured if "OFFSET" in q["sql"] or "COUNT(" in q["sql"]]
        for _ in range(60):
            make_run(state="failed")
    assert counts[0] == counts[1] <= 8


def test_a_message_of_two_megabytes_does_not_burst_the_page(web: Client, make_run: MakeRun) -> None:
    make_run(state="rejected", message="<b>" + "x" * 2_000_000)
    content = web.get(URL).content.decode()
    assert len(content) < 30_000
    assert "&lt;b&gt;xxx" in content
    assert "…" in content


def test_the_empty_history_says_what_will_be_here(web: Client) -> None:
    assert "No run yet" in web.get(f"{URL}?window=all").content.decode()
    assert "Show all time" in web.get(URL).content.decode()
