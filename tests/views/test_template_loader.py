"""Templates are indented for their readers; pages are not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.template import TemplateSyntaxError, engines
from django.template.loader import get_template
from django.test import Client

from tests.views.conftest import MakeCluster
from tests.views.page_text import page

TEMPLATES = Path(settings.BASE_DIR) / "templates"


def test_a_page_has_no_indentation(web: Client, make_cluster: MakeCluster) -> None:
    make_cluster()
    for url in ("/", "/clusters/", "/history/", "/protection/", "/settings/"):
        ours = re.sub(r"<svg.*?</svg>", "", page(web, url), flags=re.S)  # icons are drawn elsewhere
        assert not re.search(r"\n[ \t]", ours), url


def test_an_error_names_the_line_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.html").write_text("<p>\n  one\n    two {% nonsense %}\n</p>\n")
    engine = engines["django"].engine  # type: ignore[attr-defined]
    monkeypatch.setattr(engine, "dirs", [tmp_path])
    monkeypatch.setattr(engine, "debug", True)
    with pytest.raises(TemplateSyntaxError) as caught:
        get_template("broken.html")
    assert caught.value.template_debug["line"] == 3  # type: ignore[attr-defined]


def test_what_is_shown_as_it_is_written_has_no_indentation_to_lose() -> None:
    for path in TEMPLATES.rglob("*.html"):
        for kept in re.findall(r"<(?:pre|textarea)\b.*?</", path.read_text(), re.S):
            assert not re.search(r"\n[ \t]", kept.partition(">")[2]), path


def test_a_text_over_several_lines_is_one_message() -> None:
    """Catalogues are made from the files, so the blanks of lines must not count."""
    for path in TEMPLATES.rglob("*.html"):
        for text in re.findall(
            r"{% blocktranslate\b.*?{% endblocktranslate %}", path.read_text(), re.S
        ):
            assert "\n" not in text or re.match(r"{% blocktranslate[^%]* ?trimmed", text), path
