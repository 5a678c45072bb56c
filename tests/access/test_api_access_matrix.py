"""Every URL of the API with tokens of every role and scope, compared with API_MATRIX."""

from __future__ import annotations

import json

import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse

from dashboard.accounts.access import Permission
from dashboard.accounts.models import User
from dashboard.tokens.models import ApiToken, Scope
from tests.access.access_matrix import API_MATRIX, Url, Where
from tests.access.conftest import OTHER, OWN, Person, World, give_export, give_token
from tests.access.test_access_matrix import address, expected
from tests.access.test_every_answer import assert_guarded
from tests.tokens_made import Answer, Program, token_of

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
SIDES = (OWN, OTHER)
KINDS = {"401": "not-authenticated", "404": "not-found", "405": "method-not-allowed"}


def path_of(name: str, entry: Url, world: World, side: str, person: Person) -> str:
    if name == "api:unknown":
        return "/api/v1/no-such-thing"
    if side == OWN and person.user is not None:
        if entry.of == "export":
            give_export(world, person.user)
        if entry.of == "api_token":
            give_token(world, person.user)
    return address(name, entry, world, side, person)


def wanted(
    name: str, entry: Url, method: str, person: Person, scope: Scope | None, side: str
) -> str:
    """The expected answer: "permitted" or a status."""
    if name == "api:unknown":
        return "404"
    need = getattr(entry, method, None)
    if need is None:
        return "405"
    if scope is None:
        return "401"
    if not scope.includes(Scope.READ if method == "GET" else entry.scope):
        return "403"
    return expected(need, person, side)


def ask(token: str, method: str, path: str, data: object = None) -> Answer:
    """Send a request and roll its changes back."""
    with transaction.atomic():
        answer = Program(token).ask(method, path, data or None)
        transaction.set_rollback(True)
    return answer


@pytest.mark.parametrize("name", sorted(API_MATRIX))
def test_every_token_gets_what_the_matrix_says(name: str, world: World, redis_url: str) -> None:
    entry, wrong = API_MATRIX[name], []
    seen = set()
    for person in world.people:
        tokens: dict[Scope | None, str] = {None: ""}
        if person.user is not None:
            tokens |= {scope: token_of(person.user, scope) for scope in Scope}
        for scope, token in tokens.items():
            for side in SIDES if entry.of else (OWN,):
                path = path_of(name, entry, world, side, person)
                for method in METHODS:
                    url = f"{path}?{entry.query}" if entry.query and method == "GET" else path
                    answer = ask(
                        token, method, url, entry.data if method in ("POST", "PUT") else None
                    )
                    got = str(answer.status)
                    got = "permitted" if answer.status in entry.answers else got
                    need = wanted(name, entry, method, person, scope, side)
                    where = f"{method} {url} by {person.name} with {scope}"
                    seen.add(got)
                    if got != need:
                        wrong.append(f"{where}: {got}, not {need}")
                    wrong += what_is_wrong_with(answer, where, person, scope)
    assert not wrong, "\n".join(wrong)
    assert seen, "somebody was answered"


def what_is_wrong_with(
    answer: Answer, where: str, person: Person, scope: Scope | None
) -> list[str]:
    wrong = []
    if answer.status >= 400:
        if answer.headers["Content-Type"] != "application/problem+json":
            wrong.append(f"{where}: the refusal is no problem document")
        if answer.kind != KINDS.get(str(answer.status), answer.kind):
            wrong.append(f"{where}: the problem is {answer.kind}")
    if answer.status == 401 and not answer.headers["WWW-Authenticate"].startswith("Bearer "):
        wrong.append(f"{where}: the 401 does not ask for a token")
    if answer.kind == "not-permitted" and "root" not in answer.body["grantors"]:
        wrong.append(f"{where}: the 403 does not say who can grant it")
    text = json.dumps(answer.body)
    wrong += [
        f"{where}: shows what is {marker}"
        for marker in SIDES
        if marker in text and not (scope and person.may(Permission.SEE, marker))
    ]
    return wrong


@pytest.mark.parametrize("name", sorted(name for name, e in API_MATRIX.items() if e.lists))
def test_a_list_has_the_rows_that_it_should(name: str, world: World) -> None:
    wrong = []
    for person in world.people:
        if person.user is None:
            continue
        for scope in Scope:
            need = API_MATRIX[name].GET
            assert need is not None
            if expected(need, person, OWN) != "permitted":
                continue
            token = token_of(person.user, scope)
            text = json.dumps(ask(token, "GET", f"{reverse(name)}?{API_MATRIX[name].query}").body)
            for marker in SIDES:
                if (marker in text) is not person.may(need.permission or Permission.SEE, marker):
                    wrong.append(f"{name} by {person.name} with {scope}: {marker}")
    assert not wrong, "\n".join(wrong)


def test_every_answer_of_the_api_carries_the_headers(world: World, redis_url: str) -> None:
    root = next(person for person in world.people if person.name == "superuser")
    assert root.user is not None
    for token in ("", token_of(root.user, Scope.RUN)):
        for name, entry in API_MATRIX.items():
            path = path_of(name, entry, world, OWN, root)
            for method in ("GET", "POST", "PUT", "DELETE"):
                headers = {"Authorization": f"Bearer {token}"} if token else {}
                answer = Client().generic(method, path, headers=headers)
                assert_guarded(answer, f"{method} {path}")
                assert answer.headers["Cache-Control"] == "no-store"
                assert answer.headers["X-Request-Id"]
                assert "Set-Cookie" not in answer.headers
                assert not answer.cookies
                kind = answer.headers["Content-Type"]
                file = name == "api:runs-export" and answer.status_code == 200
                assert kind.startswith("text/csv" if file else "application/")


def test_looking_by_token_changes_nothing_but_its_last_use(world: World, redis_url: str) -> None:
    from tests.access.test_every_answer import everything_stored

    root = next(person for person in world.people if person.name == "superuser")
    assert root.user is not None
    token = token_of(root.user, Scope.RUN)
    give_export(world, root.user)
    before = everything_stored()
    for name, entry in API_MATRIX.items():
        if entry.GET is None:
            continue
        path = path_of(name, entry, world, OWN, root)
        assert Program(token).get(path).status == 200
        ApiToken.objects.filter(user=root.user).update(last_used_at=None, last_used_ip=None)
        assert everything_stored() == before, path


def test_a_session_of_the_highest_role_opens_nothing_of_the_api(
    world: World, redis_url: str
) -> None:
    client = Client()
    client.force_login(User.objects.get(username="root"))
    for name, entry in API_MATRIX.items():
        if name in ("api:openapi", "api:unknown"):
            continue
        path = path_of(name, entry, world, OWN, world.people[0])
        for method in ("GET", "POST", "PUT", "DELETE"):
            answer = client.generic(method, path)
            assert answer.status_code == (401 if getattr(entry, method) else 405), (
                f"{method} {path}"
            )


def test_the_matrix_has_needs_of_kinds_that_the_walk_knows() -> None:
    needs = {
        need.where for e in API_MATRIX.values() for need in (e.GET, e.POST, e.PUT, e.DELETE) if need
    }
    assert needs == {
        *(Where.SIGNED_IN, Where.OWNER, Where.HERE, Where.HIDDEN),
        *(Where.SOMEWHERE, Where.EVERYWHERE),
    }
