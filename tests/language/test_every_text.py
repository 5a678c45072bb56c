"""All that a page shows comes out of a catalogue: a second language is a catalogue and no more."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.http import HttpResponseBase
from django.template.loader import render_to_string
from django.test import Client
from django.utils import translation

from backups.models import BackupRun
from dashboard.accounts.models import User
from tests.access.access_matrix import MATRIX
from tests.access.conftest import OWN, World
from tests.access.test_access_matrix import address, with_query
from tests.access.test_every_answer import superuser
from tests.language import pseudo, stored


@pytest.fixture(autouse=True)
def pseudo_language(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    pseudo.install(monkeypatch, settings)


@pytest.fixture
def root(world: World) -> Client:
    """The browser of a superuser who reads the pseudo-language."""
    User.objects.filter(username="root").update(language=pseudo.CODE)
    return superuser(world).client


def visitor() -> Client:
    return Client(headers={"Accept-Language": pseudo.CODE})


def is_page(answer: HttpResponseBase) -> bool:
    return answer.headers.get("Content-Type", "").startswith("text/html")


def assert_translated(pages: dict[str, str]) -> None:
    data, left = stored.pattern(), dict[str, str]()
    for where, html in pages.items():
        for text in pseudo.untranslated(html, data):
            left.setdefault(text, where)
    told = [f"{text}  [{where}]" for text, where in left.items()]
    assert not left, f"{len(left)} texts that no catalogue can translate:\n" + "\n".join(told)


@pytest.mark.parametrize("name", sorted(name for name, entry in MATRIX.items() if entry.GET))
def test_every_text_of_a_page_is_in_a_catalogue(
    name: str, crowded: World, root: Client, redis_url: str
) -> None:
    entry = MATRIX[name]
    path = with_query(address(name, entry, crowded, OWN, superuser(crowded)), entry, crowded)
    pages = {}
    for client in (visitor(), root):
        answer = client.get(path)
        if answer.status_code == 200 and is_page(answer):
            pages[f"GET {path}"] = answer.content.decode()
    assert_translated(pages)


def test_every_kind_of_run_is_told_in_the_language(crowded: World, root: Client) -> None:
    paths = [run.get_absolute_url() for run in BackupRun.objects.all()]
    assert len(paths) > 20
    assert_translated({path: root.get(path).content.decode() for path in paths})


ERRORS = ("400.html", "403.html", "403_csrf.html", "404.html", "429.html", "500.html")


@pytest.mark.parametrize("template", ERRORS)
def test_every_text_of_an_error_page_is_in_a_catalogue(template: str, db: None) -> None:
    with translation.override(pseudo.CODE):
        assert_translated({template: render_to_string(template, {"request_id": "0a1b"})})


def test_what_is_refused_is_told_in_the_language(crowded: World, root: Client) -> None:
    User.objects.update(language=pseudo.CODE)
    pages = {}
    for person in crowded.people:
        for path in ("/audit/", "/settings/access/", f"/runs/{crowded.own['run'].pk}/"):
            answer = person.client.get(path)
            pages[f"{path} by {person.name}"] = answer.content.decode()
    for path in (
        "/history/?sort=up",
        "/history/?since=x&http_status=9",
        "/audit/?action=x",
    ):
        answer = root.get(path)
        assert answer.status_code == 400
        pages[path] = answer.content.decode()
    assert_translated(pages)


def posts(world: World) -> list[tuple[str, dict[str, str]]]:
    """Path and form of every action, once as it should be and once with nothing in it."""
    person = superuser(world)
    # these would change who reads, or in which language
    left_out = ("logout", "preferences")
    urls = [(name, entry) for name, entry in MATRIX.items() if entry.POST and name not in left_out]
    return [
        (address(name, entry, world, OWN, person), data)
        for name, entry in urls
        for data in ({}, entry.data)
    ]


def test_what_an_action_answers_is_in_a_catalogue(
    crowded: World, root: Client, redis_url: str
) -> None:
    pages = {}
    for path, data in posts(crowded):
        root.force_login(User.objects.get(username="root"))
        answer = root.post(path, data, follow=True)
        if is_page(answer):
            pages[f"POST {path} {data}"] = answer.content.decode()
    assert_translated(pages)


def test_what_is_stored_is_english_whoever_writes_it(
    crowded: World, root: Client, redis_url: str
) -> None:
    for path, data in posts(crowded):
        root.force_login(User.objects.get(username="root"))
        root.post(path, data)
    nobody = next(person for person in crowded.people if person.name == "nobody")
    User.objects.filter(username="nobody").update(language=pseudo.CODE)
    assert nobody.client.get("/audit/").status_code == 403
    wrong = {place: text for place, text in stored.texts() if pseudo.OPEN in text}
    assert not wrong


def test_what_programs_read_is_english_whoever_asks(crowded: World, root: Client) -> None:
    run = crowded.own["run"]
    answer = root.get(f"/runs/{run.pk}.json")
    assert answer.status_code == 200
    assert pseudo.OPEN not in answer.content.decode()


def test_numbers_in_markup_are_for_browsers(crowded: World, root: Client) -> None:
    """A decimal comma of the reader's language in an attribute draws nothing."""
    comma = re.compile(r'\s(?:x|y|r|width|height|cx|cy|x1|x2|y1|y2|points|d|value)="\d+,\d+"')
    for path in ("/", "/history/", "/protection/", "/clusters/"):
        assert not comma.search(root.get(path).content.decode()), path


def test_a_text_outside_the_catalogue_is_found() -> None:
    html = '<p title="Plain">⟦in⟧ not in <bdi>name</bdi> ben</p><p>⟦a <b>name</b> within⟧</p>'
    assert pseudo.untranslated(html, re.compile(r"\bben\b")) == ["Plain", "not in"]
