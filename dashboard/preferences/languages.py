"""Available languages: English, and each language with a compiled catalogue."""

from __future__ import annotations

from pathlib import Path

from django.conf.locale import LANG_INFO
from django.utils.translation import to_language

SOURCE = "en"  # the language of the texts in the code
CATALOGUE = Path("LC_MESSAGES") / "django.mo"


def available(folder: Path) -> list[tuple[str, str]]:
    """Return the available languages, for Django's setting LANGUAGES.

    Args:
        folder: contains a folder for each language, named as in gettext: `de`, `pt_BR`.

    Returns:
        Code and native name of each language, English first.
    """
    codes = (to_language(file.parents[1].name) for file in folder.glob(f"*/{CATALOGUE}"))
    found = sorted(code for code in codes if code != SOURCE)
    return [(code, name_of(code)) for code in (SOURCE, *found)]


def name_of(code: str) -> str:
    """Return the native name of a language, as in "Deutsch"; its code if Django has no name."""
    return str(LANG_INFO.get(code, {}).get("name_local", code)).capitalize()
