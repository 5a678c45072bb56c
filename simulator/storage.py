"""Object storage: ListObjectsV2 of its S3 API, with signatures checked (docs/css-api.md §8).

Every ended log backup has written files; more objects, refusals and delays are set by the control
API. Signatures are verified by code of its own, so that it and the product's signer test each
other.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
from bisect import bisect_left
from calendar import timegm
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import strptime
from urllib.parse import parse_qsl, quote
from xml.sax.saxutils import escape

from .signatures import SimulatedKey
from .state import CloudClock, SimulatedCloud, SimulatedCluster
from .wire import RawReply, RawRequest

XML_TYPE = ("Content-Type", "application/xml")
NAMESPACE = "http://obs.myhwclouds.com/doc/2015-06-30/"
ENDINGS = (".log", "_index_search_slowlog.log", "_index_indexing_slowlog.log", "_deprecation.log")
SKEW_SECONDS = 900.0
MOST = 1000
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<access>[^/, ]+)/(?P<day>\d{8})/(?P<region>[^/, ]+)/s3/"
    r"aws4_request, SignedHeaders=(?P<names>[^, ]+), Signature=(?P<signature>[0-9a-f]{64})"
)
_REFUSALS = {
    "denied": (403, "AccessDenied", "Access Denied"),
    "missing": (404, "NoSuchBucket", "The specified bucket does not exist."),
    "moved": (301, "PermanentRedirect", "The bucket must be addressed by its own endpoint."),
    "busy": (503, "SlowDown", "Please reduce your request rate."),
}


@dataclass(frozen=True, slots=True)
class SimulatedObject:
    """An object; `modified` is in Unix seconds on the cloud's clock."""

    name: str
    size: int
    modified: float


@dataclass(frozen=True, slots=True)
class LentKey:
    """A temporary key that may list one bucket, below one prefix; "" for all of it."""

    key: SimulatedKey
    bucket: str
    prefix: str
    dies: float


