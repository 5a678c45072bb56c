"""Identity service, and validation of the tokens that CSS receives."""

from __future__ import annotations

import hmac
import http.client
import json
import secrets
import string
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol
from urllib.parse import urlsplit

from .signatures import KeyRing, SimulatedKey
from .state import NAMESPACE, CloudClock, SimulatedProject
from .storage import LentKey
from .wire import RawReply, RawRequest, json_reply, keystone_error

DOMAIN = {"id": uuid.uuid5(NAMESPACE, "domain").hex, "name": "css-simulator"}
USERNAME = "simulator-operator"
# Delegated to the user by another account.
AGENCY = "css_backup_agency"
AGENCY_DOMAIN = {"id": uuid.uuid5(NAMESPACE, "agency domain").hex, "name": "css-simulator-owner"}
VERSION = {
    "id": "v3.14",
    "status": "stable",
    "updated": "2020-04-07T00:00:00Z",
    "media-types": [
        {"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}
    ],
}

ROUTES: dict[tuple[str, str], str] = {
    ("GET", ""): "versions",
    ("GET", "/v3"): "version",
    ("POST", "/v3/auth/tokens"): "token",
    ("GET", "/v3/auth/tokens"): "token_check",
    ("DELETE", "/v3/auth/tokens"): "token_revoke",
    ("GET", "/v3/auth/catalog"): "catalog",
    ("GET", "/v3/auth/projects"): "projects",
    ("GET", "/v3/projects"): "projects",
    ("POST", "/v3.0/OS-CREDENTIAL/securitytokens"): "securitytokens",
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """Credentials for signing in, generated at each start."""

    username: str
    password: str
    application_credential_id: str
    application_credential_secret: str
    key: SimulatedKey
    temporary_key: SimulatedKey

    @classmethod
    def generate(cls) -> Credentials:
        """Return new random credentials."""
        return cls(
            USERNAME,
            secrets.token_urlsafe(18),
            uuid.uuid4().hex,
            secrets.token_urlsafe(32),
            SimulatedKey(_access_key(), _secret_key()),
            SimulatedKey(_access_key(), _secret_key(), secrets.token_urlsafe(300)),
        )


def _access_key() -> str:
    return "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(20))


def _secret_key() -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(40))


@dataclass(frozen=True, slots=True)
class Token:
    """A token; `dies` is in seconds of CloudClock.elapsed(), the other times in Unix seconds."""

    project: SimulatedProject | None
    method: str
    issued: float
    expires: float
    dies: float


class IdentityService:
    """Identity service that issues and validates tokens; thread-safe."""

    def __init__(
        self,
        clock: CloudClock,
        projects: dict[str, SimulatedProject],
        token_seconds: float,
        urls: Callable[[], dict[str, str]],
    ) -> None:
        """Create the service.

        Args:
            clock: the cloud's clock.
            projects: projects by id.
            token_seconds: lifetime of a token, in seconds.
            urls: returns the base URL of each region, and of the identity service for the key "".
        """
        self.credentials = Credentials.generate()
        self._clock = clock
        self._projects = projects
        self._token_seconds = token_seconds
        self._urls = urls
        self._lock = threading.Lock()
        self._tokens: dict[str, Token] = {}
        self._lent: list[LentKey] = []
        self.keys = KeyRing(clock, lambda: (self.credentials.key, self.credentials.temporary_key))

    @staticmethod
    def route(method: str, path: str) -> str:
        """Return the name of the identity endpoint, or "" if there is none."""
        return ROUTES.get((method, path.rstrip("/")), "")

    def token(self, value: str) -> Token | None:
        """Return the valid token with this value, or None."""
        with self._lock:
            token = self._tokens.get(value)
        return token if token and self._clock.elapsed() < token.dies else None

    def issued_tokens(self) -> list[str]:
        """Return all tokens that were issued and not revoked."""
        with self._lock:
            return list(self._tokens)

    def lent_keys(self) -> tuple[LentKey, ...]:
        """Return all temporary keys that were issued for a token."""
        with self._lock:
            return tuple(self._lent)

    def expire_tokens(self) -> int:
        """Invalidate all tokens, as a changed password does; return their number."""
        with self._lock:
            count = len(self._tokens)
            self._tokens.clear()
        return count

    def handle(self, endpoint: str, request: RawRequest) -> RawReply:
        """Answer one request to `endpoint`."""
        if endpoint == "versions":
            return json_reply({"versions": {"values": [self._version()]}}, 300)
        if endpoint == "version":
            return json_reply({"version": self._version()})
        if endpoint == "token":
            return self._sign_in(request)
        if self.keys.is_signed(request) and endpoint in ("projects", "catalog"):
            refusal = self.keys.refuse(request)
            if refusal is not None:
                return refusal
            scope = self._projects.get(request.headers.get("x-project-id", ""))
            return self._read(endpoint, request, scope)
        token = self.token(request.headers.get("x-auth-token", ""))
        if token is None:
            return _unauthorized()
        if endpoint == "securitytokens":
            return self._lend(request)
        if endpoint in ("projects", "catalog"):
            return self._read(endpoint, request, token.project)
        return self._subject(endpoint, request.headers.get("x-subject-token", ""))

    def _read(self, endpoint: str, request: RawRequest, scope: SimulatedProject | None) -> RawReply:
        if endpoint == "catalog":
            return json_reply({"catalog": self._catalog(scope)})
        name = request.query.get("name", "")
        projects = [
            _project_json(project)
            for project in self._projects.values()
            if name in ("", project.name)
        ]
        return json_reply({"projects": projects, "links": {"next": None, "previous": None}})

    def _lend(self, request: RawRequest) -> RawReply:
        """Issue a temporary access key for listing, as narrow as the policy says."""
        try:
            identity = request.json_object()["auth"]["identity"]
            (statement,) = identity["policy"]["Statement"]
            (resource,) = statement["Resource"]
            seconds = float(identity["token"]["duration_seconds"])
            condition = statement.get("Condition", {}).get("StringEquals", {})
            (prefix,) = condition.get("obs:prefix", [""])
            service, _, _, kind, bucket = str(resource).split(":")
            lists = statement["Effect"] == "Allow" and statement["Action"] == [
                "obs:bucket:ListBucket"
            ]
            if identity["methods"] != ["token"] or (service, kind) != ("obs", "bucket"):
                raise ValueError("only keys for a bucket, by a token")
            if not lists or not 900 <= seconds <= 86_400:
                raise ValueError("only keys that list, for 900 to 86400 seconds")
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            return keystone_error(400, "Bad Request", f"Expecting to find valid JSON: {error}")
        key = SimulatedKey(_access_key(), _secret_key(), secrets.token_urlsafe(300))
        with self._lock:
            self._lent.append(LentKey(key, bucket, prefix, self._clock.elapsed() + seconds))
        value = {
            "access": key.access,
            "secret": key.secret,
            "securitytoken": key.security_token,
            "expires_at": CloudClock.iso(self._clock.now() + seconds),
        }
        return json_reply({"credential": value}, 201)

    def _subject(self, endpoint: str, value: str) -> RawReply:
        token = self.token(value)
        if token is None:
            return keystone_error(404, "Not Found", "Could not find token.")
        if endpoint == "token_revoke":
            with self._lock:
                self._tokens.pop(value, None)
            return RawReply(204)
        return json_reply({"token": self._token_json(token)}, 200, (("X-Subject-Token", value),))

    def _sign_in(self, request: RawRequest) -> RawReply:
        try:
            auth = request.json_object()["auth"]
            bearer = self.token(request.headers.get("x-auth-token", ""))
            method, application = self._authenticate(auth["identity"], bearer)
            project = self._scope(auth.get("scope"), application=application)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            return keystone_error(400, "Bad Request", f"Expecting to find valid JSON: {error}")
        except PermissionError:
            return _unauthorized()
        now, elapsed = self._clock.now(), self._clock.elapsed()
        token = Token(
            project, method, now, now + self._token_seconds, elapsed + self._token_seconds
        )
        value = f"sim-{secrets.token_urlsafe(48)}"
        with self._lock:
            for old in [key for key, each in self._tokens.items() if each.dies <= elapsed]:
                del self._tokens[old]
            self._tokens[value] = token
        return json_reply({"token": self._token_json(token)}, 201, (("X-Subject-Token", value),))

    def _authenticate(self, identity: dict[str, Any], bearer: Token | None) -> tuple[str, bool]:
        """Return the method, and whether it is an application credential, which implies a scope.

        Args:
            identity: from the request's body.
            bearer: the token in the request's header, which assuming an agency requires.
        """
        methods = identity["methods"]
        ours = self.credentials
        if methods == ["password"]:
            user = identity["password"]["user"]
            known = user.get("name") == ours.username or user.get("id") == _user_id()
            if known and _same(user["password"], ours.password):
                return "password", False
        elif methods == ["application_credential"]:
            credential = identity["application_credential"]
            known = credential.get("id") == ours.application_credential_id
            if known and _same(credential["secret"], ours.application_credential_secret):
                return "application_credential", True
        elif methods == ["assume_role"]:
            role = identity["assume_role"]
            name = role.get("xrole_name") or role.get("agency_name")
            if bearer is None or bearer.method != "password":
                raise PermissionError
            delegating = role.get("domain_name"), role.get("domain_id")
            known = AGENCY_DOMAIN["name"] in delegating or AGENCY_DOMAIN["id"] in delegating
            if name == AGENCY and known:
                return "assume_role", False
        elif methods == ["token"] and self.token(identity["token"]["id"]):
            return "token", False
        raise PermissionError

    def _scope(self, scope: Any, *, application: bool) -> SimulatedProject | None:
        if application:
            return next(iter(self._projects.values()))
        if not isinstance(scope, dict) or "project" not in scope:
            return None
        wanted = scope["project"]
        for project in self._projects.values():
            if wanted.get("id") == project.id or wanted.get("name") == project.name:
                return project
        raise PermissionError

    def _token_json(self, token: Token) -> dict[str, Any]:
        value: dict[str, Any] = {
            "methods": [token.method],
            "user": {"id": _user_id(), "name": self.credentials.username, "domain": DOMAIN},
            "issued_at": CloudClock.iso(token.issued),
            "expires_at": CloudClock.iso(token.expires),
            "audit_ids": [],
        }
        if token.project:
            value["project"] = {
                "id": token.project.id,
                "name": token.project.name,
                "domain": DOMAIN,
            }
            value["roles"] = [{"id": "0", "name": "css_adm"}]
            value["catalog"] = self._catalog(token.project)
        return value

    def _catalog(self, project: SimulatedProject | None) -> list[dict[str, Any]]:
        if project is None:
            return []
        urls = self._urls()
        css = f"{urls[project.region]}/v1.0/{project.id}"
        return [
            _service("identity", "keystone-simulator", "*", f"{urls['']}/v3"),
            _service("css", "css-simulator", project.region, css),
            _service("object", "obs-simulator", project.region, urls[project.region]),
        ]

    def _version(self) -> dict[str, Any]:
        return {**VERSION, "links": [{"rel": "self", "href": f"{self._urls()['']}/v3/"}]}


def _service(kind: str, name: str, region: str, url: str) -> dict[str, Any]:
    endpoint = {
        "id": uuid.uuid5(NAMESPACE, f"{kind} {region}").hex,
        "interface": "public",
        "region": region,
        "region_id": region,
        "url": url,
    }
    return {
        "id": uuid.uuid5(NAMESPACE, kind).hex,
        "type": kind,
        "name": name,
        "endpoints": [endpoint],
    }


def _project_json(project: SimulatedProject) -> dict[str, Any]:
    return {
        "id": project.id,
        "name": project.name,
        "domain_id": DOMAIN["id"],
        "description": "A project of the simulator",
        "enabled": True,
        "is_domain": False,
        "parent_id": DOMAIN["id"],
    }


def _user_id() -> str:
    return uuid.uuid5(NAMESPACE, USERNAME).hex


def _same(given: object, ours: str) -> bool:
    return isinstance(given, str) and hmac.compare_digest(given.encode(), ours.encode())


def _unauthorized() -> RawReply:
    return keystone_error(401, "Unauthorized", "The request you have made requires authentication.")


CACHE_SECONDS = 30.0
TIMEOUT_SECONDS = 10.0


class TokenVerdict(Enum):
    """Result of validating a token for a project."""

    OK = "ok"
    INVALID = "invalid"
    OTHER_PROJECT = "other project"
    UNKNOWN = "identity does not answer"


class TokenChecker(Protocol):
    """Validator for the X-Auth-Token of a request to CSS."""

    def check(self, token: str, project_id: str) -> TokenVerdict:
        """Validate `token` for the project in the path."""


class OwnTokens:
    """Validator for tokens of the simulator's identity service."""

    def __init__(self, identity: IdentityService) -> None:
        self._identity = identity

    def check(self, token: str, project_id: str) -> TokenVerdict:
        """Require a valid token that is scoped to the project."""
        found = self._identity.token(token)
        if found is None:
            return TokenVerdict.INVALID
        same = found.project is not None and found.project.id == project_id
        return TokenVerdict.OK if same else TokenVerdict.OTHER_PROJECT


class AnyToken:
    """Validator that accepts every non-empty token."""

    def check(self, token: str, project_id: str) -> TokenVerdict:
        """Accept any token that is not empty."""
        return TokenVerdict.OK if token else TokenVerdict.INVALID


class KeystoneTokens:
    """Validator for tokens of an external identity service.

    It queries `GET /v3/auth/tokens` and caches valid tokens for CACHE_SECONDS.
    """

    def __init__(self, url: str) -> None:
        """Create a validator; `url` can end in /v3.

        Raises:
            ValueError: `url` is not an HTTP URL.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not an http(s) URL: {url}")
        self._parts = parts
        self._path = parts.path.rstrip("/").removesuffix("/v3") + "/v3/auth/tokens?nocatalog"
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, str]] = {}

    def check(self, token: str, project_id: str) -> TokenVerdict:
        """Require a token that the identity service accepts and that is scoped to the project."""
        if not token:
            return TokenVerdict.INVALID
        with self._lock:
            until, scope = self._known.get(token, (0.0, ""))
        if time.monotonic() >= until:
            try:
                status, scope = self._ask(token)
            except (OSError, http.client.HTTPException, ValueError):
                return TokenVerdict.UNKNOWN
            if status != 200:
                return TokenVerdict.INVALID if status in (401, 403, 404) else TokenVerdict.UNKNOWN
            with self._lock:
                now = time.monotonic()
                self._known = {key: each for key, each in self._known.items() if each[0] > now}
                self._known[token] = (now + CACHE_SECONDS, scope)
        return TokenVerdict.OK if scope == project_id else TokenVerdict.OTHER_PROJECT

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
