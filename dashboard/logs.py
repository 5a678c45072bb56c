"""Log format: one line per event, with the id of its request and without secrets."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any
from urllib.parse import unquote, urlsplit

from dashboard.http.redact import redact

# Id assigned by RequestIdMiddleware to the current request; "" outside a request.
request_id: ContextVar[str] = ContextVar("request_id", default="")


FORMAT = "%(asctime)s %(levelname)s %(name)s%(of_request)s %(message)s"
FOLD = r" \n "  # a literal backslash and n in place of line breaks

logger = logging.getLogger(__name__)


class LineFormatter(logging.Formatter):
    """Formatter that writes one line per event, with the request's id and secrets redacted.

    A traceback is part of its event's line, because log collectors, `grep` and `wc` treat each line
    as an event. This also prevents external text from forging log lines.

    Redacted are the secrets in the settings, the credentials and tokens of the clouds in use,
    values whose name indicates a secret, and text that looks like a token. Redaction applies to the
    formatted text, including tracebacks, so it covers every logger.
    """

    def format(self, record: logging.LogRecord) -> str:
        current = request_id.get()
        record.of_request = f" [{current}]" if current else ""
        text = redact(super().format(record), set(_known_secrets()))
        return FOLD.join(line.rstrip() for line in text.splitlines() if line.strip())


def log_warnings_and_exceptions() -> None:
    """Log warnings and uncaught exceptions, which Python would print on several lines.

    Use it in server processes only. For commands, a standard traceback is easier to read.
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
        yield getattr(settings, "CHANNEL_KEY", "")
        yield from getattr(settings, "CHANNEL_KEY_FALLBACKS", [])
        yield getattr(settings, "PING_URL", "")
        yield getattr(settings, "OIDC_CLIENT_SECRET", "")
        yield from (str(database.get("PASSWORD") or "") for database in settings.DATABASES.values())
        for name in ("REDIS_URL", "DATABASE_URL"):
            yield _password_in(getattr(settings, name, ""))
    # do not import it here: if it is not loaded yet, it has read no secrets
    session: Any = sys.modules.get("backups.css_api.session")
    if session is not None:
        yield from session.known_secrets()


def _password_in(url: str) -> str:
    try:
        return unquote(urlsplit(url).password or "")
    except ValueError:
        return ""
