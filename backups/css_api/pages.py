"""Reading all pages of a list, however the server interprets the paging parameters.

docs/css-api.md §2 and §3: pages start at a 1-based item index that is documented as 1…1000 and is
called `offset` in tables and `start` in examples and in clients that run against the real cloud;
the total is optional. The requests rely only on tested behaviour:

- the first page names no start at all: 1 is the default under either name;
- later pages name `start`; if that returns nothing new, the same page is requested as `offset`.
  Both are never sent together, which is untested on the real cloud;
- past item 1,000 one page of 1,000 is requested from item 1,000 on, which is within the
  documented range; only past item 1,999 the start leaves it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from .errors import ApiError
from .parse import ListPage

T = TypeVar("T")

PAGE_SIZE = 100
_LAST_START = 1000  # the largest documented start, and the largest documented limit
_DEFAULT_SIZE = 10  # rows the cloud gives to a request whose limit it does not see
_MOST_PAGES = 1_000
_TRIES = 3

Fetch = Callable[[str], ListPage[T]]


class IncompleteList(ValueError):
    """The server reports more rows than it returns."""


class _Changed(Exception):
    """The list changed while it was read."""


def read_list(
    fetch: Fetch[T],
    key: Callable[[T], str],
    enough: Callable[[list[T]], bool] = lambda rows: False,
) -> list[T]:
    """Read a list to its end, or until `enough`.

    Args:
        fetch: reads the page of a query string.
        key: identifies a row; duplicates count once.
        enough: whether the rows so far are sufficient.

    Returns:
        The rows in the server's order, without duplicates.

    Raises:
        IncompleteList: the server reports more rows than it returns.
        ApiError: what `fetch` raises.
    """
    for attempt in range(_TRIES):
        try:
            return _read_once(fetch, key, enough)
        except _Changed:  # rows moved between pages, so one may be missing
            if attempt == _TRIES - 1:
                raise IncompleteList("the list changed each time it was read") from None
    raise AssertionError("not reached")


def _read_once(
    fetch: Fetch[T], key: Callable[[T], str], enough: Callable[[list[T]], bool]
) -> list[T]:
    page = fetch(f"limit={PAGE_SIZE}")
    total, limit = page.total, PAGE_SIZE
    rows = {key(row): row for row in page.rows}
    name, asked_past_range = "start", False
    for _ in range(_MOST_PAGES):
        if enough(list(rows.values())) or _ended(page, limit, len(rows), total):
            return list(rows.values())
        start, limit = len(rows) + 1, PAGE_SIZE
        if start > _LAST_START:
            limit = _LAST_START
            if not asked_past_range:
                start = _LAST_START
        query = f"{name}={start}&limit={limit}"
        try:
            page = fetch(query)
        except ApiError as error:
            if total is None and len(page.rows) < PAGE_SIZE and error.answer.status in {400, 404}:
                return list(rows.values())  # no such page: the short one was the last
            raise
        if page.total != total:
            raise _Changed
        before = len(rows)
        for row in page.rows:
            rows.setdefault(key(row), row)
        if len(rows) > before:
            asked_past_range = asked_past_range or start == _LAST_START
        elif name == "start":
            name = "offset"
        else:
            return _at_a_dead_end(rows, page, limit, total)
    raise IncompleteList(f"the list has not ended after {_MOST_PAGES} pages")


def _ended(page: ListPage[T], limit: int, seen: int, total: int | None) -> bool:
    if total is not None:
        return seen >= total
    # Exactly the default number of rows: the server may have ignored the limit.
    return len(page.rows) < limit and len(page.rows) != _DEFAULT_SIZE


def _at_a_dead_end(rows: dict[str, T], page: ListPage[T], limit: int, total: int | None) -> list[T]:
    """Nothing new under either name: the end, or a server that always returns the same page."""
    if total is not None:
        raise IncompleteList(f"totalSize is {total}, but only {len(rows)} can be read")
    if page.rows and len(page.rows) >= min(limit, PAGE_SIZE):
        raise IncompleteList(f"the same full page is returned again after {len(rows)} rows")
    return list(rows.values())
