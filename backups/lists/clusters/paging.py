"""A page of the list: its primary keys in order, by a count that is known already."""

from __future__ import annotations

from dataclasses import dataclass

from backups.models.cluster import ClusterQuerySet

PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list.

    Attributes:
        pks: primary keys of its rows, in order.
        number: which page it is, from 1.
        pages: how many there are, at least one.
        count: how many rows all of them have.
    """

    pks: list[int]
    number: int
    pages: int
    count: int

    @property
    def before(self) -> int:
        """Number of the page before, 0 for none."""
        return self.number - 1

    @property
    def after(self) -> int:
        """Number of the page after, 0 for none."""
        return self.number + 1 if self.number < self.pages else 0


def page_of(clusters: ClusterQuerySet, count: int, number: int, size: int = PAGE_SIZE) -> Page:
    """Read a page.

    Args:
        clusters: in order.
        count: how many they are.
        number: the page, from 1; beyond the last it is the last.
        size: rows of a page.
    """
    pages = max(-(-count // size), 1)
    number = min(number, pages)
    start = (number - 1) * size
    # The keys alone: of all that stand before the page no row has to be put together.
    pks = list(clusters.values_list("pk", flat=True)[start : start + size])
    return Page(pks, number, pages, count)
