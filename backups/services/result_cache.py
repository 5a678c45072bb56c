"""Counts over many rows, cached in each process for a fixed time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from django.core.cache import caches
from django.core.exceptions import EmptyResultSet

if TYPE_CHECKING:
    from django.db.models import QuerySet

COUNTS_TIMEOUT = 3  # seconds: what the home page says about now
FIGURES_TIMEOUT = 10  # seconds: charts and API figures, which show their age

T = TypeVar("T")


def cached(
    name: str, visible: QuerySet[Any], compute: Callable[[], T], timeout: float, *parts: str
) -> T:
    """A result from the cache, computed where it is not there.

    The key contains the query for the rows that the user may see: users share a result only where
    that query is the same.

    Args:
        name: of the result.
        visible: the rows that the user may see.
        compute: computes the result; must not return None.
        timeout: seconds to cache it.
        parts: what else the result depends on.
    """
    try:
        sql, values = visible.order_by().values("pk").query.sql_with_params()
    except EmptyResultSet:
        sql, values = "nothing", ()
    text = "\0".join([*parts, sql, *map(repr, values)])
    key = f"{name}.{hashlib.sha256(text.encode()).hexdigest()}"
    return cast("T", caches["process"].get_or_set(key, compute, timeout))
