"""What our log lines look like: the id of the request they belong to, and no secret."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any
from urllib.parse import unquote, urlsplit

from backups.css_api.redact import redact

# The id that RequestIdMiddleware gave the request that this thread answers; "" outside of one.
request_id: ContextVar[str] = ContextVar("request_id", default="")


class LineFormatter(logging.Formatter):
    """Lines with the request's id, from which every secret that is known was taken.

    Known are the secrets of the settings, those of the clouds in use with their tokens, and
    whatever stands under a name that tells a secret or looks like a token. It works on the
    finished text, tracebacks included, so no logger can forget it.
    """

    def format(self, record: logging.LogRecord) -> str:
        current = request_id.get()
        record.of_request = f" [{current}]" if current else ""
        return redact(super().format(record), set(_known_secrets()))


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
