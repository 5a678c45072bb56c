"""What our log lines look like."""

from __future__ import annotations

import logging


class NoTraceback(logging.Filter):
    """Beat reports a broker that is away at each tick: a line each, not a stack each."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = None
        record.exc_text = None
        record.msg = str(record.getMessage()).partition("\n")[0]
        record.args = ()
        return True
