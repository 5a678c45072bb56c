"""Whose files are in a bucket: by their names, and by nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from backups.css_api.object_list import StoredObject
from backups.rules.files import attribute, belongs

NOW = datetime(2030, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    "name",
    [
        "orders.log",
        "css/log/2030/orders.log",
        "orders_deprecation",
        "orders_deprecation.log",
        "orders_index_indexing_slowlog.log",
        "orders_index_search_slowlog-2030-01-02.log.gz",
        "orders_access.log",
        "orders-2030-01-02-1.log.gz",
        "orders.log.2030-01-02",
        "orders_deprecation.json",
    ],
)
def test_a_name_of_the_clusters_logs_belongs_to_it(name: str) -> None:
    assert belongs(name, "orders")
    assert not belongs(name, "order")
    assert not belongs(name, "orders-2")
    assert not belongs(name, "")


@pytest.mark.parametrize(
    "name",
    [
        "orders",
        "orders/",
        "orders.txt",
        "orders-eu.log",
        "orders_x.log",
        "myorders.log",
        "orders.log.exe",
        "orders.log/other.log",
    ],
)
def test_other_names_do_not(name: str) -> None:
    assert not belongs(name, "orders")


def test_a_name_is_no_pattern() -> None:
    assert belongs("a.b.log", "a.b")
    assert not belongs("axb.log", "a.b")


@pytest.mark.parametrize(
    ("names", "others", "mine", "unclear"),
    [
        (["orders.log"], [], 1, 0),
        (["orders.log", "shop.log"], ["shop"], 1, 0),
        (["orders.log"], ["orders"], 0, 1),
        (["orders_access.log"], ["orders_access"], 0, 1),
        (["what.log"], ["shop"], 0, 1),
        (["what.log", "folder/"], [], 0, 1),
        ([], ["shop"], 0, 0),
    ],
)
def test_files_are_attributed_where_names_tell(
    names: list[str], others: list[str], mine: int, unclear: int
) -> None:
    written = [StoredObject(name, 1, "", NOW) for name in names]
    found = attribute(written, "orders", others)
    assert (len(found.mine), found.unclear, found.shared) == (mine, unclear, bool(others))
    assert ("Shared prefix" in found.why) == bool(others and unclear)
    assert bool(found.why) == bool(unclear)
