"""heroicons' tags, each icon drawn once: a page has dozens of the same few."""

from __future__ import annotations

from functools import lru_cache

from django import template
from django.utils.safestring import SafeString
from heroicons.templatetags import heroicons

register = template.Library()
MOST = 256  # icons in their sizes; templates name them, nothing from outside does


@lru_cache(maxsize=MOST)
def _drawn(kind: str, name: str, attributes: tuple[tuple[str, object], ...]) -> SafeString:
    return SafeString(getattr(heroicons, f"heroicon_{kind}")(name, **dict(attributes)))


def _tag(kind: str) -> None:
    @register.simple_tag(name=f"heroicon_{kind}")
    def draw(name: str, **attributes: object) -> SafeString:
        return _drawn(kind, name, tuple(sorted(attributes.items())))


for _kind in ("micro", "mini", "outline", "solid"):
    _tag(_kind)
