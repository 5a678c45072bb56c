"""Rules that keep the pages light and of one piece."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from backups.choices import Protection, Readiness, RunState
from tests.views.conftest import MakeRun

ROOT = Path(__file__).resolve().parents[2]
CSS = sorted((ROOT / "static" / "css").glob("*.css"))
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))


def test_all_style_together_stays_under_thirty_kilobytes() -> None:
    assert sum(path.stat().st_size for path in CSS) < 30 * 1024


def test_colours_are_tokens() -> None:
    for path in CSS:
        rules = re.sub(r":root \{.*?\n\}|/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
        found = re.findall(r"#[0-9a-f]{3,8}\b(?=[ ;)])", rules)
        if path.name != "print.css":  # paper is black and white
            assert found == [], path.name


def test_every_token_that_is_used_exists() -> None:
    text = "\n".join(path.read_text() for path in CSS)
    assert set(re.findall(r"var\((--[a-z0-9-]+)", text)) <= set(
        re.findall(r"(--[a-z0-9-]+):", text)
    )


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_template_has_inline_style_or_script(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\sstyle=|<style|\son[a-z]+=\"|javascript:", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)


def test_the_style_guide_shows_every_state_in_both_themes(web: Client, settings: Any) -> None:
    assert web.get("/styleguide/").status_code == 404
    settings.ROOT_URLCONF = "tests.views.debug_urls"
    text = web.get("/styleguide/").content.decode()
    for theme in ("light", "dark"):
        part = text[text.index(f'id="{theme}"') :]
        for choice in (*RunState, *Readiness, *Protection):
            assert str(choice.label) in part


def test_pages_are_compressed_and_those_with_secrets_are_not(
    web: Client, make_run: MakeRun
) -> None:
    make_run()
    packed = {"Accept-Encoding": "gzip"}
    assert web.get("/history/", headers=packed).headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in web.get("/history/").headers
    assert "Content-Encoding" not in web.get("/account/", headers=packed).headers
