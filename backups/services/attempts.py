"""Steps of a thread that no error may end: each is logged when it begins to fail."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError, InterfaceError, connection
from kombu.exceptions import OperationalError as BrokerError


class Attempts:
    """Runs steps, and logs the first error of each and its end.

    Args:
        logger: where to.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._failing: dict[str, str] = {}

    def run(self, name: str, step: Callable[[], Any]) -> Any:
        """Run a step; return its result, or None on an error.

        Args:
            name: subject of a sentence, as in “the sweep”.
            step: what to do.
        """
        try:
            result = step()
        except Exception as error:
            self._log_failure(name, error)
            if isinstance(error, DatabaseError | InterfaceError):
                connection.close()
            return None
        if self._failing.pop(name, None) is not None:
            self._logger.info("%s works again", name)
        return result

    def _log_failure(self, name: str, error: Exception) -> None:
        kind = type(error).__name__
        if self._failing.get(name) == kind:
            return
        self._failing[name] = kind
        if isinstance(error, DatabaseError | InterfaceError | BrokerError | OSError):
            first_line = str(error).partition("\n")[0]
            self._logger.warning("%s fails (%s): %s", name, kind, first_line)
        else:
            self._logger.exception("%s fails", name)