class StorageService:
    """Buckets and their objects; thread-safe."""

    def __init__(
        self,
        cloud: SimulatedCloud,
        regions: tuple[str, ...],
        keys: Callable[[], tuple[SimulatedKey, ...]],
        lent: Callable[[], tuple[LentKey, ...]],
    ) -> None:
        """Create the service.

        Args:
            cloud: clusters and jobs.
            regions: regions whose signatures are accepted.
            keys: returns the keys that may list everything.
            lent: returns the temporary keys that were issued.
        """
        self._cloud = cloud
        self._regions = regions
        self._keys = keys
        self._lent = lent
        self._lock = threading.Lock()
        self._added: dict[str, list[SimulatedObject]] = {}
        self._refusals: dict[str, str] = {}

    @staticmethod
    def route(request: RawRequest) -> bool:
        """Whether the request is for the object storage."""
        return request.method == "GET" and "list-type" in request.query

    def clear(self) -> None:
        """Remove what the control API has set."""
        with self._lock:
            self._added.clear()
            self._refusals.clear()

    def refuse(self, bucket: str, why: str) -> None:
        """Refuse requests for a bucket; "" to accept them again.

        Raises:
            ValueError: there is no such refusal.
        """
        if why and why not in _REFUSALS:
            raise ValueError(f"refusal is one of {', '.join(_REFUSALS)}")
        with self._lock:
            self._refusals[bucket] = why

    def add(self, bucket: str, name: str, count: int, size: int, age: float) -> None:
        """Add objects.

        Args:
            bucket: name of the bucket.
            name: of the object; with a count above 1 a number follows it.
            count: number of objects.
            size: bytes of each.
            age: how many seconds ago they were written.
        """
        at = self._cloud.clock.now() - age
        names = [name] if count == 1 else [f"{name}-{number:06}" for number in range(count)]
        with self._lock:
            added = self._added.setdefault(bucket, [])
            added.extend(SimulatedObject(n, size, at) for n in names)
            added.sort(key=lambda each: each.name)

    def handle(self, request: RawRequest) -> RawReply:
        """Answer ListObjectsV2 for a bucket in the path."""
        bucket = request.path.strip("/")
        prefix = request.query.get("prefix", "")
        problem = self._problem(request, bucket, prefix)
        with self._lock:
            refusal = self._refusals.get(bucket, "")
        if problem:
            return _error(*problem)
        if refusal:
            return _error(*_REFUSALS[refusal])
        after = request.query.get("continuation-token", "").removeprefix("after ")
        most = min(int(request.query.get("max-keys", MOST)), MOST)
        found = self._objects(bucket, prefix, after, most + 1)
        if found is None:
            return _error(*_REFUSALS["missing"])
        return _page(bucket, prefix, found[:most], more=len(found) > most)

    def _objects(
        self, bucket: str, prefix: str, after: str, most: int
    ) -> list[SimulatedObject] | None:
        """The first listed objects after a name, None if there is no such bucket."""
        with self._lock:
            added = self._added.get(bucket, [])
            first = bisect_left(added, max(prefix, after), key=lambda each: each.name)
            found = added[first : first + most + 1]
            known = bucket in self._added
        for cluster in self._cloud.clusters():
            if cluster.log is not None and cluster.log.bucket == bucket:
                known = True
                found += self._written(cluster)
        found.sort(key=lambda each: each.name)
        below = [each for each in found if each.name.startswith(prefix) and each.name > after]
        return below[:most] if known else None

    def _written(self, cluster: SimulatedCluster) -> list[SimulatedObject]:
        """What the ended jobs of a cluster have written."""
        elapsed = self._cloud.clock.elapsed()
        with self._cloud.lock:
            jobs = list(cluster.jobs)
        found = []
        for job in jobs:
            ended = job.started + job.duration
            if job.status(elapsed) != "SUCCESS" or elapsed < ended + cluster.files_late:
                continue
            at = job.created_ms / 1000 + job.duration
            folder = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d-%H-%M-%S")
            path = job.log_path.partition("/")[2].strip("/")
            for number, ending in enumerate(ENDINGS[: cluster.files]):
                name = f"{path}/{folder}/{cluster.name}{ending}"
                found.append(SimulatedObject(name, 1000 * (number + 1), at))
        return found

    def _problem(
        self, request: RawRequest, bucket: str, prefix: str
    ) -> tuple[int, str, str] | None:
        """What is wrong with the signature or the key, None if nothing."""
        found = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
        if found is None:
            return 403, "AccessDenied", "The request is not signed."
        lent = next((each for each in self._lent() if each.key.access == found["access"]), None)
        own = next((each for each in self._keys() if each.access == found["access"]), None)
        key = lent.key if lent else own
        if key is None:
            return 403, "InvalidAccessKeyId", "The access key does not exist."
        if lent is not None and lent.dies < self._cloud.clock.elapsed():
            return 400, "ExpiredToken", "The temporary key has expired."
        if not hmac.compare_digest(
            request.headers.get("x-amz-security-token", "").encode(), key.security_token.encode()
        ):
            return 403, "InvalidToken", "The security token is wrong."
        if found["region"] not in self._regions:
            return 400, "AuthorizationHeaderMalformed", "The region is wrong."
        if problem := self._compare(request, found, key):
            return problem
        if lent is not None and (lent.bucket != bucket or not prefix.startswith(lent.prefix)):
            return 403, "AccessDenied", "The temporary key is for another prefix."
        return None

    def _compare(
        self, request: RawRequest, found: re.Match[str], key: SimulatedKey
    ) -> tuple[int, str, str] | None:
        date = request.headers.get("x-amz-date", "")
        try:
            signed_at = timegm(strptime(date, "%Y%m%dT%H%M%SZ"))
        except ValueError:
            return 403, "AccessDenied", "x-amz-date is malformed."
        if abs(self._cloud.clock.now() - signed_at) > SKEW_SECONDS:
            return 403, "RequestTimeTooSkewed", "The time of the request is too far off."
        names = found["names"].split(";")
        needed = {"host", "x-amz-date", *(["x-amz-security-token"] if key.security_token else [])}
        if names != sorted(names) or not needed <= set(names):
            return 403, "AccessDenied", "SignedHeaders is malformed."
        pairs = sorted(
            f"{quote(name, safe='~')}={quote(value, safe='~')}"
            for name, value in parse_qsl(request.raw_query, keep_blank_values=True)
        )
        headers = "".join(f"{name}:{request.headers.get(name, '').strip()}\n" for name in names)
        hashed = request.headers.get("x-amz-content-sha256", "")
        if hashed != hashlib.sha256(request.body).hexdigest():
            return 400, "XAmzContentSHA256Mismatch", "The digest of the body is wrong."
        text = "\n".join(["GET", request.path, "&".join(pairs), headers, found["names"], hashed])
        scope = f"{found['day']}/{found['region']}/s3/aws4_request"
        secret = f"AWS4{key.secret}".encode()
        for part in scope.split("/"):
            secret = hmac.digest(secret, part.encode(), "sha256")
        digest = hashlib.sha256(text.encode()).hexdigest()
        to_sign = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}"
        right = hmac.digest(secret, to_sign.encode(), "sha256").hex()
        if found["day"] != date[:8] or not hmac.compare_digest(found["signature"], right):
            return 403, "SignatureDoesNotMatch", "The signature is wrong."
        return None


def _page(bucket: str, prefix: str, found: list[SimulatedObject], *, more: bool) -> RawReply:
    rows = "".join(
        f"<Contents><Key>{escape(each.name)}</Key>"
        f"<LastModified>{CloudClock.iso(each.modified)[:-4]}Z</LastModified>"
        f"<ETag>&quot;{hashlib.md5(each.name.encode(), usedforsecurity=False).hexdigest()}&quot;"
        f"</ETag><Size>{each.size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for each in found
    )
    following = (
        f"<NextContinuationToken>after {escape(found[-1].name)}</NextContinuationToken>"
        if more
        else ""
    )
    return _xml(
        200,
        f'<ListBucketResult xmlns="{NAMESPACE}"><Name>{bucket}</Name>'
        f"<Prefix>{escape(prefix)}</Prefix><KeyCount>{len(found)}</KeyCount>"
        f"<MaxKeys>{MOST}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>"
        f"{following}{rows}</ListBucketResult>",
    )


def _error(status: int, code: str, message: str) -> RawReply:
    return _xml(status, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>")


def _xml(status: int, text: str) -> RawReply:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()
    return RawReply(status, body, (XML_TYPE,))
