"""Pages over rows in any unambiguous order, without OFFSET and COUNT.

A cursor contains the sort keys of the last row of a page, so that the next page begins behind that
place even if the row has moved or is gone. For lists by time of unlimited length see keyset.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core import signing
from django.db.models import Q, QuerySet
from django.db.models.expressions import OrderBy

from .keyset import BadCursor


@dataclass(frozen=True, slots=True)
class OrderedPage:
    """A page.

    Attributes:
        pks: primary keys of its rows, in order.
        cursor: where the next page begins; "" on the last one.
    """

    pks: list[Any]
    cursor: str


def read(
    rows: QuerySet[Any, Any], order: Sequence[OrderBy], size: int, cursor: str = "", *, kind: str
) -> OrderedPage:
    """Read a page.

    Args:
        rows: the list.
        order: the last one is unique. NULLs come first, or last where the order is descending.
        size: maximum number of rows.
        cursor: from a page of the same kind; "" for the first page.
        kind: name of the list and its order.

    Raises:
        BadCursor: it is not from such a page. Cursors are signed, so their values need no checks.
    """
    names = [f"sort_key_{place}" for place in range(len(order))]
    keyed = rows.order_by().annotate(
        **{name: each.expression for name, each in zip(names, order, strict=True)}
    )
    salt = f"page of {kind}"
    if cursor:
        keyed = keyed.filter(_after(names, order, _decoded(cursor, salt)))
    keyed = keyed.order_by(*order)
    found = list(keyed.values_list("pk", *names)[: size + 1])
    rows_left = len(found) > size
    last = [_plain(value) for value in found[size - 1][1:]] if rows_left else None
    return OrderedPage(
        [pk for pk, *_keys in found[:size]],
        # without a timestamp, so that an unchanged page is equal each time, and so is its ETag
        signing.Signer(salt=salt).sign_object(last, compress=True) if last else "",
    )


def _decoded(cursor: str, salt: str) -> list[Any]:
    try:
        values: list[Any] = signing.Signer(salt=salt).unsign_object(cursor)
    except (signing.BadSignature, ValueError) as error:
        raise BadCursor(cursor) from error
    return values


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _after(names: Sequence[str], order: Sequence[OrderBy], values: Sequence[Any]) -> Q:
    found, same = Q(pk__in=[]), Q()
    for name, each, value in zip(names, order, values, strict=True):
        found |= same & _beyond(name, value, each)
        same &= Q(**{f"{name}__isnull": True} if value is None else {name: value})
    if values[0] is not None and not order[0].nulls_last:
        # a range of one column, for an index; OR alone would be none
        found &= Q(**{f"{names[0]}__{'lte' if order[0].descending else 'gte'}": values[0]})
    return found


def _beyond(name: str, value: Any, order: OrderBy) -> Q:
    if value is None:
        return Q(pk__in=[]) if order.descending else Q(**{f"{name}__isnull": False})
    beyond = Q(**{f"{name}__{'lt' if order.descending else 'gt'}": value})
    return beyond | Q(**{f"{name}__isnull": True}) if order.nulls_last else beyond
