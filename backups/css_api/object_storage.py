"""Client of object storage (OBS by its S3 API): which objects are in a bucket.

It lists names, sizes and times. It never reads or writes an object (docs/css-api.md §8).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

from dashboard.http.redact import Secret
from dashboard.http.transport import RawAnswer, is_loopback, send

from .answer import read_answer
from .errors import CatalogError, ConfigurationError
from .object_list import StorageError, StorageProblem, StoredObject, read_page, rejection
from .s3_signing import S3Signature
from .session import CloudConnection
from .signing import AccessKey

PAGE = 1000  # objects; the most that the API returns at once
MOST_PAGES = 200
LONGEST = 180.0  # seconds for a whole list
KEY_SECONDS = 900  # the shortest lifetime that the identity service accepts
_PAGE_CAP = 8 * 1024 * 1024  # bytes
_KEY_CAP = 256 * 1024
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_REGION_OF_HOST = re.compile(r"obs\.([a-z0-9-]{2,40})\.")
_ACCESS = re.compile(r"[A-Za-z0-9_-]{8,128}")
_PRINTABLE = re.compile(r"[\x21-\x7e]{8,32768}")


class ObjectStorage:
    """Lists objects with a connection's credentials.

    An entry with an access key signs with it. For a token, the identity service gives a temporary
    key that may list this prefix and nothing else; it is kept in memory and for one list only.

    Args:
        connection: from `session.connect`.

    Its method also raises IdentityError, ConfigurationError, NotSent and Unanswered, as those of
    `client.CssClient` do.
    """

    def __init__(self, connection: CloudConnection) -> None:
        self._connection = connection

    def objects(
        self, bucket: str, prefix: str, *, most_pages: int = MOST_PAGES, longest: float = LONGEST
    ) -> Iterator[StoredObject]:
        """List the objects whose names begin with a prefix, in the storage's order.

        Args:
            bucket: name of the bucket.
            prefix: beginning of the names, "" for all.
            most_pages: at most so many requests, of PAGE objects each.
            longest: at most so many seconds.

        Raises:
            StorageError: they could not be listed, or not within these limits.
        """
        began = time.monotonic()
        if not _BUCKET.fullmatch(bucket):
            raise StorageError(StorageProblem.NO_PLACE, f"“{bucket[:63]}” is no bucket name")
        try:
            endpoint, region = self._connection.storage_endpoint()
        except (CatalogError, ConfigurationError) as error:
            raise StorageError(StorageProblem.NO_PLACE, str(error)) from error
        named = _REGION_OF_HOST.match(urlsplit(endpoint).hostname or "")
        region = named[1] if named else region or "default"
        key = self._key(bucket, prefix)
        following, seen = "", set[str]()
        for _page in range(most_pages):
            page = read_page(self._page(endpoint, region, bucket, prefix, key, following).body)
            yield from page.objects
            following = page.following
            if not following:
                return
            if following in seen:
                raise StorageError(StorageProblem.FAILING, "the list of objects does not end")
            seen.add(following)
            if time.monotonic() - began > longest:
                break
        raise StorageError(
            StorageProblem.TOO_MANY,
            f"bucket {bucket} has more objects below “{prefix}” than can be listed in"
            f" {most_pages} pages and {longest:.0f} s",
        )

    def _page(
        self,
        endpoint: str,
        region: str,
        bucket: str,
        prefix: str,
        key: AccessKey,
        following: str,
    ) -> RawAnswer:
        connection = self._connection
        query = {"list-type": "2", "max-keys": str(PAGE), "prefix": prefix}
        if following:
            query["continuation-token"] = following
        asked = "&".join(f"{name}={quote(text, safe='~')}" for name, text in sorted(query.items()))
        raw = send(
            connection.http(),
            "GET",
            f"{_address(endpoint, bucket)}?{asked}",
            headers={"Accept": "application/xml", "User-Agent": connection.user_agent},
            timeouts=connection.timeouts,
            cap=_PAGE_CAP,
            auth=S3Signature(key, region),
            verify=connection.verify,
            cert=connection.cert,
            secrets=(*connection.secrets, *key.values),
        )
        if raw.status != 200:
            raise rejection(raw, bucket, region)
        return raw

    def _key(self, bucket: str, prefix: str) -> AccessKey:
        authorization = self._connection.authorization()
        if authorization.key is not None:
            return authorization.key
        raw = self._ask_for_key(authorization.token, bucket, prefix)
        if raw.status == 401:
            raw = self._ask_for_key(
                self._connection.authorization(rejected=authorization.token).token, bucket, prefix
            )
        secrets = self._connection.secrets
        if raw.status != 201:
            answer = read_answer(raw, method="POST", path="", secrets=secrets).answer
            said = f": {answer.message[:200]}" if answer.message else ""
            raise StorageError(
                StorageProblem.NO_KEY,
                f"the identity service gives no temporary access key ({raw.status}){said}",
                retryable=raw.status == 429 or raw.status >= 500,
            )
        try:
            found = json.loads(raw.body)["credential"]
            parts = [found["access"], found["secret"], found["securitytoken"]]
            fits = zip((_ACCESS, _PRINTABLE, _PRINTABLE), parts, strict=True)
            usable = all(pattern.fullmatch(part) for pattern, part in fits)
        except (ValueError, KeyError, TypeError, RecursionError):
            usable = False
        if not usable:
            # without the answer, which may contain a secret
            raise StorageError(
                StorageProblem.NO_KEY, "the identity service gave a temporary key that is none"
            )
        access, secret, token = (Secret(part) for part in parts)
        key = AccessKey(access, secret, token)
        self._connection.remember(key)
        return key

    def _ask_for_key(self, token: Secret | None, bucket: str, prefix: str) -> RawAnswer:
        connection = self._connection
        statement: dict[str, object] = {
            "Effect": "Allow",
            "Action": ["obs:bucket:ListBucket"],
            "Resource": [f"obs:*:*:bucket:{bucket}"],
        }
        if prefix:
            statement["Condition"] = {"StringEquals": {"obs:prefix": [prefix]}}
        identity = {
            "methods": ["token"],
            "token": {"duration_seconds": KEY_SECONDS},
            "policy": {"Version": "1.1", "Statement": [statement]},
        }
        base = connection.auth_url.rstrip("/").removesuffix("/v3")
        return send(
            connection.http(),
            "POST",
            f"{base}/v3.0/OS-CREDENTIAL/securitytokens",
            headers={
                "Accept": "application/json",
                "Content-Type": "application/json",
                "User-Agent": connection.user_agent,
                "X-Auth-Token": token.reveal() if token is not None else "",
            },
            timeouts=connection.timeouts,
            cap=_KEY_CAP,
            body=json.dumps({"auth": {"identity": identity}}).encode(),
            verify=connection.verify,
            cert=connection.cert,
            secrets=connection.secrets,
        )


def prefix_of(base_path: str) -> str:
    """The beginning of the names of objects in a folder, "" for the whole bucket."""
    path = base_path.strip("/")
    return f"{path}/" if path else ""


def _address(endpoint: str, bucket: str) -> str:
    """The URL of a bucket: as part of the host, or of the path where no certificate covers that."""
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    by_path = "." in bucket or "." not in host or is_loopback(host)
    by_path = by_path or ":" in host or host.replace(".", "").isdigit()
    if by_path:
        return f"{parts.scheme}://{parts.netloc}/{bucket}"
    return f"{parts.scheme}://{bucket}.{parts.netloc}/"
