"""Form fields of the history's filters."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

MOST_WORDS = 20


class WordsField(forms.CharField):
    """Words separated by blanks or commas, each of one pattern; cleans to a list of them."""

    def __init__(self, pattern: str, example: str, **options: Any) -> None:
        super().__init__(max_length=400, **options)
        self.pattern = re.compile(pattern, re.ASCII)
        self.example = example

    def clean(self, value: Any) -> list[str]:
        words = list(dict.fromkeys(re.split(r"[\s,]+", super().clean(value).strip())))
        words = [word for word in words if word]
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
