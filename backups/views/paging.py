"""Keyset paging over runs, newest first: neither OFFSET nor COUNT, the same speed on any page."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import Q, QuerySet

from backups.models import BackupRun

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BadCursor(ValueError):
    """The text is no cursor of this page."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the list of runs: between this run and its neighbours.

    Attributes:
        requested_at: when the run was requested, UTC.
        pk: the run.
    """

    requested_at: datetime
    pk: int

    @classmethod
    def of(cls, run: BackupRun) -> Cursor:
        return cls(run.requested_at, run.pk)

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """Read a cursor from a URL.

        Raises:
            BadCursor: it is not one that `encode` made.
        """
        try:
            plain = base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)).decode()
            match = re.fullmatch(r"([0-9]{1,17})-([0-9]{1,18})", plain, re.ASCII)
            if match is None:
                raise BadCursor(text)
            return cls(_EPOCH + timedelta(microseconds=int(match[1])), int(match[2]))
        except (binascii.Error, UnicodeError, OverflowError) as error:
            raise BadCursor(text) from error

    def encode(self) -> str:
        """The cursor for a URL: opaque, not secret."""
        microseconds = (self.requested_at - _EPOCH) // timedelta(microseconds=1)
        return base64.urlsafe_b64encode(f"{microseconds}-{self.pk}".encode()).decode().rstrip("=")


def older_than(runs: QuerySet[BackupRun], cursor: Cursor) -> QuerySet[BackupRun]:
    """Runs that stand after the cursor in a list of the newest first."""
    # The first condition alone is the range that the index run_newest is entered at.
    return runs.filter(requested_at__lte=cursor.requested_at).filter(
        Q(requested_at__lt=cursor.requested_at) | Q(pk__lt=cursor.pk)
    )


def newer_than(runs: QuerySet[BackupRun], cursor: Cursor) -> QuerySet[BackupRun]:
    """Runs that stand before the cursor in a list of the newest first."""
    return runs.filter(requested_at__gte=cursor.requested_at).filter(
        Q(requested_at__gt=cursor.requested_at) | Q(pk__gt=cursor.pk)
    )
