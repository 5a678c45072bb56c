"""Properties of every URL: headers, forms, and no changes by GET."""

from __future__ import annotations

from copy import copy
from typing import Any

import pytest
from django.apps import apps
from django.db import transaction
from django.http import HttpResponseBase
from django.test import Client
from django.urls import reverse

from dashboard.accounts.models import User
from dashboard.audit.models import AuditEvent
from tests.access.access_matrix import MATRIX, PUBLIC
from tests.access.conftest import OWN, Person, World
from tests.access.test_access_matrix import address, with_query

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
FORBIDDEN_SOURCES = ("'unsafe-inline'", "'unsafe-eval'", "http:", "https:", "*")
ELSEWHERE = (
    "https://evil.example/",
    "//evil.example/",
    "/\\evil.example/",
    "https:evil.example",
    "\\\\evil.example",
    "javascript:alert(1)",
    "/clusters/\r\nX-Injected: 1",
)
# parameters with the URL of the next page
ONWARD = ("next", "back", "then")


def superuser(world: World) -> Person:
    return next(person for person in world.people if person.name == "superuser")


def named_urls(world: World, method: str) -> list[tuple[str, str]]:
    """Name and path of each URL with the method, as a superuser opens it."""
    root = superuser(world)
    return [
        (name, address(name, entry, world, OWN, root))
        for name, entry in MATRIX.items()
        if getattr(entry, method)
    ]


def assert_guarded(answer: HttpResponseBase, where: str) -> None:
    for name, value in HEADERS.items():
        assert answer.headers.get(name) == value, f"{where}: {name}"
    policy = answer.headers.get("Content-Security-Policy", "")
    directives = dict(part.strip().partition(" ")[::2] for part in policy.split(";"))
    assert directives["default-src"] == directives["base-uri"] == "'none'", where
    assert directives["frame-ancestors"] == "'none'", where
    assert directives["form-action"] == "'self'", where
    sources = " ".join(directives.values()).split()
    assert not set(sources) & set(FORBIDDEN_SOURCES), where
    assert "camera=()" in answer.headers["Permissions-Policy"], where
    if answer.headers.get("Content-Type", "").startswith("text/html"):
        assert "no-store" in answer.headers["Cache-Control"], where


def test_every_answer_carries_the_headers(world: World, redis_url: str) -> None:
    visitor, root = Client(), superuser(world)
    nobody = next(person for person in world.people if person.name == "nobody")
    seen = set()
    for name, path in named_urls(world, "GET"):
        for client in (visitor, nobody.client, root.client):
            answer = client.get(with_query(path, MATRIX[name], world))
            seen.add(answer.status_code)
            assert_guarded(answer, f"GET {path}")
    for name, path in named_urls(world, "POST"):
        client = copy(nobody.client)
        with transaction.atomic():
            answer = nobody.client.post(path)
            transaction.set_rollback(True)
        nobody.client.cookies = client.cookies
        seen.add(answer.status_code)
        assert_guarded(answer, f"POST {path} ({name})")
    for path, status in (("/no-such-page/", 404), ("/sign-out/", 405)):
        answer = root.client.get(path)
        assert answer.status_code == status
        assert_guarded(answer, f"GET {path}")
    assert {200, 302, 403, 404} <= seen


