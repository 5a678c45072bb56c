"""Steps of a browser to the provider and back."""

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
    """Press “Sign in with …”, and return the URL of the provider."""
    answer = client.post(reverse("oidc-start"), form)
    found = ADDRESS.search(text_of(answer))
    assert found, text_of(answer)
    return html.unescape(found[1])


def at_the_provider(address: str) -> str:
    """Sign in at the provider, and return the callback URL."""
    answer = requests.get(address, allow_redirects=False, timeout=10)
    assert answer.status_code == 302, answer.text
    back = urlsplit(answer.headers["Location"])
    assert back.path == reverse("oidc-callback")
    return f"{back.path}?{back.query}"


def walk(client: Client, **form: str) -> Any:
    """Do the whole sign-in, and return the response to the callback."""
    return client.get(at_the_provider(begin(client, **form)))


def sent_to(address: str) -> dict[str, str]:
    """The parameters that the browser sends to the provider."""
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def begun_in_vain(client: Client) -> Any:
    """Press the button while the provider is unreachable, and return the response."""
    return client.post(reverse("oidc-start"))


def assert_refused(client: Client, why: str, answer: Any = None) -> None:
    """Assert that nobody is signed in, and that only the audit trail has the reason."""
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
    """Return the grants of an account: role, project, whether granted by the provider."""
    return {
        (grant.role, grant.project and grant.project.name, grant.by_provider)
        for grant in Grant.objects.filter(user__username=name)
    }
