"""Tokens for tests, and a program that sends one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.test import Client
from django.utils import timezone

from dashboard.accounts.models import User
from dashboard.audit.trail import Actor
from dashboard.tokens.issuing import create_token
from dashboard.tokens.models import ApiToken, Scope
from tests.described import check_described


def token_of(user: User, scope: Scope = Scope.RUN, name: str = "", days: int = 30) -> str:
    """A new token of an account, as it is shown once."""
    name = name or f"{scope} of {user.username}"
    _token, text = create_token(user, name, scope, days, Actor(user.username))
    return text.text


def expire(user: User) -> None:
    """Let all tokens of an account have expired a moment ago."""
    ApiToken.objects.of(user).update(expires_at=timezone.now() - timedelta(seconds=1))


@dataclass
class Answer:
    """What a program got: JSON, or the text of a file."""

    status: int
    body: Any
    headers: Any

    @property
    def kind(self) -> str:
        """Of the problem, "" for none."""
        told = isinstance(self.body, dict)
        return str(self.body.get("type", "")).rpartition(":")[2] if told else ""


@dataclass
class Program:
    """A program with a token, or without one."""

    token: str = ""
    client: Client = field(default_factory=Client)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send a request to a path below /api/v1/, or to one that begins with a slash."""
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        url = path if path.startswith("/") else f"/api/v1/{path}"
        data = "" if body is None else body if isinstance(body, str) else json.dumps(body)
        kind = "application/json" if data else ""
        answer = self.client.generic(method, url, data, kind, headers=headers)
        text = answer.getvalue().decode()  # of a streamed one, too
        is_json = "json" in answer.headers.get("Content-Type", "")
        got = json.loads(text) if text and is_json else text or None
        check_described(method, url, answer.status_code, got if is_json else None)
        return Answer(answer.status_code, got, answer.headers)

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.ask("POST", path, body, **headers)


def make_by_page(visitor: Any, name: str, scope: Scope) -> str:
    """Make a token on the page, as the browser of `tests.visitor` does; returns its text."""
    page = visitor.post("/account/tokens/new/", data={"name": name, "scope": scope, "days": "7"})
    page.raise_for_status()
    found = re.search(r"csslb_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", page.text)
    assert found, page.text
    return found[0]
