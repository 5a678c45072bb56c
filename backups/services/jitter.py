"""Spread pauses, so that what failed or was done together is not repeated together."""

from __future__ import annotations

import random

SPREAD = 1.2  # the longest of spread pauses, as a factor


def jittered(seconds: float) -> float:
    """Spread a pause by ± 20 %.

    Args:
        seconds: the pause.

    Returns:
        Seconds, at most ``SPREAD`` times as many.
    """
    return seconds * random.uniform(2 - SPREAD, SPREAD)  # noqa: S311 - no secret depends on it
