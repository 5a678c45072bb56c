"""Lets the test runner empty tables, which the product's triggers refuse to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def guards_lifted() -> Iterator[None]:
    """Take the triggers away for the time of a block, as only the database's owner can."""
    from django.db import connection, transaction

    from backups.guards import GUARDS as of_runs
    from dashboard.audit.guards import GUARDS as of_the_trail

    for guards in (of_runs, of_the_trail):
        guards.remove(connection)
    try:
        yield
    finally:
        for guards in (of_runs, of_the_trail):
            if guards.missing(connection):  # a flush has had them made again
                with transaction.atomic():
                    guards.install(connection)


@contextmanager
def emptying_allowed_between_tests() -> Iterator[None]:
    """Lift the guards around the flush that ends a test with real transactions."""
    from django.test import TransactionTestCase

    flush = TransactionTestCase._fixture_teardown

    def flush_unguarded(case: TransactionTestCase) -> None:
        with guards_lifted():
            flush(case)

    TransactionTestCase._fixture_teardown = flush_unguarded  # type: ignore[attr-defined]
    try:
        yield
    finally:
        TransactionTestCase._fixture_teardown = flush  # type: ignore[attr-defined]
