"""What our log lines look like: one an event, with the id of its request, and without secrets."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any
from urllib.parse import unquote, urlsplit

from dashboard.http.redact import redact

# The id that RequestIdMiddleware gave the request that this thread answers; "" outside of one.
request_id: ContextVar[str] = ContextVar("request_id", default="")


FORMAT = "%(asctime)s %(levelname)s %(name)s%(of_request)s %(message)s"
FOLD = r" \n "  # where a text or a traceback begins a line: a backslash and an n

logger = logging.getLogger(__name__)


class LineFormatter(logging.Formatter):
    """One line an event, with the request's id, from which every secret that is known was taken.

    A traceback is a part of its event: collectors, `grep` and `wc` take each line for one. It also
    keeps texts from outside from making lines that look like events of ours.

    Known are the secrets of the settings, those of the clouds in use with their tokens, and
    whatever stands under a name that tells a secret or looks like a token. It works on the
    finished text, tracebacks included, so no logger can forget it.
    """

    def format(self, record: logging.LogRecord) -> str:
        current = request_id.get()
        record.of_request = f" [{current}]" if current else ""
        text = redact(super().format(record), set(_known_secrets()))
        return FOLD.join(line.rstrip() for line in text.splitlines() if line.strip())


def log_warnings_and_exceptions() -> None:
    """Make events of what Python would print over several lines: warnings, uncaught errors.

    For processes that serve. Whoever runs a command reads a traceback as Python prints it.
    """
    logging.captureWarnings(True)

    def uncaught(kind: Any, error: Any, traceback: Any) -> None:
        if issubclass(kind, Exception):
            logger.critical("uncaught exception", exc_info=(kind, error, traceback))
        else:
            sys.__excepthook__(kind, error, traceback)

    def uncaught_in_thread(ended: threading.ExceptHookArgs) -> None:
        if ended.exc_value is not None and issubclass(ended.exc_type, Exception):
            told = (ended.exc_type, ended.exc_value, ended.exc_traceback)
            name = ended.thread.name if ended.thread else "a thread"
            logger.error("uncaught exception in %s", name, exc_info=told)

    sys.excepthook, threading.excepthook = uncaught, uncaught_in_thread


def _known_secrets() -> Iterator[str]:
    from django.conf import settings

    if settings.configured:
        yield settings.SECRET_KEY
        yield getattr(settings, "AUDIT_SIGNING_KEY", "")
        yield getattr(settings, "OIDC_CLIENT_SECRET", "")
        yield from (str(database.get("PASSWORD") or "") for database in settings.DATABASES.values())
        for name in ("REDIS_URL", "DATABASE_URL"):
            yield _password_in(getattr(settings, name, ""))
    # not imported for this: what has not been imported has read no secret
    session: Any = sys.modules.get("backups.css_api.session")
    if session is not None:
        yield from session.known_secrets()


def _password_in(url: str) -> str:
    try:
        return unquote(urlsplit(url).password or "")
    except ValueError:
        return ""
