"""Why an instance does not start."""

from __future__ import annotations


class StartError(Exception):
    """The text is one line for the person at the terminal: what is wrong and what to do."""
