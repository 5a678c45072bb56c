"""Django system checks: what is misconfigured, and what to set instead.

`manage.py check` prints them; gunicorn, the worker and `manage.py run` do not start while
there is an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Warning, register, run_checks
from django.core.checks.messages import ERROR

TAG = "css"
DEPLOYMENTS = ("local", "production")
BROKER_SCHEMES = ("redis", "rediss", "redis+socket")
SHORTEST_SECRET_KEY = 50  # what Django's own security.W009 asks for
POSITIVE = (
    "CSS_CONNECT_TIMEOUT",
    "CSS_READ_TIMEOUT",
    "CSS_TOTAL_TIMEOUT",
    "BACKUP_MAX_ATTEMPTS",
    "BACKUP_RETRY_BASE",
    "BACKUP_RETRY_CAP",
    "BACKUP_REDISPATCH_AFTER",
    "BACKUP_RECORD_GRACE",
    "BACKUP_UNREADABLE_LIMIT",
    "BACKUP_FOLLOW_LIMIT",
    "CHECK_INTERVAL",
    "CHECK_PARALLEL",
    "HEARTBEAT_INTERVAL",
    "HEARTBEAT_STALE_AFTER",
    "API_TOKEN_MAX_DAYS",
    "API_TOKEN_FAILURES",
)


@register(TAG)
def check_everywhere(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """What is wrong on any instance."""
    return [*_deployment(), *_urls(), *_timeouts(), *_clouds_file()]


@register(TAG)
def check_production(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """What is convenient on one machine and unsafe where others depend on it."""
    return [*_exposure(), *_shared_services()] if settings.PRODUCTION else []


def problems() -> list[str]:
    """Run the checks of this module; returns a line for each error, with what to set."""
    found = [message for message in run_checks(tags=[TAG]) if message.level >= ERROR]
    return [f"({each.id}) {each.msg} {each.hint}" for each in found]


def refuse_unsafe_start() -> None:
    """End the process when a check of this module finds an error.

    Raises:
        SystemExit: with every error and what to set.
    """
    if found := problems():
        raise SystemExit("\n  ".join(["Not started:", *found]))


def _deployment() -> Iterator[CheckMessage]:
    if settings.DEPLOYMENT not in DEPLOYMENTS:
        yield Error(
            f"DEPLOYMENT={settings.DEPLOYMENT!r} is not known.",
            hint="Set DEPLOYMENT to local or to production.",
            id="css.E001",
        )


def _urls() -> Iterator[CheckMessage]:
    if settings.DATABASE_URL_PROBLEM:
        yield Error(
            f"DATABASE_URL cannot be used: {settings.DATABASE_URL_PROBLEM}.",
            hint="Set DATABASE_URL to postgres://USER:PASSWORD@HOST:5432/NAME.",
            id="css.E005",
        )
    scheme = urlsplit(settings.REDIS_URL).scheme
    if scheme not in BROKER_SCHEMES:
        yield Error(
            f"REDIS_URL has the scheme {scheme!r}, which is no Redis.",
            hint="Set REDIS_URL to redis://HOST:6379/0 (rediss:// with TLS).",
            id="css.E007",
        )


def _timeouts() -> Iterator[CheckMessage]:
    wrong = [name for name in POSITIVE if getattr(settings, name) <= 0]
    if wrong:
        yield Error(
            f"{', '.join(wrong)}: zero or less would wait for ever, or not at all.",
            hint="Set a number above 0, or leave the variable out for its default.",
            id="css.E010",
        )
    if settings.HEARTBEAT_STALE_AFTER <= settings.HEARTBEAT_INTERVAL:
        yield Error(
            "HEARTBEAT_STALE_AFTER is not above HEARTBEAT_INTERVAL: a living worker would be taken "
            "for dead.",
            hint="Set HEARTBEAT_STALE_AFTER to four times HEARTBEAT_INTERVAL.",
            id="css.E012",
        )


def _clouds_file() -> Iterator[CheckMessage]:
    """Whether the file can be read at all; what is in it is told where it is used."""
    yield from _unreadable_clouds_files()
    for variable in ("OS_CLIENT_CONFIG_FILE", "OS_CLIENT_SECURE_FILE"):
        name = os.environ.get(variable)
        if not name:
            continue
        problem = "is not there" if not Path(name).is_file() else "cannot be read by this user"
        if problem == "is not there" or not os.access(name, os.R_OK):
            yield Error(
                f"{variable} names {name}, which {problem}.",
                hint=f"Correct {variable}, or the file's owner and mode.",
                id="css.E011",
            )


def _unreadable_clouds_files() -> Iterator[CheckMessage]:
    """A file in one of the usual places that this process's user may not read.

    In a container that is another user than the one who wrote the file. openstacksdk skips it, and
    there would seem to be no cloud at all.
    """
    from .embedded.clouds import FILE_NAMES, search_path

    for stem, variable in (
        ("clouds", "OS_CLIENT_CONFIG_FILE"),
        ("secure", "OS_CLIENT_SECURE_FILE"),
    ):
        if os.environ.get(variable):
            continue
        names = [name for name in FILE_NAMES if name.startswith(stem)]
        found = next(filter(None, (_there(folder, names) for folder in search_path())), None)
        if found and not os.access(found, os.X_OK if found.is_dir() else os.R_OK):
            yield Error(
                f"{found} cannot be read by this user (uid {os.getuid()}).",
                hint=f"Let uid {os.getuid()} read it: chown or chmod, its folder included.",
                id="css.E011",
            )


def _there(folder: Path, names: list[str]) -> Path | None:
    """The first of these files in a folder; the folder itself, where it cannot be looked into."""
    try:
        if folder.is_dir() and not os.access(folder, os.X_OK):
            return folder
        return next((path for path in (folder / name for name in names) if path.exists()), None)
    except OSError:  # a folder above it cannot be looked into: another user's home
        return None


def _exposure() -> Iterator[CheckMessage]:
    if not settings.SECRET_KEY_GIVEN:
        yield Error(
            "SECRET_KEY is not set: every machine would sign sessions with a key of its own.",
            hint="Set SECRET_KEY, or SECRET_KEY_FILE to a file that holds it: "
            'python -c "import secrets; print(secrets.token_urlsafe(48))"',
            id="css.E002",
        )
    elif len(settings.SECRET_KEY) < SHORTEST_SECRET_KEY:
        yield Error(
            f"SECRET_KEY has fewer than {SHORTEST_SECRET_KEY} characters and can be guessed.",
            hint='Make one with python -c "import secrets; print(secrets.token_urlsafe(48))"',
            id="css.E002",
        )
    if settings.DEBUG:
        yield Error(
            "DEBUG is on: an error page shows code, settings and addresses to everyone.",
            hint="Set DEBUG=0, or leave it out.",
            id="css.E003",
        )
    if "*" in settings.ALLOWED_HOSTS or not settings.ALLOWED_HOSTS_GIVEN:
        yield Error(
            "ALLOWED_HOSTS allows any host name."
            if "*" in settings.ALLOWED_HOSTS
            else "ALLOWED_HOSTS is not set: only this machine itself could open a page.",
            hint="Set ALLOWED_HOSTS to the names that users type, as in css-logs.example.com.",
            id="css.E004",
        )
    if not settings.HTTPS:
        yield Error(
            "HTTPS is off: passwords and session cookies travel readable.",
            hint="Leave HTTPS out, put a TLS proxy in front, and set TRUST_X_FORWARDED_PROTO=1.",
            id="css.E009",
        )
    elif settings.SECURE_SSL_REDIRECT and not getattr(settings, "SECURE_PROXY_SSL_HEADER", None):
        yield Info(
            "TRUST_X_FORWARDED_PROTO is off: behind a TLS proxy every page redirects to itself.",
            hint="Set TRUST_X_FORWARDED_PROTO=1 if the proxy sets or removes that header.",
            id="css.I001",
        )


def _shared_services() -> Iterator[CheckMessage]:
    # Left out, it is a mistake: each container or machine would make a file of its own, and the
    # worker would never see a run. Written down, it can be right: one machine, one local disk.
    if not settings.DATABASE_URL_GIVEN:
        yield Error(
            "DATABASE_URL is not set: each process's machine would use a SQLite file of its own.",
            hint="Set DATABASE_URL to postgres://USER:PASSWORD@HOST:5432/NAME.",
            id="css.E006",
        )
    elif settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        yield Warning(
            "DATABASE_URL is SQLite: all processes must run on one machine with a local disk.",
            hint="Set DATABASE_URL to postgres://USER:PASSWORD@HOST:5432/NAME.",
            id="css.W001",
        )
    if not settings.REDIS_URL_GIVEN:
        yield Error(
            "REDIS_URL is not set: only `manage.py run` starts a private Redis.",
            hint="Set REDIS_URL to redis://HOST:6379/0.",
            id="css.E008",
        )
