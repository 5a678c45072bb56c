"""Rows of a table, written fast.

A template is a good place for the markup of a row, but finding the values of its variables for
fifty rows takes most of a page's time. So a row's template is drawn once for each shape that a row
can have, with places where the values go, and what comes out is filled in for every row.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from django.template import Context, Template
from django.template.backends.django import Template as Backend
from django.template.loader import get_template
from django.utils.html import escape
from django.utils.safestring import SafeString
from django.utils.translation import get_language

_MARK = "\x00"  # around the name of a place; no template has it
Value = str | int


class _Places:
    """Stands for the row: whatever is asked of it is a place to be filled in."""

    def __getitem__(self, name: str) -> SafeString:
        return SafeString(f"{_MARK}{name}{_MARK}")


class RowPattern:
    """A row's template, in the present language.

    In the template `{{ row.x }}` is the value x, without a filter, since the value is not there
    yet; `{% if shape.x %}` is whether the row's shape has x. It knows nothing else.

    Args:
        name: of the template.
    """

    def __init__(self, name: str) -> None:
        backend = get_template(name)
        assert isinstance(backend, Backend)  # noqa: S101 - the only engine in the settings
        self._template = backend.template
        self._language = get_language()

    def fill(self, shape: frozenset[str], values: Mapping[str, Value]) -> SafeString:
        """A row.

        Args:
            shape: what the row has.
            values: by the names of their places; a text that is not marked as safe is escaped.
        """
        safe = {
            name: value if type(value) in (SafeString, int) else escape(value)
            for name, value in values.items()
        }
        return SafeString(_pattern(self._template, self._language, shape) % safe)


@lru_cache(maxsize=1024)
def _pattern(template: Template, language: str | None, shape: frozenset[str]) -> str:
    """A format string; the same template is another object after its file has changed."""
    context = Context({"row": _Places(), "shape": dict.fromkeys(shape, True)})
    parts = template.render(context).split(_MARK)
    parts[::2] = [literal.replace("%", "%%") for literal in parts[::2]]
    parts[1::2] = [f"%({place})s" for place in parts[1::2]]
    return "".join(parts)