def test_an_error_of_our_own_carries_the_headers_and_no_details(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "a-detail-of-the-inside"

    def broken(*_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError(secret)

    monkeypatch.setattr("backups.views.clusters.render", broken)
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.get(username="root"))
    answer = client.get("/clusters/")
    assert answer.status_code == 500
    assert_guarded(answer, "500")
    page = answer.content.decode()
    assert secret not in page
    assert "Traceback" not in page
    assert answer.headers["X-Request-Id"] in page


def test_an_unknown_host_is_refused_with_the_headers(world: World) -> None:
    answer = Client().get("/", headers={"Host": "evil.example"})
    assert answer.status_code == 400
    assert_guarded(answer, "400")
    assert "evil.example" not in answer.content.decode()


def everything_stored() -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables except sessions."""
    return {
        model._meta.label: sorted(model._default_manager.values_list(), key=repr)
        for model in apps.get_models()
        if model._meta.label != "accounts.Session"
    }


@pytest.mark.parametrize("method", ["get", "head"])
def test_looking_changes_nothing(world: World, redis_url: str, method: str) -> None:
    root = superuser(world)
    before = everything_stored()
    assert before["backups.BackupRun"]
    for name, path in named_urls(world, "GET"):
        answer = getattr(root.client, method)(with_query(path, MATRIX[name], world))
        assert answer.status_code < 400, f"{path}: {answer.status_code}"
        if method == "head":
            assert answer.getvalue() == b"", path
        after = everything_stored()
        changed = [label for label, rows in after.items() if rows != before[label]]
        assert not changed, f"{method} {path} changed {changed}"


def test_no_form_is_taken_without_its_token(world: World) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.get(username="root"))
    events = AuditEvent.objects.count()
    before = {k: v for k, v in everything_stored().items() if not k.startswith("audit.")}
    urls = named_urls(world, "POST")
    assert len(urls) > 15
    for name, path in urls:
        answer = client.post(path, MATRIX[name].data)
        assert answer.status_code == 403, f"{path} ({name}): {answer.status_code}"
    after = {k: v for k, v in everything_stored().items() if not k.startswith("audit.")}
    assert after == before
    assert AuditEvent.objects.count() >= events


def test_a_token_of_another_site_is_refused(world: World) -> None:
    client = Client(enforce_csrf_checks=True)
    client.get("/sign-in/")
    token = client.cookies["csrftoken"].value
    data = {"username": "root", "password": "x", "csrfmiddlewaretoken": token}
    own = {"HTTP_ORIGIN": "http://testserver"}
    assert client.post("/sign-in/", data, **own).status_code == 200  # type: ignore[arg-type]
    foreign = {"HTTP_ORIGIN": "https://evil.example"}
    assert client.post("/sign-in/", data, **foreign).status_code == 403  # type: ignore[arg-type]


@pytest.mark.parametrize("target", ELSEWHERE)
def test_nothing_leads_to_another_site(world: World, redis_url: str, target: str) -> None:
    root = superuser(world)
    redirects = 0
    for name, path in named_urls(world, "POST"):
        entry = MATRIX[name]
        if entry.POST == PUBLIC:
            continue
        cookies = copy(root.client.cookies)
        with transaction.atomic():
            answer = root.client.post(path, {**entry.data, **dict.fromkeys(ONWARD, target)})
            transaction.set_rollback(True)
        root.client.cookies = cookies
        if 300 <= answer.status_code < 400:
            redirects += 1
            location = answer.headers["Location"]
            assert location.startswith("/"), f"{path} leads to {location}"
            assert location[1:2] not in ("/", "\\"), f"{path} leads to {location}"
        assert "X-Injected" not in answer.headers
    assert redirects > 3


@pytest.mark.parametrize("target", ELSEWHERE)
def test_signing_in_leads_to_no_other_site(world: World, target: str) -> None:
    User.objects.create_user("anna", password="a password of anna")
    data = {"username": "anna", "password": "a password of anna", "next": target}
    answer = Client().post(reverse("login"), data)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/")
    assert "evil.example" not in answer.headers["Location"]
    assert "X-Injected" not in answer.headers


def test_a_session_begins_anew_with_the_sign_in(world: World) -> None:
    """A planted session id is not valid after the sign-in."""
    User.objects.create_user("anna", password="a password of anna")
    client = Client()
    client.cookies["sessionid"] = "planted" * 4
    client.post(
        reverse("login"), {"username": "anna", "password": "a password of anna"}, follow=True
    )
    first = client.cookies["sessionid"].value
    assert first != "planted" * 4
    assert client.get("/").status_code == 200
    client.post(reverse("logout"))
    client.cookies["sessionid"] = first
    assert client.get("/").status_code == 302


def test_a_body_beyond_the_limit_is_refused(world: World) -> None:
    root = superuser(world)
    cluster = world.own["cluster"].pk
    large = root.client.post(f"/clusters/{cluster}/backup/", {"reason": "x" * 1_100_000})
    assert large.status_code in (400, 413)
    many = root.client.post(
        f"/clusters/{cluster}/backup/", {f"field{number}": "x" for number in range(2_100)}
    )
    assert many.status_code in (400, 413)


def test_uploads_are_not_taken(world: World) -> None:
    """No form has a file field: uploaded files are not stored."""
    from django.core.files.uploadedfile import SimpleUploadedFile

    root = superuser(world)
    before = everything_stored()
    for _name, path in named_urls(world, "POST"):
        if path.endswith(("/labels/", "/objective/")):
            upload = SimpleUploadedFile("../../x.py", b"print(1)")
            with transaction.atomic():
                answer = root.client.post(path, {"labels": upload, "hours": upload})
                transaction.set_rollback(True)
            assert answer.status_code < 500
    assert everything_stored() == before
