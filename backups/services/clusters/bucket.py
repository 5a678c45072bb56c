"""What the bucket holds of a cluster, by day: read from the cloud on request and not stored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from backups.css_api.object_list import StorageError, StorageProblem, StoredObject
from backups.css_api.object_storage import prefix_of
from backups.models import Cluster, LogSettings
from backups.rules.files import belongs
from backups.services.cloud import INTERACTIVE, storage_for

# The page waits for it.
MOST_PAGES = 20
LONGEST = 15.0  # seconds
SHOWN = 92  # days


@dataclass(slots=True)
class BucketDay:
    """Files that were written on one day.

    Attributes:
        day: the day, UTC.
        files: their number.
        size: bytes of all.
        oldest, newest: when the first and the last of them were written.
    """

    day: date
    files: int
    size: int
    oldest: datetime
    newest: datetime


@dataclass(slots=True)
class BucketContent:
    """The files of a cluster in its bucket.

    Attributes:
        bucket: its name.
        prefix: beginning of the files' names.
        days: the newest first, at most SHOWN.
        files, size: of all days.
        others: objects below the prefix that are not named after the cluster.
        more_days: days that are not shown.
    """

    bucket: str
    prefix: str
    days: list[BucketDay] = field(default_factory=list)
    files: int = 0
    size: int = 0
    others: int = 0
    more_days: int = 0


def read_bucket(cluster: Cluster) -> BucketContent:
    """List a cluster's bucket below its path, within the limits of a page load.

    Raises:
        CssApiError: it cannot be listed, or not within the limits.
    """
    stored = LogSettings.objects.filter(cluster=cluster).first()
    if stored is None or not stored.bucket:
        raise StorageError(StorageProblem.NO_PLACE, "the cluster's bucket is not known")
    found = BucketContent(stored.bucket, prefix_of(stored.base_path))
    storage = storage_for(cluster, timeouts=INTERACTIVE)
    listed = storage.objects(found.bucket, found.prefix, most_pages=MOST_PAGES, longest=LONGEST)
    _count(found, cluster.name, listed)
    return found


def _count(found: BucketContent, name: str, listed: Iterable[StoredObject]) -> None:
    days: dict[date, BucketDay] = {}
    for each in listed:
        if not belongs(each.name, name):
            found.others += not each.name.endswith("/")
            continue
        at = each.modified_at
        day = days.setdefault(at.astimezone(UTC).date(), BucketDay(at.date(), 0, 0, at, at))
        day.files += 1
        day.size += each.size
        day.oldest, day.newest = min(day.oldest, at), max(day.newest, at)
        found.files += 1
        found.size += each.size
    newest_first = sorted(days.values(), key=lambda day: day.day, reverse=True)
    found.days, found.more_days = newest_first[:SHOWN], max(len(newest_first) - SHOWN, 0)
