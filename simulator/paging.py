"""The paging of CSS's lists: `limit` and a 1-based item index, named `offset` or `start`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from .wire import Refusal, css_error

Item = TypeVar("Item")


def page(items: Sequence[Item], query: Mapping[str, str]) -> Sequence[Item]:
    """The part of `items` that the query asks for (the first 10 unless it says otherwise).

    Raises:
        Refusal: 400 CSS.5038, a number is none or out of range.
    """
    start = _number(query.get("offset") or query.get("start") or "1", maximum=None)
    limit = _number(query.get("limit") or "10", maximum=1000)
    return items[start - 1 : start - 1 + limit]


def _number(text: str, maximum: int | None) -> int:
    value = int(text) if text.isascii() and text.isdigit() else 0
    if value < 1 or (maximum is not None and value > maximum):
        raise Refusal(css_error(400, "CSS.5038", "The parameter value is out of range.", text[:40]))
    return value
