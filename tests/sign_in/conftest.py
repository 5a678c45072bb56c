"""Accounts, browsers and authenticator apps."""

from __future__ import annotations

import hashlib
import hmac
import re
import struct
import time
from base64 import b32decode
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from dashboard.accounts.models import User
from dashboard.audit.models import AuditEvent
from tests.sign_in.provider import CLIENT_ID, CLIENT_SECRET, Provider

PASSWORD = "correct horse battery"
STEP = 30  # seconds for which an app shows a code
SECRET = re.compile(r'id="secret">\s*([A-Z2-7]+)\s*<')


@pytest.fixture
def anna(db: None) -> User:
    return User.objects.create_user("anna", password=PASSWORD)


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create_superuser("root", password=PASSWORD)


def sign_in(client: Client, name: str = "anna", password: str = PASSWORD, **more: Any) -> Any:
    """Submit the sign-in form; `more` has form fields, or request headers in capitals."""
    extra = {key: more.pop(key) for key in list(more) if key.isupper()}
    return client.post(reverse("login"), {"username": name, "password": password, **more}, **extra)


def is_signed_in(client: Client) -> bool:
    return client.get(reverse("account")).status_code == 200


def events(*actions: str) -> list[AuditEvent]:
    """Return the events of these actions, or all events, oldest first."""
    found = AuditEvent.objects.order_by("sequence")
    return list(found.filter(action__in=actions) if actions else found)


def code_of(secret: str, steps: int = 0) -> str:
    """Return the code of an authenticator app (RFC 6238), `steps` of 30 seconds from now.

    Written a second time on purpose: a mistake that both sides shared would not show.
    """
    counter = int(time.time()) // STEP + steps
    mac = hmac.new(b32decode(secret), struct.pack(">Q", counter), hashlib.sha1).digest()
    offset = mac[-1] & 15
    number = struct.unpack(">I", mac[offset : offset + 4])[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06d}"


def set_up_app(client: Client, steps: int = -1) -> str:
    """Set up an authenticator app in a signed-in browser, and return its secret.

    Args:
        client: the browser.
        steps: whose code sets it up, counted from now. A code counts once: tests sign in with the
            present one.
    """
    page = client.get(reverse("mfa_activate_totp"))
    found = SECRET.search(page.content.decode())
    assert found, page.content.decode()
    answer = client.post(reverse("mfa_activate_totp"), {"code": code_of(found[1], steps)})
    assert answer.status_code == 302, answer.content.decode()
    return found[1]


@pytest.fixture
def provider(settings: Any, db: None) -> Iterator[Provider]:
    """A configured provider; members of the group ops are operators."""
    started = Provider()
    settings.OIDC_ISSUER = started.issuer
    settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET = CLIENT_ID, CLIENT_SECRET
    settings.OIDC_NAME = "Example login"
    settings.OIDC_ROLE_MAP = ["ops=operator:all"]
    yield started
    started.stop()


MakeClient = Callable[..., Client]


@pytest.fixture
def client_of() -> MakeClient:
    """Returns browsers that are signed in with the password."""

    def make(user: User, **request: Any) -> Client:
        client = Client(**request)
        answer = sign_in(client, user.get_username())
        assert answer.status_code == 302, answer.content.decode()
        return client

    return make


def text_of(answer: HttpResponse) -> str:
    return answer.content.decode()
