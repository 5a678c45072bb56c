"""Rows of the history: few queries, and values from outside stay text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.db import connection
from django.template.loader import render_to_string
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import translation
from django.utils.translation import trans_real

from tests.views.conftest import MakeCluster, MakeRun

ROOT = Path(__file__).parents[2]
HOSTILE = "\"'><b onmouseover=x>%s %(pk)s {{ x }}\x00pk\x00</b>&amp;"
# every value that the row's template has a place for
PLACES = set(re.findall(r"row\.(\w+)", (ROOT / "templates/backups/history_rows.html").read_text()))


def rendered(value: str, *, live: bool = False) -> str:
    """A row that has the value in every place."""
    return render_to_string(
        "backups/history_rows.html", {"rows": [dict.fromkeys(PLACES, value)], "live": live}
    )


class Tags(HTMLParser):
    """The tags of a text, and its words as a reader sees them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.words += data


def test_whatever_a_value_holds_it_stays_a_text(db: None) -> None:
    plain = rendered("x", live=True)
    hostile = rendered(HOSTILE, live=True)
    assert Tags(hostile).tags == Tags(plain).tags
    assert "<b " not in hostile
    assert Tags(hostile).words.replace(HOSTILE, "x") == Tags(plain).words


def test_a_hostile_name_is_shown_as_it_is_and_runs_nothing(
    web: Client, make_run: MakeRun, make_cluster: MakeCluster
) -> None:
    name = "<script>alert(1)</script>%s"
    make_run(
        make_cluster(name),
        state="queued",
        cluster_name=name,
        project_name=name,
        region=name,
        requested_by_name=name,
    )
    text = web.get("/history/").content.decode()
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;%s") >= 4


def test_a_row_is_drawn_anew_for_each_language(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was drawn for one language is not given to the reader of another."""
    with translation.override("en"):
        english = rendered("x")
    with translation.override("de"):
        catalog = trans_real.catalog()
        monkeypatch.setitem(catalog._catalog._catalogs[0], "Requested", "Angefordert")
        german = rendered("x")
    assert 'data-label="Requested"' in english
    assert 'data-label="Angefordert"' in german


def test_fifty_rows_take_no_more_queries_than_one(web: Client, make_run: MakeRun) -> None:
    """The session, the account, its roles; the runs (SQLite: keys first); the projects of the
    filter, the saved views, and which processes are there."""

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            web.get("/history/")
        return len(captured)

    make_run(state="succeeded")
    queries()  # what is read once for all
    of_one = queries()
    for _ in range(60):
        make_run(state="succeeded")
    assert queries() == of_one <= (8 if connection.vendor == "sqlite" else 7)
