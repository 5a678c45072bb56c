"""The way of a browser to the provider and back."""

from __future__ import annotations

import html
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from django.test import Client
from django.urls import reverse

from tests.sign_in.conftest import text_of

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
