"""Verification of requests that are signed with an access key (docs/css-api.md §5).

Written from the documentation, apart from the product's signer, so that each tests the other.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
from calendar import timegm
from collections.abc import Callable
from dataclasses import dataclass
from time import strptime
from urllib.parse import parse_qsl, quote, unquote, urlencode

from .state import CloudClock
from .wire import RawReply, RawRequest, gateway_error

ALGORITHM = "SDK-HMAC-SHA256"
SKEW_SECONDS = 900.0
LOCK_AFTER = 5
LOCK_SECONDS = 300.0

_BY_KEY = re.compile(
    rf"{ALGORITHM} Access=(?P<access>[^,/ ]+), SignedHeaders=(?P<names>[^, ]+), "
    r"Signature=(?P<signature>[0-9a-f]{64})"
)
_BY_SCOPE = re.compile(
    rf"{ALGORITHM} Credential=(?P<access>[^,/ ]+)/(?P<scope>[^, ]+), "
    r"SignedHeaders=(?P<names>[^, ]+), Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class SimulatedKey:
    """An access key; `security_token` is "" for a permanent one."""

    access: str
    secret: str
    security_token: str = ""


class KeyRing:
    """Known access keys, and the keys that are locked; thread-safe."""

    def __init__(self, clock: CloudClock, keys: Callable[[], tuple[SimulatedKey, ...]]) -> None:
        """Create a key ring.

        Args:
            clock: the cloud's clock.
            keys: returns the known keys.
        """
        self._clock = clock
        self._keys = keys
        self._lock = threading.Lock()
        self._wrong: dict[str, int] = {}
        self._locked_until: dict[str, float] = {}

    @staticmethod
    def is_signed(request: RawRequest) -> bool:
        """Whether the request claims to be signed."""
        return request.headers.get("authorization", "").startswith(ALGORITHM)

    def refuse(self, request: RawRequest) -> RawReply | None:
        """Return the gateway's error for a signed request, or None if its signature is right."""
        problem = self._problem(request)
        if not problem:
            return None
        message = f"Incorrect IAM authentication information: {problem}"
        return gateway_error(401, "APIGW.0301", message, request.request_id)

    def unlock(self) -> None:
        """Unlock all keys."""
        with self._lock:
            self._wrong.clear()
            self._locked_until.clear()

    def _problem(self, request: RawRequest) -> str:
        value = request.headers["authorization"]
        found = _BY_KEY.fullmatch(value) or _BY_SCOPE.fullmatch(value)
        if found is None:
            return "the Authorization header is malformed"
        access = found["access"]
        key = next((each for each in self._keys() if each.access == access), None)
        if key is None:
            return "get secretKey failed, err:ak not exist"
        elapsed = self._clock.elapsed()
        with self._lock:
            if self._locked_until.get(access, 0.0) > elapsed:
                return "AK access failed to reach the limit,forbidden"
        problem = self._compare(request, found, key)
        with self._lock:
            self._wrong[access] = self._wrong.get(access, 0) + 1 if problem else 0
            if self._wrong[access] >= LOCK_AFTER:
                self._wrong[access] = 0
                self._locked_until[access] = elapsed + LOCK_SECONDS
        return problem

    def _compare(self, request: RawRequest, found: re.Match[str], key: SimulatedKey) -> str:
        names = found["names"].split(";")
        if names != sorted(names) or not {"host", "x-sdk-date"} <= set(names):
            return "SignedHeaders is malformed"
        if any(name not in request.headers for name in names):
            return "a signed header is missing"
        date = request.headers["x-sdk-date"]
        try:
            signed_at = timegm(strptime(date, "%Y%m%dT%H%M%SZ"))
        except ValueError:
            return "x-sdk-date is malformed"
        if abs(self._clock.now() - signed_at) > SKEW_SECONDS:
            return "x-sdk-date is expired"
        if not _same(request.headers.get("x-security-token", ""), key.security_token):
            return "the security token is wrong"
        scope = found.groupdict().get("scope", "")
        signing_key = key.secret.encode()
        if scope:
            parts = scope.split("/")
            if len(parts) != 4 or parts[0] != date[:8] or parts[3] != "sdk_request":
                return "the credential scope is malformed"
            signing_key = b"SDK" + signing_key
            for part in parts:
                signing_key = hmac.digest(signing_key, part.encode(), "sha256")
        hashed = hashlib.sha256(_canonical(request, names, scoped=bool(scope)).encode()).hexdigest()
        lines = [ALGORITHM, date, *([scope] if scope else []), hashed]
        right = hmac.digest(signing_key, "\n".join(lines).encode(), "sha256").hex()
        return "" if _same(found["signature"], right) else "verify aksk signature fail"


def _canonical(request: RawRequest, names: list[str], *, scoped: bool) -> str:
    pairs = sorted(parse_qsl(request.raw_query, keep_blank_values=True))
    body = request.body
    if scoped and request.method == "POST" and not body:
        pairs, body = [], urlencode(pairs).encode()
    path = "".join(f"{quote(unquote(part), safe='~')}/" for part in request.path.split("/"))
    if request.path.endswith("/"):
        path = path[:-1]
    query = "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs)
    headers = "".join(f"{name}:{request.headers[name].strip()}\n" for name in names)
    hashed = request.headers.get("x-sdk-content-sha256") or hashlib.sha256(body).hexdigest()
    if not body:
        hashed = hashlib.sha256(b"").hexdigest()
    return "\n".join([request.method, path, query, headers, ";".join(names), hashed])


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode(), right.encode())
