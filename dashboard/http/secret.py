"""A text that shows itself only where it is asked to."""

from __future__ import annotations

import hmac
from typing import NoReturn

from .redact import REDACTED


class Secret:
    """A secret text: printed, logged, formatted or in a traceback's locals it is `[redacted]`.

    It cannot be pickled, nor be made JSON, so it cannot become the argument of a task. Two of them
    are compared in a time that does not depend on where they differ.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one place that sends it."""
        return self._text

    def __repr__(self) -> str:
        return REDACTED

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is neither pickled nor copied")
