"""Whose word counts for a token: our own identity service, a real Keystone, or nobody's."""

from __future__ import annotations

import http.client
import json
import threading
import time
from enum import Enum
from typing import Protocol
from urllib.parse import urlsplit

from .identity import IdentityService

CACHE_SECONDS = 30.0
TIMEOUT_SECONDS = 10.0


class Verdict(Enum):
    """What a token is worth for a project."""

    OK = "ok"
    INVALID = "invalid"
    OTHER_PROJECT = "other project"
    UNKNOWN = "identity does not answer"


class TokenChecker(Protocol):
    """Judges the X-Auth-Token of a request to CSS."""

    def check(self, token: str, project_id: str) -> Verdict:
        """Judge `token` for the project in the path."""


class OwnTokens:
    """Tokens of the simulator's identity service."""

    def __init__(self, identity: IdentityService) -> None:
        self._identity = identity

    def check(self, token: str, project_id: str) -> Verdict:
        """A living token that is scoped to the project."""
        found = self._identity.token(token)
        if found is None:
            return Verdict.INVALID
        same = found.project is not None and found.project.id == project_id
        return Verdict.OK if same else Verdict.OTHER_PROJECT


class AnyToken:
    """Every token that is not empty."""

    def check(self, token: str, project_id: str) -> Verdict:
        """Only the empty token is invalid."""
        return Verdict.OK if token else Verdict.INVALID


class KeystoneTokens:
    """Tokens of another identity service, which is asked (`GET /v3/auth/tokens`) and believed for
    CACHE_SECONDS."""

    def __init__(self, url: str) -> None:
        """`url` may end in /v3 or not; raises ValueError when it is no URL."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not an http(s) URL: {url}")
        self._parts = parts
        self._path = parts.path.rstrip("/").removesuffix("/v3") + "/v3/auth/tokens?nocatalog"
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, str]] = {}

    def check(self, token: str, project_id: str) -> Verdict:
        """Valid at the identity service, and scoped to the project."""
        if not token:
            return Verdict.INVALID
        with self._lock:
            until, scope = self._known.get(token, (0.0, ""))
        if time.monotonic() >= until:
            try:
                status, scope = self._ask(token)
            except (OSError, http.client.HTTPException, ValueError):
                return Verdict.UNKNOWN
            if status != 200:
                return Verdict.INVALID if status in (401, 403, 404) else Verdict.UNKNOWN
            with self._lock:
                now = time.monotonic()
                self._known = {key: each for key, each in self._known.items() if each[0] > now}
                self._known[token] = (now + CACHE_SECONDS, scope)
        return Verdict.OK if scope == project_id else Verdict.OTHER_PROJECT

    def _ask(self, token: str) -> tuple[int, str]:
        kind = (
            http.client.HTTPSConnection
            if self._parts.scheme == "https"
            else http.client.HTTPConnection
        )
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=TIMEOUT_SECONDS)
        try:
            headers = {"X-Auth-Token": token, "X-Subject-Token": token}
            connection.request("GET", self._path, headers=headers)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            return response.status, ""
        project = json.loads(body).get("token", {}).get("project") or {}
        return 200, str(project.get("id", ""))
