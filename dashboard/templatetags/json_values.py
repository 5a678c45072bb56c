"""Template filters for JSON values."""

from __future__ import annotations

import json
from typing import Any

from django import template

register = template.Library()


@register.filter
def as_value(value: Any) -> str:
    """Format a value: strings unchanged, other values as JSON, a dash for None."""
    if value is None:
        return "\N{EN DASH}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)


@register.filter
def as_json(value: object) -> str:
    """Format a value as JSON for an attribute that a script reads; the template escapes it."""
    return json.dumps(value)
