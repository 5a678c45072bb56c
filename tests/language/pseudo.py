"""A language that turns every text into ⟦text⟧, and what of a page is not in it.

It stands in for a complete catalogue: what a page shows outside the brackets, and that is not data,
would stay English whatever catalogue there is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from django.utils import translation
from django.utils.translation import trans_real

OPEN, CLOSE = "⟦", "⟧"
# A language whose numbers and dates differ from English, so that these are seen to be formatted.
CODE = "de"


class Pseudo:
    """What gettext asks a catalogue for."""

    plural = staticmethod(lambda number: int(number != 1))

    def gettext(self, message: str) -> str:
        text = message.rpartition(trans_real.CONTEXT_SEPARATOR)[2]
        return f"{OPEN}{text}{CLOSE}" if text else ""

    def ngettext(self, singular: str, plural: str, number: float) -> str:
        return self.gettext(singular if number == 1 else plural)

    def language(self) -> str:
        return CODE

    def to_language(self) -> str:
        return CODE


def install(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """Make it the only language beside English, as a catalogue in locale/ would."""
    settings.LANGUAGES = [("en", "English"), (CODE, "Deutsch")]
    monkeypatch.setitem(trans_real._translations, CODE, Pseudo())
    assert translation.check_for_language(CODE)


# --- reading a page ------------------------------------------------------------------------------
SHOWN_ATTRIBUTES = ("alt", "aria-label", "data-label", "placeholder", "title")
BUTTONS = ("button", "reset", "submit")
# Their content is data, or nothing that anybody reads.
UNREAD = ("code", "kbd", "pre", "samp", "script", "style", "template", "textarea")
NAMES = ("bdi",)
VOID = frozenset({"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source"})


class Reader(HTMLParser):
    """Collects what a page shows, each text from one block to the next."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[str] = []
        self._open: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if not self._hidden():
            self.shown += [values[name] for name in SHOWN_ATTRIBUTES if values.get(name)]
            if tag == "input" and values.get("type") in BUTTONS:
                self.shown.append(values.get("value", ""))
        if tag not in VOID:
            data = tag in UNREAD + NAMES or "mono" in values.get("class", "").split()
            self._open.append((tag, data or values.get("translate") == "no"))

    def handle_endtag(self, tag: str) -> None:
        while self._open:
            if self._open.pop()[0] == tag:
                return

    def handle_data(self, data: str) -> None:
        if not self._hidden():
            self.shown.append(data)

    def _hidden(self) -> bool:
        return any(data for _tag, data in self._open)


def shown(html: str) -> list[str]:
    """The texts and labels that a page shows; one that is cut by markup stays one in brackets."""
    reader = Reader()
    reader.feed(html)
    return reader.shown


def outside(texts: Iterable[str]) -> Iterator[str]:
    """What of some texts, in the order of the page, stands outside the brackets."""
    depth = 0
    for text in texts:
        kept = []
        for character in text:
            if character == OPEN:
                depth += 1
            elif character == CLOSE:
                depth -= 1
            elif depth == 0:
                kept.append(character)
        yield " ".join("".join(kept).split())


MOMENT = r"\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d(\.\d+)?)?)?( (UTC([+-]\d\d:\d\d)?|[A-Z]{3,4}))?"
FORMATS = re.compile(rf"{MOMENT}|HTTP \d+|CSS\.\d{{4}}|\bUTC([+-]\d\d:\d\d)?\b|\bv?\d+(\.\d+)+\b")
LETTERS = re.compile(r"[^\W\d_]{2,}")


def untranslated(html: str, data: re.Pattern[str]) -> list[str]:
    """The texts of a page that no catalogue could translate.

    Args:
        html: the page, in the pseudo-language.
        data: matches what is data: names, words that were stored.
    """
    assert html.count(OPEN) == html.count(CLOSE)
    found = []
    for text in outside(shown(html)):
        rest = FORMATS.sub(" ", data.sub(" ", text))
        if LETTERS.search(rest):
            found.append(text)
    return found
