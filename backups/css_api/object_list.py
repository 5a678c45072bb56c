"""ListObjectsV2 of object storage: its XML, read without entities, and its errors."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from dashboard.http.redact import one_line
from dashboard.http.transport import RawAnswer

from .answer import plausible
from .errors import CssApiError

LONGEST_NAME = 1024  # characters; OBS allows so many bytes
_LONGEST_SAID = 200
_LONGEST_TOKEN = 4096  # characters: a part of the next request's URL
_MOST_ELEMENTS = 50_000  # a page has 1,000 objects of some ten; they take more memory than text
_LARGEST = 2**63 - 1  # bytes
_ELSEWHERE = frozenset(
    {"AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect", "Redirect"}
)
_KEY_REJECTED = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed", "InvalidToken"}
    | {"ExpiredToken", "InvalidSecurity"}
)


class StorageProblem(StrEnum):
    """Why the objects of a bucket could not be listed."""

    DENIED = "denied"
    NO_BUCKET = "no_bucket"
    OTHER_REGION = "other_region"
    NO_KEY = "no_key"  # no temporary key, or the storage rejects the key
    NO_PLACE = "no_place"  # no endpoint, or no valid bucket name
    TOO_MANY = "too_many"
    FAILING = "failing"  # overloaded or failing, or its answer cannot be used


class StorageError(CssApiError):
    """The objects of a bucket could not be listed.

    Attributes:
        problem: the kind of problem.
        retryable: a later attempt may succeed.
    """

    def __init__(self, problem: StorageProblem, detail: str, *, retryable: bool = False) -> None:
        super().__init__(one_line(detail, 500))
        self.problem = problem
        self.retryable = retryable


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in a bucket; nothing of its content is read.

    Attributes:
        name: its whole name (key).
        size: in bytes.
        etag: as the storage gives it, without quotes.
        modified_at: when it was written, on the storage's clock, UTC.
    """

    name: str
    size: int
    etag: str
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class ObjectPage:
    """One page of a list; `following` is the token of the next one, "" for the last page."""

    objects: tuple[StoredObject, ...]
    following: str


def read_page(body: bytes) -> ObjectPage:
    """Parse a page.

    Raises:
        StorageError: it is not what ListObjectsV2 returns.
    """
    root = _tree(body)
    if root is None or root.tag != "ListBucketResult":
        raise _unusable("it is not a list of objects")
    try:
        objects = tuple(_object(each) for each in root if each.tag == "Contents")
    except (ValueError, OverflowError) as error:
        raise _unusable(str(error)) from error
    following = root.findtext("NextContinuationToken") or ""
    truncated = (root.findtext("IsTruncated") or "").strip().lower() == "true"
    if truncated and not following:
        raise _unusable("there are more objects, and no token for them")
    if len(following) > _LONGEST_TOKEN:
        raise _unusable("the token of the next page is too long")
    return ObjectPage(objects, following if truncated else "")


def rejection(raw: RawAnswer, bucket: str, region: str) -> StorageError:
    """The error for an answer other than 2xx.

    Args:
        raw: the answer.
        bucket: the bucket that was listed.
        region: the region that was signed for.
    """
    root = _tree(raw.body)
    is_error = root is not None and root.tag == "Error"
    code = one_line((root.findtext("Code") or "") if root is not None and is_error else "", 60)
    said = one_line((root.findtext("Message") or "") if root is not None and is_error else "", 400)
    what = " ".join(part for part in (str(raw.status), code) if part)
    if 300 <= raw.status < 400 or code in _ELSEWHERE:
        actual = one_line((root.findtext("Region") or "") if root is not None else "", 40)
        where = f"in {actual}, not in {region}" if actual else f"not in {region}"
        return StorageError(StorageProblem.OTHER_REGION, f"bucket {bucket} is {where} ({what})")
    if code in _KEY_REJECTED:
        text = f"the object storage rejects the access key ({what}): {said[:_LONGEST_SAID]}"
        return StorageError(StorageProblem.NO_KEY, text, retryable=code == "ExpiredToken")
    if code == "NoSuchBucket":
        return StorageError(StorageProblem.NO_BUCKET, f"there is no bucket {bucket} ({what})")
    if raw.status == 403:
        text = f"listing bucket {bucket} is denied ({what}): allow obs:bucket:ListBucket on it"
        return StorageError(StorageProblem.DENIED, text)
    text = f"the object storage answered {what}: {said[:_LONGEST_SAID]}".rstrip(": ")
    retryable = raw.status == 429 or raw.status >= 500
    return StorageError(StorageProblem.FAILING, text, retryable=retryable)


def _object(element: Element) -> StoredObject:
    name = element.findtext("Key") or ""
    size = int(element.findtext("Size") or "")
    written = datetime.fromisoformat((element.findtext("LastModified") or "").strip())
    moment = plausible(written.replace(tzinfo=written.tzinfo or UTC).astimezone(UTC))
    if not name or not 0 <= size <= _LARGEST or moment is None:
        raise ValueError("an object has no name, size or time")
    etag = one_line((element.findtext("ETag") or "").replace('"', ""), 100)
    return StoredObject(one_line(name, LONGEST_NAME), size, etag, moment)


def _tree(body: bytes) -> Element | None:
    """The document without its namespaces; None where it is not XML.

    A document type is refused, because entities are declared there: a few bytes of them can expand
    to gigabytes, or name local files.
    """
    builder = TreeBuilder()
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True

    def refuse(*_declaration: object) -> None:
        raise ValueError("the document has a document type")

    parser.StartDoctypeDeclHandler = refuse
    numbers = itertools.count(1)

    def start(tag: str, _attributes: object) -> None:
        if next(numbers) > _MOST_ELEMENTS:
            raise ValueError("the document has too many elements")
        builder.start(_local(tag), {})

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda tag: builder.end(_local(tag))
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(body, True)
        return builder.close()
    except (expat.ExpatError, ValueError, AssertionError, LookupError):
        return None


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _unusable(why: str) -> StorageError:
    return StorageError(
        StorageProblem.FAILING, f"the object storage returned an unusable answer: {why}"
    )
