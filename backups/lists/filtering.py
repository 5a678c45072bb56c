"""Filters of lists: the URL's query, fields with several words, and removable chips."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import django_filters
from django import forms
from django.db.models import Model
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

MOST_WORDS = 20


def without_empty(query: QueryDict) -> QueryDict:
    """A URL's query without fields that a form submitted empty."""
    kept = query.copy()
    for name in list(kept):
        kept.setlist(name, [value for value in kept.getlist(name) if value])
        if not kept.getlist(name):
            del kept[name]
    return kept


def split_words(text: str) -> list[str]:
    """Words separated by white space or commas."""
    return [word for word in re.split(r"[\s,]+", text) if word]


class WordsInput(forms.TextInput):
    """A text input that joins all values of its name in a URL."""

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        values = data.getlist(name) if hasattr(data, "getlist") else [data.get(name) or ""]
        return " ".join(values)


class WordsField(forms.CharField):
    """Words separated by white space or commas, cleaned to a list.

    Args:
        pattern: regular expression that each word must match.
        example: a valid word, for the error message.
    """

    widget = WordsInput

    def __init__(self, pattern: str, example: str, **options: Any) -> None:
        super().__init__(max_length=400, **options)
        self.pattern = re.compile(pattern, re.ASCII)
        self.example = example

    def clean(self, value: Any) -> list[str]:
        words = list(dict.fromkeys(split_words(super().clean(value))))
        if len(words) > MOST_WORDS:
            raise forms.ValidationError(
                _("Enter at most %(limit)d values."), params={"limit": MOST_WORDS}
            )
        for word in words:
            if not self.pattern.fullmatch(word):
                raise forms.ValidationError(
                    _("“%(word)s” is not valid. Example: %(example)s."),
                    params={"word": word[:40], "example": self.example},
                )
        return words


@dataclass(frozen=True, slots=True)
class Chip:
    """One value of one active filter.

    Attributes:
        label: name of the filter.
        value: display text of the value.
        query: the URL's query without this value.
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
    """A chip for each filter value in the URL.

    Args:
        found: the valid filter.
        query: the URL's query.
        drop: parameters to drop when a filter is removed, such as the page.
        seen_elsewhere: filters without a chip, because the page always shows their value.
        moment_words: formats a time.
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
    """Values of a filter in the URL, each as (raw value, display text)."""
    given = [value for value in query.getlist(name) if value]
    cleaned = found.form.cleaned_data.get(name)
    if isinstance(one, django_filters.MultipleChoiceFilter):
        words = dict(getattr(one.field, "choices", ()))
        return [(value, str(words.get(value, value))) for value in given]
    if isinstance(cleaned, list):  # WordsField
        return [(word, word) for word in cleaned]
    if not given:
        return []
    # The last value of a single-valued filter counts, as in the form.
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
