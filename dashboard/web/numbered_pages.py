"""Numbered pagination for components/pager.html."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Page, Paginator


class NumberedPage(Page):  # type: ignore[type-arg]
    """Django's page with the attributes that the pager template uses."""

    @property
    def pages(self) -> int:
        """Number of pages."""
        return self.paginator.num_pages

    @property
    def before(self) -> int:
        """Number of the previous page; 0 if there is none."""
        return self.number - 1

    @property
    def after(self) -> int:
        """Number of the next page; 0 if there is none."""
        return self.number + 1 if self.has_next() else 0


class NumberedPaginator(Paginator):  # type: ignore[type-arg]
    """Django's paginator, returning `NumberedPage`."""

    def _get_page(self, *args: Any, **kwargs: Any) -> NumberedPage:
        return NumberedPage(*args, **kwargs)
