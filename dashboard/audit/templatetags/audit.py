"""How values of events look in templates."""

from __future__ import annotations

import json
from typing import Any

from django import template

register = template.Library()


@register.filter
def as_value(value: Any) -> str:
    """A value as text: texts as they are, all else as JSON, a dash where there is none."""
    if value is None:
        return "\N{EN DASH}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
