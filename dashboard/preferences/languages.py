"""Which languages there are: English, and each that has a compiled catalogue."""

from __future__ import annotations

from pathlib import Path

from django.conf.locale import LANG_INFO
from django.utils.translation import to_language

SOURCE = "en"  # what the texts in the code are written in
CATALOGUE = Path("LC_MESSAGES") / "django.mo"


def available(folder: Path) -> list[tuple[str, str]]:
    """The languages to offer, for Django's setting LANGUAGES.

    Args:
        folder: has a folder for each language, named as gettext names it: `de`, `pt_BR`.

    Returns:
        Code and own name of each language, English first.
    """
    codes = (to_language(file.parents[1].name) for file in folder.glob(f"*/{CATALOGUE}"))
    found = sorted(code for code in codes if code != SOURCE)
    return [(code, name_of(code)) for code in (SOURCE, *found)]


def name_of(code: str) -> str:
    """A language's name in itself: "Deutsch"; the code where Django does not know it."""
    return str(LANG_INFO.get(code, {}).get("name_local", code)).capitalize()
