"""Theme, shortcut keys, page size and columns, remembered by the browser."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from backups.models import BackupRun
from tests.views.conftest import MakeCluster, MakeRun


def html(web: Client, url: str) -> str:
    response = web.get(url)
    assert response.status_code == 200
    return response.content.decode()


def test_a_theme_is_kept_and_the_system_decides_without_one(web: Client) -> None:
    assert '<html lang="en">' in html(web, "/settings/")
    answer = web.post("/settings/display/", {"theme": "dark", "keys": "1", "rows": "50"})
    assert answer.headers["Location"] == "/settings/#display"
    text = html(web, "/history/")
    assert '<html lang="en" class="dark">' in text
    assert '<meta name="color-scheme" content="dark">' in text
    web.post("/settings/display/", {"theme": "", "keys": "1", "rows": "50"})
    assert '<html lang="en">' in html(web, "/history/")


def test_shortcut_keys_can_be_switched_off(web: Client) -> None:
    assert re.search(r"\sdata-keys\b", html(web, "/history/"))
    web.post("/settings/display/", {"rows": "50"})
    text = html(web, "/history/")
    assert not re.search(r"\sdata-keys\b", text)
    assert '<dialog id="keys"' not in text


@pytest.mark.parametrize("name", ["clusters", "history"])
def test_a_page_has_as_many_rows_as_were_asked_for_and_fifty_at_first(
    web: Client, make_cluster: MakeCluster, make_run: MakeRun, name: str
) -> None:
    for _ in range(52):
        make_run(make_cluster())
    rows = re.compile(r'<tr id="(?:cluster|run)-\d+"')
    assert len(rows.findall(html(web, f"/{name}/"))) == 50
    answer = web.post("/settings/list/", {"list": name, "rows": "25", "back": f"/{name}/?q=a"})
    assert answer.headers["Location"] == f"/{name}/?q=a"
    assert len(rows.findall(html(web, f"/{name}/"))) == 25
    web.post("/settings/list/", {"list": name, "rows": "100"})
    assert len(rows.findall(html(web, f"/{name}/"))) == 52


def test_columns_that_were_not_ticked_are_left_out_of_that_list_alone(
    web: Client, make_run: MakeRun
) -> None:
    make_run()
    web.post("/settings/list/", {"list": "history", "rows": "50", "column": ["3", "7"]})
    assert "hide-5 hide-6" in html(web, "/history/")
    assert "hide-" not in html(web, "/clusters/")


def test_lists_are_compact_until_somebody_wants_all_details(web: Client) -> None:
    assert '<body class="compact"' in html(web, "/history/")
    answer = {"list": "history", "rows": "50", "density": "comfortable"}
    web.post("/settings/list/", answer)
    assert "<body data-now" in html(web, "/clusters/")
    web.post("/settings/display/", {"rows": "50", "density": "", "keys": "1"})
    assert '<body class="compact"' in html(web, "/protection/")


@pytest.mark.parametrize(
    ("url", "data"),
    [
        ("/settings/display/", {"density": "tiny", "rows": "50"}),
        ("/settings/display/", {"theme": "pink", "rows": "50"}),
        ("/settings/display/", {"rows": "1000000"}),
        ("/settings/list/", {"list": "users", "rows": "50"}),
        ("/settings/list/", {"list": "history", "rows": "50", "column": ["99"]}),
    ],
)
def test_what_there_is_not_is_a_400_and_nothing_is_kept(
    web: Client, url: str, data: dict[str, str]
) -> None:
    response = web.post(url, data)
    assert response.status_code == 400
    assert "look" not in response.cookies


@pytest.mark.parametrize(
    "cookie", ["rows=9999&theme=x", "%00%ff", "clusters=<b>.99.-1", "x" * 5000, "theme=dark" * 200]
)
def test_a_cookie_that_was_not_written_here_changes_nothing(
    web: Client, make_run: MakeRun, cookie: str
) -> None:
    make_run()
    web.cookies["look"] = cookie
    text = html(web, "/clusters/")
    assert '<html lang="en">' in text
    assert "hide-" not in text
    assert BackupRun.objects.count() == 1


def test_it_leads_back_to_this_site_only(web: Client) -> None:
    data = {"list": "history", "rows": "50", "back": "https://elsewhere.example/"}
    assert web.post("/settings/list/", data).headers["Location"] == "/history/"


def test_nothing_is_changed_by_a_get(web: Client) -> None:
    assert web.get("/settings/display/").status_code == 405
    assert web.get("/settings/list/").status_code == 405
