"""Form fields of the history's filters."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

MOST_WORDS = 20


def split_words(text: str) -> list[str]:
    """Words that blanks or commas separate."""
    return [word for word in re.split(r"[\s,]+", text) if word]


class WordsInput(forms.TextInput):
    """A name that stands in a URL several times counts as all of its values."""

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        values = data.getlist(name) if hasattr(data, "getlist") else [data.get(name) or ""]
        return " ".join(values)


class WordsField(forms.CharField):
    """Words separated by blanks or commas, each of one pattern; cleans to a list of them."""

    widget = WordsInput

    def __init__(self, pattern: str, example: str, **options: Any) -> None:
        super().__init__(max_length=400, **options)
        self.pattern = re.compile(pattern, re.ASCII)
        self.example = example

    def clean(self, value: Any) -> list[str]:
        words = list(dict.fromkeys(split_words(super().clean(value))))
        if len(words) > MOST_WORDS:
            raise forms.ValidationError(
                _("At most %(limit)d at once."), params={"limit": MOST_WORDS}
            )
        for word in words:
            if not self.pattern.fullmatch(word):
                raise forms.ValidationError(
                    _("“%(word)s” cannot be read; give such as %(example)s."),
                    params={"word": word[:40], "example": self.example},
                )
        return words
