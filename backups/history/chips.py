"""The filters in force, each with a way to take it off."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import django_filters
from django.http import QueryDict


@dataclass(frozen=True, slots=True)
class Chip:
    """One value of one filter.

    Attributes:
        label: the filter.
        value: its value in words.
        query: the URL's query without it.
    """

    label: str
    value: str
    query: str


def active_chips(
    found: django_filters.FilterSet,
    query: QueryDict,
    drop: Iterable[str],
    seen_elsewhere: Iterable[str] = ("window", "group"),
) -> list[Chip]:
    """A chip for each filter in the URL.

    Args:
        found: the valid filter.
        query: the URL's query.
        drop: names that lose their meaning when a filter is taken off, such as the page.
        seen_elsewhere: names that need no chip, since a control of the page always shows them.
    """
    chips = []
    for name, one in found.filters.items():
        if name in seen_elsewhere:
            continue
        values = [value for value in query.getlist(name) if value]
        words = dict(getattr(one.field, "choices", ())) if name != "project" else {}
        if name == "project" and found.form.cleaned_data.get("project"):
            words = {values[-1]: str(found.form.cleaned_data["project"])}
        for value in values:
            rest = query.copy()
            rest.setlist(name, [other for other in values if other != value])
            for dropped in drop:
                rest.pop(dropped, None)
            chips.append(Chip(str(one.label), str(words.get(value, value)), rest.urlencode()))
    return chips
