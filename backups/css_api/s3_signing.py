"""Signature of requests to object storage: AWS4-HMAC-SHA256, which its S3 API expects."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import requests

from .signing import AccessKey, hmac_sha256, host_header, quoted

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "s3"


class S3Signature(requests.auth.AuthBase):
    """Signs each request of a `requests` session.

    Args:
        key: the access key; its scheme does not matter here.
        region: the bucket's region.
        now: the time to sign with.
    """

    def __init__(
        self,
        key: AccessKey,
        region: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._key = key
        self._region = region
        self._now = now

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the Authorization header, and the headers that are signed with it."""
        url = urlsplit(request.url or "")
        body = request.body if isinstance(request.body, bytes) else (request.body or "").encode()
        date = self._now().astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        signed = {
            "host": host_header(url),
            "x-amz-content-sha256": hashlib.sha256(body).hexdigest(),
            "x-amz-date": date,
        }
        if self._key.security_token is not None:
            signed["x-amz-security-token"] = self._key.security_token.reveal()
        query = sorted(
            (quoted(name), quoted(value))
            for name, value in parse_qsl(url.query, keep_blank_values=True)
        )
        names = ";".join(signed)
        canonical = "\n".join(
            [
                str(request.method),
                url.path or "/",  # S3 signs the path as it is sent
                "&".join(f"{name}={value}" for name, value in query),
                *(f"{name}:{value}" for name, value in signed.items()),
                "",
                names,
                signed["x-amz-content-sha256"],
            ]
        )
        scope = f"{date[:8]}/{self._region}/{SERVICE}/aws4_request"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        derived = b"AWS4" + self._key.secret.reveal().encode()
        for part in scope.split("/"):
            derived = hmac_sha256(derived, part)
        signature = hmac_sha256(derived, f"{ALGORITHM}\n{date}\n{scope}\n{digest}").hex()
        request.headers.update(signed)
        request.headers["Authorization"] = (
            f"{ALGORITHM} Credential={self._key.access.reveal()}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        return request
