"""Numbered pages of clusters."""

from __future__ import annotations

from django.core.paginator import Page, Paginator

from backups.models.cluster import ClusterQuerySet

PAGE_SIZE = 50


def page_of(clusters: ClusterQuerySet, count: int, number: int, size: int = PAGE_SIZE) -> Page[int]:
    """A page of primary keys.

    Only keys are selected, so the database skips the rows before the page without reading them.

    Args:
        clusters: in order.
        count: how many there are; the page's tabs have counted them already.
        number: from 1; a number beyond the last page means the last page.
        size: rows of a page.
    """
    paginator = Paginator(clusters.values_list("pk", flat=True), size)
    vars(paginator)["count"] = count  # a cached property
    return paginator.get_page(number)
