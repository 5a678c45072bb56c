"""No template has words of its own: also where no test opens the page that would show them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.language import pseudo, stored

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
TRANSLATED = re.compile(r"{%\s*blocktranslate\b.*?{%\s*endblocktranslate\s*%}", re.DOTALL)
COMMENTED = re.compile(r"{%\s*comment\b.*?{%\s*endcomment\s*%}|{#.*?#}", re.DOTALL)
TAG = re.compile(r"{%.*?%}|{{.*?}}", re.DOTALL)
# of a fragment that is nothing but attributes: what was in them was all tags
EMPTY = re.compile(r'[\w-]+="\s*"')
# for who changes the style sheets: the page exists only with DEBUG, and is in English
FOR_DEVELOPERS = {"styleguide.html"}
# a word that a filter puts in place of a value: {{ name|default:"unknown" }}
IN_PLACE = re.compile(
    r"\|(?:default|default_if_none|yesno|pluralize|add):(?:\"([^\"]*)\"|'([^']*)')"
)
# what a template extends, by a condition
FILES = re.compile(r"[\w,]+\.html(,[\w]+\.html)*")


def words_of(source: str) -> list[str]:
    """The words of a template that no catalogue could translate."""
    rest = COMMENTED.sub(" ", TRANSLATED.sub(" ", source))
    in_place = [first or second for first, second in IN_PLACE.findall(rest)]
    found = [*pseudo.shown(EMPTY.sub(" ", TAG.sub(" ", rest))), *in_place]
    names = stored.matching(stored.OWN_NAMES)
    found = [text for text in found if not FILES.fullmatch(text)]
    left = [" ".join(pseudo.FORMATS.sub(" ", names.sub(" ", text)).split()) for text in found]
    return [text for text in left if pseudo.LETTERS.search(text)]


FOR_USERS = [path for path in TEMPLATES.rglob("*.html") if path.name not in FOR_DEVELOPERS]


@pytest.mark.parametrize("path", sorted(FOR_USERS), ids=lambda path: path.name)
def test_a_template_has_no_words_outside_a_catalogue(path: Path) -> None:
    assert words_of(path.read_text()) == []


def test_words_outside_a_catalogue_are_found() -> None:
    assert words_of('<p title="One">{% translate "two" %}</p>') == ["One"]
    assert words_of("{% blocktranslate %}a <b>b</b>{% endblocktranslate %} three") == ["three"]
    assert words_of('{{ value|default:"unknown" }}{{ value|default:"-" }}') == ["unknown"]
    assert words_of("{% if a %}<span>four</span>{% endif %}{# five #}") == ["four"]
