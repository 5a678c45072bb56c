"""Reading pages in tests."""

from __future__ import annotations

import re
from html import unescape

from django.test import Client


def page(client: Client, url: str) -> str:
    """A page's HTML."""
    response = client.get(url)
    assert response.status_code == 200
    return response.content.decode()


def tight(html: str) -> str:
    """The HTML without line breaks, and without white space at the edges of tags."""
    return re.sub(r" ?([<>]) ?", r"\1", " ".join(html.split()))


def words(html: str) -> str:
    """What a reader sees."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def home_part(text: str, name: str) -> str:
    """One part of the home page."""
    start = text.index(f'id="home-{name}"')
    return text[start : text.index("</section>", start)]
