"""Types of command line arguments: a value that cannot be used ends the command with status 2."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError

LONGEST_SECONDS = 31 * 86_400.0
MOST_ROWS = 1_000_000


def seconds(text: str) -> float:
    """Parse a number of seconds, from 0 to 31 days."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= LONGEST_SECONDS:  # false for NaN
        raise ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 31 days")
    return value


def number(text: str) -> int:
    """Parse the number of a row, or of rows: 1 or more."""
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text[:20]) < 2**63:
        raise ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)
