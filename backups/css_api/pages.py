"""Reading a list to its end, whatever the server makes of the paging parameters.

docs/css-api.md §2 and §3: pages start at a 1-based item index that is documented as 1…1000 and is
called `offset` in tables and `start` in examples and in clients that run against the real cloud;
the total is optional. What to send is decided so that nothing untested is relied on:

- the first page names no start at all: 1 is the default under either name;
- later pages name `start`; when that brings nothing new, the same page is asked for as `offset`.
  Both are never sent together, because nobody has tried that on the real cloud;
- past item 1,000 one page of 1,000 is asked for from item 1,000 on, which stays inside the
  documented range; only past item 1,999 does the start leave it.
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
    """The server says that there is more, and does not give it."""


class _Changed(Exception):
    """The list changed while it was read."""


def read_list(
    fetch: Fetch[T],
    key: Callable[[T], str],
    enough: Callable[[list[T]], bool] = lambda rows: False,
) -> list[T]:
    """Read a list to its end, or until it is enough.

    Args:
        fetch: gets the page of a query string.
        key: tells rows apart; a row that comes twice counts once.
        enough: says of the rows so far whether the rest is not needed.

    Returns:
        The rows in the server's order, each once.

    Raises:
        IncompleteList: the server says that there are more rows than it gives.
        ApiError: what `fetch` raises.
    """
    for attempt in range(_TRIES):
        try:
            return _read_once(fetch, key, enough)
        except _Changed:  # rows moved between pages: one may have slipped through
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
                return list(rows.values())  # there was no such page: the short one was the last
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
    # Exactly the default number of rows, when more were asked for: perhaps the limit was not seen.
    return len(page.rows) < limit and len(page.rows) != _DEFAULT_SIZE


def _at_a_dead_end(rows: dict[str, T], page: ListPage[T], limit: int, total: int | None) -> list[T]:
    """Nothing new under either name: the end, or a server that always gives the same page."""
    if total is not None:
        raise IncompleteList(f"totalSize is {total}, but only {len(rows)} can be read")
    if page.rows and len(page.rows) >= min(limit, PAGE_SIZE):
        raise IncompleteList(f"the same full page comes again after {len(rows)} rows")
    return list(rows.values())
