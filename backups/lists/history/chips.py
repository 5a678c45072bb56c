"""The filters in force, each with a way to take it off."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

import django_filters
from django.db.models import Model
from django.http import QueryDict

from .fields import split_words


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
    moment_words: Callable[[datetime], str] = str,
) -> list[Chip]:
    """A chip for each filter in the URL.

    Args:
        found: the valid filter.
        query: the URL's query.
        drop: names that lose their meaning when a filter is taken off, such as the page.
        seen_elsewhere: names that need no chip, since a control of the page always shows them.
        moment_words: how the page tells a time.
    """
    return [
        Chip(str(one.label), words, _without(query, name, value, drop))
        for name, one in found.filters.items()
        if name not in seen_elsewhere
        for value, words in _values(found, name, one, query, moment_words)
    ]


def _values(
    found: django_filters.FilterSet,
    name: str,
    one: django_filters.Filter,
    query: QueryDict,
    moment_words: Callable[[datetime], str],
) -> list[tuple[str, str]]:
    """The values that a filter has in a URL: as they stand there, and in words."""
    given = [value for value in query.getlist(name) if value]
    cleaned = found.form.cleaned_data.get(name)
    if isinstance(one, django_filters.MultipleChoiceFilter):
        words = dict(getattr(one.field, "choices", ()))
        return [(value, str(words.get(value, value))) for value in given]
    if isinstance(cleaned, list):  # words
        return [(word, word) for word in cleaned]
    if not given:
        return []
    # of one that has a single value the last one counts, as in the form
    match cleaned:
        case datetime():
            return [(given[-1], moment_words(cleaned))]
        case Model():
            return [(given[-1], str(cleaned))]
    words = dict(getattr(one.field, "choices", ()))
    return [(given[-1], str(words.get(given[-1], given[-1])))]


def _without(query: QueryDict, name: str, value: str, drop: Iterable[str]) -> str:
    """The query without one value of a filter."""
    rest = query.copy()
    values = [other for other in rest.getlist(name) if other != value]
    if values == rest.getlist(name):  # one of several words in a value
        words = [word for other in values for word in split_words(other)]
        values = [" ".join(word for word in words if word != value)]
    rest.setlist(name, [other for other in values if other])
    for dropped in drop:
        rest.pop(dropped, None)
    return rest.urlencode()
