"""The guide for operators: what each outcome and each CSS code means, who acts, what to do."""

from .codes import CODES, CodeEntry, code_family
from .explanation import ACTOR_LABELS, Actor, Explanation, Text
from .texts import (
    BY_HAND,
    CONNECTION_FAULTS,
    ENTRY_LEFT,
    IMPORTED,
    OUTCOMES,
    READINESS,
    explain,
    explain_run,
)

__all__ = [
    "ACTOR_LABELS",
    "BY_HAND",
    "CODES",
    "CONNECTION_FAULTS",
    "ENTRY_LEFT",
    "IMPORTED",
    "OUTCOMES",
    "READINESS",
    "Actor",
    "CodeEntry",
    "Explanation",
    "Text",
    "code_family",
    "explain",
    "explain_run",
]
