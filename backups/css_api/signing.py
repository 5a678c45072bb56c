"""Access keys (AK/SK) and their signatures, in the two schemes that clients in the field use.

docs/css-api.md §5 has the sources. Both schemes are named SDK-HMAC-SHA256 and sign the same
canonical request; they differ in the key and in what the Authorization header names:

- A, of the vendor's SDKs: the secret key itself, `Access=…`;
- B, of the Go SDK for Open Telekom Cloud: a key derived for the day, `Credential=…/sdk_request`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

import requests

from dashboard.http.redact import Secret

ALGORITHM = "SDK-HMAC-SHA256"
# The gateway rejects a signature whose time differs from its own clock by more than this.
LARGEST_SKEW = 900.0  # seconds
# Proxies may change other headers on the way, so those are not signed.
_SIGNED = ("content-type", "host", "x-project-id", "x-sdk-date", "x-security-token")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_SHOWN = 4  # characters of an access key


class Scheme(StrEnum):
    """How a request is signed."""

    A = "A"
    B = "B"


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An access key with its secret key.

    Attributes:
        access: the access key (AK), which names the key.
        secret: the secret key (SK), which is never sent.
        security_token: sent with a temporary key, None for a permanent one.
        scheme: how requests are signed.
    """

    access: Secret
    secret: Secret
    security_token: Secret | None = None
    scheme: Scheme = Scheme.A

    def __str__(self) -> str:
        """The end of the access key: enough to tell keys apart, and all that is ever shown."""
        return f"…{self.access.reveal()[-_SHOWN:]}"

    @property
    def values(self) -> tuple[str, ...]:
        """Everything to redact."""
        parts = (self.access, self.secret, self.security_token)
        return tuple(part.reveal() for part in parts if part is not None)

    def shown_headers(self) -> dict[str, Secret]:
        """The headers that signing adds, as they are stored and shown."""
        names = ["Authorization", *(["X-Security-Token"] if self.security_token else [])]
        return dict.fromkeys(names, Secret(""))


class Signature(requests.auth.AuthBase):
    """Signs each request of a `requests` session.

    Args:
        key: the access key.
        project_id: sent as X-Project-Id, "" for none.
        now: the time to sign with.
    """

    def __init__(
        self,
        key: AccessKey,
        project_id: str = "",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._key = key
        self._project_id = project_id
        self._now = now

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add X-Sdk-Date and Authorization, and what is signed with them."""
        parts = urlsplit(request.url or "")
        headers = request.headers
        headers["Host"] = host_header(parts)  # sent as it is signed
        headers["X-Sdk-Date"] = self._now().astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        if self._project_id:
            headers["X-Project-Id"] = self._project_id
        if self._key.security_token is not None:
            headers["X-Security-Token"] = self._key.security_token.reveal()
        body = request.body if isinstance(request.body, bytes) else (request.body or "").encode()
        headers["Authorization"] = authorization(
            self._key, str(request.method), parts, _signed_part(headers), body
        )
        return request


def authorization(
    key: AccessKey, method: str, url: SplitResult, headers: Mapping[str, str], body: bytes
) -> str:
    """The Authorization header of a request.

    Args:
        key: the access key.
        method: HTTP method.
        url: of the request.
        headers: those to sign, with names in lower case; x-sdk-date is one of them.
        body: of the request, empty for none.
    """
    query = parse_qsl(url.query, keep_blank_values=True)
    payload = body
    if key.scheme is Scheme.B and method == "POST" and not body:
        # that SDK's: the query of a POST without a body counts as its body
        query, payload = [], urlencode(sorted(query)).encode()
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        [
            method,
            _path(url.path),
            "&".join(f"{quoted(name)}={quoted(value)}" for name, value in sorted(query)),
            *(f"{name}:{value.strip()}" for name, value in sorted(headers.items())),
            "",
            names,
            hashlib.sha256(payload).hexdigest(),
        ]
    )
    date = headers["x-sdk-date"]
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    access, secret = key.access.reveal(), key.secret.reveal().encode()
    if key.scheme is Scheme.A:
        signature = hmac_sha256(secret, f"{ALGORITHM}\n{date}\n{digest}").hex()
        return f"{ALGORITHM} Access={access}, SignedHeaders={names}, Signature={signature}"
    # that SDK leaves region and service empty
    scope = f"{date[:8]}///sdk_request"
    derived = b"SDK" + secret
    for part in scope.split("/"):
        derived = hmac_sha256(derived, part)
    signature = hmac_sha256(derived, f"{ALGORITHM}\n{date}\n{scope}\n{digest}").hex()
    return f"{ALGORITHM} Credential={access}/{scope}, SignedHeaders={names}, Signature={signature}"


def host_header(url: SplitResult) -> str:
    """The Host header that belongs to a URL."""
    name = url.hostname or ""
    name = f"[{name}]" if ":" in name else name
    port = url.port
    return name if port in (None, _DEFAULT_PORTS.get(url.scheme)) else f"{name}:{port}"


def _signed_part(headers: Mapping[str, str]) -> dict[str, str]:
    lower = {name.lower(): str(value) for name, value in headers.items()}
    return {name: lower[name] for name in _SIGNED if name in lower}


def _path(path: str) -> str:
    """The path with each segment encoded, and always with a slash at its end."""
    encoded = "/".join(quoted(unquote(segment)) for segment in path.split("/"))
    return encoded if encoded.endswith("/") else f"{encoded}/"


def quoted(text: str) -> str:
    return quote(text, safe="~")


def hmac_sha256(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
