"""Results that many rows were read for, kept for a moment in this process."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from django.core.cache import caches
from django.core.exceptions import EmptyResultSet

if TYPE_CHECKING:
    from django.db.models import QuerySet

# What is made faster than this is made anew each time: on a small database pages show what is.
WORTH_KEEPING = 0.025  # seconds
# So that making it takes a fortieth of the time at most, and what was merely slow once is soon new.
SHARE = 40

T = TypeVar("T")


def kept(key: str, seconds: float, make: Callable[[], T]) -> T:
    """Make a result, or take the one that was made for the same key.

    Args:
        key: two results under one key are the same for everyone who asks.
        seconds: how long a result is kept at most. One that took longer than WORTH_KEEPING to
            make is kept for SHARE times as long as that took.
        make: makes it; must not return None.
    """
    cache = caches["process"]
    found: T | None = cache.get(key)
    if found is None:
        began = time.monotonic()
        found = make()
        took = time.monotonic() - began
        if took > WORTH_KEEPING:
            cache.set(key, found, min(seconds, SHARE * took))
    return found


def key_for(name: str, visible: QuerySet[Any], *more: str) -> str:
    """A key that two users share exactly where what they may see comes from one query.

    Args:
        name: what is kept.
        visible: the rows that the user may see.
        more: what else tells two results apart.
    """
    try:
        sql, values = visible.order_by().values("pk").query.sql_with_params()
    except EmptyResultSet:
        sql, values = "nothing", ()
    told = "\0".join([*more, sql, *map(repr, values)])
    return f"{name}.{hashlib.sha256(told.encode()).hexdigest()}"
