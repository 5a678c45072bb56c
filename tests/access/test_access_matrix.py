"""Every URL with every kind of user and every method, compared with access_matrix.py."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy

import pytest
from django.db import transaction
from django.http import HttpResponseBase, StreamingHttpResponse
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from dashboard.accounts.access import Permission
from tests.access.access_matrix import API_MATRIX, MATRIX, PUBLIC, Need, Url, Where
from tests.access.conftest import OTHER, OWN, Person, World, give_key, give_token

OTHER_METHODS = ("PUT", "PATCH", "DELETE")
SIGN_IN = "/sign-in/"


def urls(resolver: URLResolver, space: str = "", route: str = "") -> Iterator[tuple[str, str]]:
    """All URLs of the site: (name, or else the route; route)."""
    for pattern in resolver.url_patterns:
        here = route + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            inner = f"{space}{pattern.namespace}:" if pattern.namespace else space
            yield from urls(pattern, inner, here)
        elif isinstance(pattern, URLPattern):
            yield (f"{space}{pattern.name}" if pattern.name else here), here


ALL = dict(urls(get_resolver()))


def test_every_url_has_an_entry() -> None:
    known = MATRIX.keys() | API_MATRIX.keys()
    missing = [f"{name} ({ALL[name]})" for name in ALL if name not in known]
    assert not missing, "URLs without an entry in tests/access/access_matrix.py:\n" + "\n".join(
        missing
    )


def test_every_entry_has_a_url() -> None:
    assert MATRIX.keys() | API_MATRIX.keys() <= set(ALL)


def expected(need: Need | None, person: Person, side: str) -> str:
    """The expected answer: "permitted", "sign in" or a status."""
    if need is not None and need.where is Where.PUBLIC:
        return "permitted"
    if person.user is None:
        return "sign in"
    if need is None:
        return "405"
    may = person.may(need.permission, side)
    match need.where:
        case Where.SIGNED_IN:
            allowed, refusal = True, ""
        case Where.OWNER:
            allowed, refusal = side == OWN, "404"
        case Where.HIDDEN:
            allowed, refusal = may, "404"
        case Where.HERE:
            allowed, refusal = may, "403" if person.may(Permission.SEE, side) else "404"
        case Where.SOMEWHERE:
            allowed, refusal = may, "404" if person.may(need.permission, OWN) else "403"
        case _:
            allowed, refusal = need.permission in person.everywhere, "403"
    return "permitted" if allowed else refusal


def ask(person: Person, method: str, path: str, entry: Url) -> tuple[HttpResponseBase, str]:
    """Send a request and roll its changes back, including a sign-out."""
    cookies = copy(person.client.cookies)
    with transaction.atomic():
        if method == "POST":
            answer = person.client.post(path, entry.data)
        else:
            answer = person.client.generic(method, path)
        parts = answer if isinstance(answer, StreamingHttpResponse) else [answer.content]
        content = b"".join(parts)  # type: ignore[arg-type]
        transaction.set_rollback(True)
    person.client.cookies = cookies
    return answer, content.decode()


def address(name: str, entry: Url, world: World, side: str, person: Person) -> str:
    if not entry.of:
        return reverse(name)
    thing = world.side(side)[entry.of]
    if entry.of == "audit_event":
        return reverse(name, args=[thing.sequence])  # type: ignore[attr-defined]
    return reverse(name, args=[thing.pk])


def outcome(answer: HttpResponseBase, entry: Url) -> str:
    if answer.status_code == 302 and answer.headers["Location"].startswith(SIGN_IN + "?next="):
        return "sign in"
    return "permitted" if answer.status_code in entry.answers else str(answer.status_code)


def with_query(path: str, entry: Url, world: World) -> str:
    if entry.shown:
        pks = [things[entry.shown].pk for things in (world.own, world.other)]
        return f"{path}?shown=" + ",".join(f"{pk}:x" for pk in pks)
    return f"{path}?{entry.query}" if entry.query else path


@pytest.mark.parametrize("name", sorted(MATRIX))
def test_everyone_gets_what_the_matrix_says(name: str, world: World, redis_url: str) -> None:
    entry, wrong = MATRIX[name], []
    for person in world.people:
        for side in (OWN, OTHER) if entry.of else (OWN,):
            if entry.of == "saved_view" and side == OWN:
                _give_view(world, person)
            if entry.of == "security_key" and side == OWN and person.user is not None:
                give_key(world, person.user)
            if entry.of == "api_token" and side == OWN and person.user is not None:
                give_token(world, person.user)
            path = address(name, entry, world, side, person)
            for method in methods(entry, person):
                need = {"GET": entry.GET, "POST": entry.POST}.get(method)
                url = with_query(path, entry, world) if method == "GET" else path
                answer, content = ask(person, method, url, entry)
                wanted, got = expected(need, person, side), outcome(answer, entry)
                where = f"{method} {url} by {person.name}"
                if wanted != got:
                    wrong.append(f"{where}: {got}, not {wanted}")
                if got == "403" and "Who can grant it: <bdi>" not in content:
                    wrong.append(f"{where}: the 403 does not say who can grant it")
                wrong += [
                    f"{where}: shows what is {marker}"
                    for marker in (OWN, OTHER)
                    if marker in content and not person.may(Permission.SEE, marker)
                ]
    assert not wrong, "\n".join(wrong)


def methods(entry: Url, person: Person) -> tuple[str, ...]:
    """The methods to try; Django's own pages decide about the others."""
    if PUBLIC in (entry.GET, entry.POST):
        return tuple(name for name in ("GET", "POST") if getattr(entry, name))
    # a superuser shows that the method itself is rejected
    return ("GET", "POST", *(OTHER_METHODS if person.name == "superuser" else ()))


def _give_view(world: World, person: Person) -> None:
    view = world.own["saved_view"]
    if person.user is not None:
        view.owner = person.user  # type: ignore[attr-defined]
        view.save()


@pytest.mark.parametrize("name", sorted(name for name, entry in MATRIX.items() if entry.lists))
def test_a_list_shows_the_rows_that_it_should(name: str, world: World) -> None:
    entry = MATRIX[name]
    method = entry.lists_by or ("GET" if entry.POST is None else "POST")
    need = entry.GET if method == "GET" else entry.POST
    assert need is not None
    wrong = []
    for person in world.people:
        if expected(need, person, OWN) != "permitted":
            continue
        path = reverse(name)
        url = with_query(path, entry, world) if method == "GET" else path
        _answer, content = ask(person, method, url, entry)
        for marker in (OWN, OTHER):
            shown = marker in content
            if shown is not person.may(need.permission or Permission.SEE, marker):
                wrong.append(
                    f"{url} by {person.name}: {marker} {'is' if shown else 'is not'} shown"
                )
    assert not wrong, "\n".join(wrong)
