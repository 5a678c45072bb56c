"""Log lines: one per event, with its context, without secrets, and without repetitions.

docs/logs.md lists the fields. Events with fields are written with `structlog.get_logger`, all else
(Django, gunicorn, Celery) with the standard library's loggers; both get the same form here.
"""

from __future__ import annotations

import copy
import json
import logging
import re
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import structlog

from dashboard.http.redact import redact

FORMAT = "%(asctime)s %(levelname)s %(name)s%(of_request)s %(message)s"
FOLD = r" \n "  # a literal backslash and n in place of line breaks

# Fields beside time, level, logger, event and exception; attributes of other libraries' records
# are ignored. docs/logs.md explains each.
FIELDS = (
    *("correlation_id", "task", "task_id", "run", "cluster", "project", "trigger"),
    *("state", "outcome", "attempt", "status", "error_code", "cloud_request_id", "seconds"),
    *("method", "route", "endpoint", "repeated"),
)
# What a client or a proxy may send as X-Request-ID: no blank, no line end, no quote.
WELL_FORMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")

logger = logging.getLogger(__name__)

structlog.configure(
    processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
    wrapper_class=structlog.stdlib.BoundLogger,
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the documented fields of a record and of the current context, empty ones left out."""
    found = {**structlog.contextvars.get_contextvars(), **record.__dict__}
    return {name: found[name] for name in FIELDS if found.get(name) not in (None, "")}


class LineFormatter(logging.Formatter):
    """Formatter that writes one line per event, with the request's id and secrets redacted.

    A traceback is part of its event's line, because log collectors, `grep` and `wc` treat each line
    as an event. This also prevents external text from forging log lines.

    Redacted are the secrets in the settings, the credentials and tokens of the clouds in use,
    values whose name indicates a secret, and text that looks like a token. Redaction applies to the
    formatted text, including tracebacks, so it covers every logger.
    """

    def format(self, record: logging.LogRecord) -> str:
        fields = fields_of(record)
        current = fields.pop("correlation_id", "")
        record.of_request = f" [{current}]" if current else ""
        record.of_event = "".join(f" {name}={_quoted(value)}" for name, value in fields.items())
        text = redact(super().format(record), _known_secrets())
        return FOLD.join(line.rstrip() for line in text.splitlines() if line.strip())

    def formatMessage(self, record: logging.LogRecord) -> str:
        return f"{super().formatMessage(record)}{getattr(record, 'of_event', '')}"


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r'[\s"=]', text) else text


class JsonFormatter(LineFormatter):
    """Formatter that writes each event as a JSON object in one line, redacted as above."""

    def format(self, record: logging.LogRecord) -> str:
        text = {"event": record.getMessage(), **fields_of(record)}
        if record.exc_info and record.exc_info[0] is not None:
            text["exception"] = self.formatException(record.exc_info)
        elif record.exc_text:
            text["exception"] = record.exc_text
        # before encoding: afterwards a backslash of the encoding could be taken for a part of one
        strings = {name: str(value) for name, value in text.items() if isinstance(value, str)}
        clean = {**text, **dict(zip(strings, _redacted([*strings.values()]), strict=True))}
        head = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat("T", "milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        return json.dumps({**head, **clean}, default=str)


def _redacted(texts: list[str]) -> list[str]:
    """Redact several texts in one pass, which takes half of the time."""
    secrets = set(_known_secrets())
    if not any("\n" in text for text in texts):
        together = redact("\n".join(texts), secrets).split("\n")
        if len(together) == len(texts):
            return together
    return [redact(text, secrets) for text in texts]


def formatter(deployment: str, form: str) -> dict[str, Any]:
    """Return the formatter for `logging.config`: JSON in production, else text.

    Args:
        deployment: DEPLOYMENT.
        form: LOG_FORMAT; "json" and "text" decide, "auto" does not.
    """
    as_json = form == "json" or (form == "auto" and deployment == "production")
    name = JsonFormatter.__name__ if as_json else LineFormatter.__name__
    return {"()": f"{__name__}.{name}", "fmt": FORMAT}


class SummingHandler(logging.StreamHandler[Any]):
    """Handler that writes a repeated warning or error once, and then how often it was repeated.

    In an outage each request and each thread reports the same error. The first is written at once
    with its traceback; equal ones are counted, and the count is written once a minute, and at
    the end. Equal means: same logger, level, text and kind of exception. Lines below WARNING,
    which say what happened to a run or a request, are never held back.
    """

    WINDOW = 60.0  # seconds
    MOST = 500  # different texts that are remembered

    def __init__(self, stream: Any = None) -> None:
        super().__init__(stream)
        self._seen: OrderedDict[tuple[Any, ...], list[Any]] = OrderedDict()

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        self._summarise(now - self.WINDOW)
        if record.levelno >= logging.WARNING:
            kind = record.exc_info[0] if record.exc_info else None
            key = (record.name, record.levelno, record.getMessage(), kind)
            if (entry := self._seen.get(key)) is not None:
                entry[1] += 1
                entry[2] = record
                return
            self._seen[key] = [now, 0, record]
            if len(self._seen) > self.MOST:
                self._tell(self._seen.popitem(last=False)[1])
        super().emit(record)

    def _summarise(self, before: float) -> None:
        # the oldest first: an entry keeps its place until it is told
        while self._seen:
            key, entry = next(iter(self._seen.items()))
            if entry[0] > before:
                return
            del self._seen[key]
            if entry[1]:
                # it goes on: the next minute is only counted, too
                self._seen[key] = [time.monotonic(), 0, entry[2]]
                self._tell(entry)

    def _tell(self, entry: list[Any]) -> None:
        _since, count, last = entry
        if not count:
            return
        summary = copy.copy(last)
        summary.exc_info = summary.exc_text = None
        summary.repeated = count
        super().emit(summary)

    def close(self) -> None:
        """Write the counts that are left, at the end of the process."""
        self.acquire()
        try:
            while self._seen:
                self._tell(self._seen.popitem(last=False)[1])
        finally:
            self.release()
        super().close()


def signal_line(logger_name: str, text: str) -> bytes:
    """Return a warning as a line for `os.write` in a signal handler, where logging could block."""
    if any(isinstance(each.formatter, JsonFormatter) for each in logging.getLogger().handlers):
        at = datetime.now(UTC).isoformat("T", "milliseconds")
        line = {"timestamp": at, "level": "warning", "logger": logger_name, "event": text}
        return f"{json.dumps(line)}\n".encode()
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime())
    return f"{at},000 WARNING {logger_name} {text}\n".encode()


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
        yield getattr(settings, "METRICS_TOKEN", "")
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
