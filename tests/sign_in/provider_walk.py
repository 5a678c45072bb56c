"""The way of a browser to the provider and back."""

from __future__ import annotations

import html
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from django.test import Client
from django.urls import reverse

from dashboard.accounts.models import Grant, User
from tests.sign_in.conftest import events, is_signed_in, text_of

ADDRESS = re.compile(r'href="([^"]+)" rel="noreferrer"')


def begin(client: Client, **form: str) -> str:
    """Press “Sign in with …”; returns the provider's address that the page leads to."""
    answer = client.post(reverse("oidc-start"), form)
    found = ADDRESS.search(text_of(answer))
    assert found, text_of(answer)
    return html.unescape(found[1])


def at_the_provider(address: str) -> str:
    """Sign in there; returns the address that the provider sends the browser back to."""
    answer = requests.get(address, allow_redirects=False, timeout=10)
    assert answer.status_code == 302, answer.text
    back = urlsplit(answer.headers["Location"])
    assert back.path == reverse("oidc-callback")
    return f"{back.path}?{back.query}"


def walk(client: Client, **form: str) -> Any:
    """All of it; returns our answer to the callback."""
    return client.get(at_the_provider(begin(client, **form)))


def sent_to(address: str) -> dict[str, str]:
    """What the browser carries to the provider."""
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def begun_in_vain(client: Client) -> Any:
    """Press the button where the provider cannot be asked; returns our answer."""
    return client.post(reverse("oidc-start"))


def assert_refused(client: Client, why: str, answer: Any = None) -> None:
    """Nobody came in, the trail says why, and the page does not."""
    answer = walk(client) if answer is None else answer
    assert answer.headers["Location"] == reverse("login")
    assert not is_signed_in(client)
    assert not User.objects.exists()
    event = events("sign_in_failed")[-1]
    assert event.details["by"] == "OpenID Connect"
    assert re.search(why, event.details["why"])
    page = text_of(client.get(reverse("login")))
    assert "could not be verified" in page
    assert not re.search(why, page)


def roles_of(name: str) -> set[tuple[str, str | None, bool]]:
    """The grants of an account: role, project, and whether the provider gave it."""
    return {
        (grant.role, grant.project and grant.project.name, grant.by_provider)
        for grant in Grant.objects.filter(user__username=name)
    }
