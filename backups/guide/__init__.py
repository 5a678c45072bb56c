"""Guide for operators: what each outcome, code and fault means, who acts, and what to do."""

from .codes import CODES, CodeEntry, code_family
from .explanation import ACTION_BY_LABELS, ActionBy, Explanation, Text
from .texts import (
    BY_HAND,
    CONNECTION_FAULTS,
    ENTRY_LEFT,
    IMPORTED,
    OUTCOMES,
    READINESS,
    REGION_ASIDE,
    explain,
    explain_run,
)

__all__ = [
    "ACTION_BY_LABELS",
    "BY_HAND",
    "CODES",
    "CONNECTION_FAULTS",
    "ENTRY_LEFT",
    "IMPORTED",
    "OUTCOMES",
    "READINESS",
    "REGION_ASIDE",
    "ActionBy",
    "CodeEntry",
    "Explanation",
    "Text",
    "code_family",
    "explain",
    "explain_run",
]
