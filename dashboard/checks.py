"""Django system checks for the configuration, with hints on what to set.

`manage.py check` prints the results. gunicorn, the worker and `manage.py run` do not start if there
is an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Tags, Warning, register, run_checks
from django.core.checks.messages import ERROR
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from . import environment
from .db import triggers
from .db.roles import current_role
from .environment import CLOUDS_FILE_NAMES, clouds_search_path
from .generated import storage_problem
from .http.addresses import networks
from .service_urls import checks_certificates
from .web.middleware import USABLE, clashes

TAG = "css"
DEPLOYMENTS = ("local", "production")
# forms that Django accepts: a name, a name with its subdomains, an IPv6 address, or every host
HOST = re.compile(r"\*|\.?[\w-]+(?:\.[\w-]+)*\.?|\[[0-9a-f:.]+\]", re.IGNORECASE)
ORIGIN = re.compile(
    r"https?://(?:\*\.)?(?:[\w-]+(?:\.[\w-]+)*|\[[0-9a-f:.]+\])(?::\d+)?", re.IGNORECASE
)
SHORTEST_SECRET_KEY = 50  # characters, as in Django's check security.W009


@register(TAG)
def check_everywhere(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Run the checks that apply to every instance."""
    return [
        *_environment(),
        *_deployment(),
        *_urls(),
        *_prefix(),
        *_heartbeats(),
        *_data_dir(),
        *_signing_key(),
        *_notifications(),
        *_hosts(),
        *_clouds_file(),
    ]


@register(Tags.database, deploy=True)
def check_database_role(
    databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Warn about a database role that the guards do not bind.

    It opens the database, so it only runs with `check --deploy --database default`.
    """
    found: list[CheckMessage] = []
    for alias in databases or ():
        connection = connections[alias]
        role = current_role(connection, triggers.guarded_tables(connection))
        if role is not None and not role.is_bound:
            found.append(
                Warning(
                    f"The {role.in_words}.",
                    hint="Let another role own the tables: see manage.py database_roles.",
                    id="css.W004",
                )
            )
    return found


@register(TAG)
def check_production(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Run the checks for production: reject settings that are safe only on a local instance."""
    return [*_exposure(), *_shared_services()] if settings.PRODUCTION else []


def problems() -> list[str]:
    """Run the checks of this module; return one line for each error, with its hint."""
    found = [message for message in run_checks(tags=[TAG]) if message.level >= ERROR]
    return [f"({each.id}) {each.msg} {each.hint}" for each in found]


def refuse_unsafe_start() -> None:
    """Exit the process if a check of this module finds an error.

    Raises:
        SystemExit: the message lists every error with its hint.
    """
    if found := problems():
        raise SystemExit("\n  ".join(["Not started:", *found]))


def _deployment() -> Iterator[CheckMessage]:
    if settings.DEPLOYMENT not in DEPLOYMENTS:
        yield Error(
            f"DEPLOYMENT={settings.DEPLOYMENT!r} is not a known value.",
            hint="Set DEPLOYMENT to local or production.",
            id="css.E001",
        )


def _urls() -> Iterator[CheckMessage]:
    if settings.DATABASE_URL_PROBLEM:
        yield Error(
            f"DATABASE_URL cannot be used: {settings.DATABASE_URL_PROBLEM}.",
            hint="Set DATABASE_URL to postgres://USER:PASSWORD@HOST:5432/NAME. If the password is "
            "hard to escape, set DATABASE_PASSWORD instead.",
            id="css.E005",
        )
    if settings.REDIS_URL_PROBLEM:
        yield Error(
            f"REDIS_URL cannot be used: {settings.REDIS_URL_PROBLEM}.",
            hint="Set REDIS_URL to redis://:PASSWORD@HOST:6379/0 (rediss:// with TLS).",
            id="css.E007",
        )
    elif not checks_certificates(settings.REDIS_URL):
        yield Warning(
            "REDIS_URL disables verification of Redis's certificate: anybody on the network can "
            "read and change the messages between the processes.",
            hint="Remove ssl_cert_reqs and ssl_check_hostname from REDIS_URL, and set "
            "ssl_ca_certs=/path/to/ca.pem to the certificate of its authority.",
            id="css.W002",
        )


def _prefix() -> Iterator[CheckMessage]:
    prefix = settings.URL_PREFIX
    if not USABLE.fullmatch(prefix):
        problem = "contains characters that are not allowed in a path"
    elif prefix and clashes(prefix):
        problem = "starts with the name of a page of the dashboard, so the two would be ambiguous"
    else:
        return
    yield Error(
        f"URL_PREFIX {problem}.",
        hint="Set URL_PREFIX to a path such as /css-logs, made of letters, digits, - and _.",
        id="css.E030",
    )


def _environment() -> Iterator[CheckMessage]:
    """Report environment variables that are invalid or ignored."""
    if names := environment.removed_variables:
        yield Info(
            f"{', '.join(names)}: ignored, because another project's Celery may have set them.",
            hint="Set REDIS_URL to the broker of this instance, and unset the others.",
            id="css.I002",
        )
    for problem in settings.ENVIRONMENT_PROBLEMS:
        yield Error(problem.text, hint=problem.hint, id=problem.id)


def _heartbeats() -> Iterator[CheckMessage]:
    if settings.HEARTBEAT_STALE_AFTER <= settings.HEARTBEAT_INTERVAL:
        yield Error(
            "HEARTBEAT_STALE_AFTER is not greater than HEARTBEAT_INTERVAL: a running worker would "
            "be considered dead.",
            hint="Set HEARTBEAT_STALE_AFTER to four times HEARTBEAT_INTERVAL.",
            id="css.E012",
        )


def _signing_key() -> Iterator[CheckMessage]:
    from .audit.export import signing_key

    if settings.AUDIT_SIGNING_KEY:
        try:
            signing_key()
        except ImproperlyConfigured as error:
            yield Error(
                str(error),
                hint="Set AUDIT_SIGNING_KEY to a valid key, or leave it unset.",
                id="css.E019",
            )


def _notifications() -> Iterator[CheckMessage]:
    try:
        networks(settings.NOTIFY_ALLOWED_NETWORKS)
    except ValueError as error:
        yield Error(
            f"NOTIFY_ALLOWED_NETWORKS: {error}.",
            hint="Set NOTIFY_ALLOWED_NETWORKS to networks separated by commas, as in 10.0.0.0/8.",
            id="css.E024",
        )
    if settings.PUBLIC_URL and not ORIGIN.fullmatch(settings.PUBLIC_URL):
        yield Error(
            "PUBLIC_URL is not scheme and host.",
            hint="Set PUBLIC_URL to the origin that users open, for example "
            "https://css-logs.example.com; URL_PREFIX is added.",
            id="css.E024",
        )
    if settings.PING_URL and not settings.PING_URL.startswith(("http://", "https://")):
        yield Error(  # without its value, which is a secret
            "PING_URL is not a URL of http or https.",
            hint="Set PING_URL to the ping URL of a monitoring service.",
            id="css.E024",
        )


def _data_dir() -> Iterator[CheckMessage]:
    """Check that DATA_DIR is usable, unless everything that it would hold is stored elsewhere."""
    local = not settings.PRODUCTION
    kept = [
        text
        for text, here in (
            ("the database", not settings.DATABASE_URL_GIVEN),
            ("the secret key", not settings.SECRET_KEY_GIVEN and local),
            ("the key of the channels", not settings.CHANNEL_KEY and local),
            (
                "the key of the audit trail",
                not settings.AUDIT_SIGNING_KEY and not settings.PRODUCTION,
            ),
        )
        if here
    ]
    if not kept or not (problem := storage_problem(Path(settings.DATA_DIR))):
        return
    # only a warning for the other keys alone: they are created on first use
    only_keys = kept[0].startswith("the key of")
    kind, number = (Warning, "css.W003") if only_keys else (Error, "css.E021")
    yield kind(
        f"DATA_DIR={settings.DATA_DIR} cannot keep {', '.join(kept)}: {problem}.",
        hint="Set DATA_DIR to a folder owned by the user that all processes run as, or correct "
        "the owner of the files.",
        id=number,
    )


def _hosts() -> Iterator[CheckMessage]:
    wrong = [host for host in settings.ALLOWED_HOSTS if not HOST.fullmatch(host)]
    if wrong:
        yield Error(
            f"ALLOWED_HOSTS has {wrong[0][:80]!r}, which is not a valid host name.",
            hint="Set ALLOWED_HOSTS to host names without scheme, port and path, for example "
            "css-logs.example.com, or .example.com to include all subdomains.",
            id="css.E020",
        )
    wrong = [origin for origin in settings.CSRF_TRUSTED_ORIGINS if not ORIGIN.fullmatch(origin)]
    if wrong:
        yield Error(
            f"CSRF_TRUSTED_ORIGINS has {wrong[0][:80]!r}, which is not a valid origin.",
            hint="Set CSRF_TRUSTED_ORIGINS to scheme and host, for example https://css-logs.example.com.",
            id="css.E020",
        )


def _clouds_file() -> Iterator[CheckMessage]:
    """Check that the clouds.yaml files can be read; their content is validated on use."""
    yield from _unreadable_clouds_files()
    for variable in ("OS_CLIENT_CONFIG_FILE", "OS_CLIENT_SECURE_FILE"):
        name = os.environ.get(variable)
        if not name:
            continue
        problem = "is not there" if not Path(name).is_file() else "cannot be read by this user"
        if problem == "is not there" or not os.access(name, os.R_OK):
            yield Error(
                f"{variable} names {name!r}, which {problem}.",
                hint=f"Correct {variable}, or the file's owner and mode.",
                id="css.E011",
            )


def _unreadable_clouds_files() -> Iterator[CheckMessage]:
    """Check that files in the default locations can be read by this process's user.

    In a container, that user is not the one who wrote the file. openstacksdk skips unreadable
    files, so it would appear as if no cloud were configured.
    """
    for stem, variable in (
        ("clouds", "OS_CLIENT_CONFIG_FILE"),
        ("secure", "OS_CLIENT_SECURE_FILE"),
    ):
        if os.environ.get(variable):
            continue
        names = [name for name in CLOUDS_FILE_NAMES if name.startswith(stem)]
        found = next(filter(None, (_there(folder, names) for folder in clouds_search_path())), None)
        if found and not os.access(found, os.X_OK if found.is_dir() else os.R_OK):
            yield Error(
                f"{found} cannot be read by this user (uid {os.getuid()}).",
                hint=f"Let uid {os.getuid()} read it: chown or chmod, its folder included.",
                id="css.E011",
            )


def _there(folder: Path, names: list[str]) -> Path | None:
    """Return the first of these files in a folder, or the folder itself if it is inaccessible."""
    try:
        if folder.is_dir() and not os.access(folder, os.X_OK):
            return folder
        return next((path for path in (folder / name for name in names) if path.exists()), None)
    except OSError:  # a parent folder is inaccessible, such as another user's home
        return None


def _exposure() -> Iterator[CheckMessage]:
    if not settings.SECRET_KEY_GIVEN:
        yield Error(
            "SECRET_KEY is not set: each machine would sign sessions with a different key.",
            hint="Set SECRET_KEY, or set SECRET_KEY_FILE to a file that contains it: "
            'python -c "import secrets; print(secrets.token_urlsafe(48))"',
            id="css.E002",
        )
    elif len(settings.SECRET_KEY) < SHORTEST_SECRET_KEY:
        yield Error(
            f"SECRET_KEY has fewer than {SHORTEST_SECRET_KEY} characters, so it can be guessed.",
            hint='Generate one: python -c "import secrets; print(secrets.token_urlsafe(48))"',
            id="css.E002",
        )
    if not settings.AUDIT_SIGNING_KEY:
        yield Error(
            "AUDIT_SIGNING_KEY is not set: each container or machine would generate its own key, "
            "and what was signed with a lost one could not be attributed any more.",
            hint="Set AUDIT_SIGNING_KEY_FILE to a file with a key, the same for all processes: "
            "openssl genpkey -algorithm ed25519 -out audit.pem",
            id="css.E022",
        )
    if len(settings.CHANNEL_KEY) < SHORTEST_SECRET_KEY:
        missing = f"has fewer than {SHORTEST_SECRET_KEY} characters, so it can be guessed"
        if not settings.CHANNEL_KEY:
            missing = "is not set: each container or machine would encrypt with a different key"
        yield Error(
            f"CHANNEL_KEY {missing}.",
            hint="Set CHANNEL_KEY_FILE to a file with a key, the same for all processes: "
            'python -c "import secrets; print(secrets.token_urlsafe(48))"',
            id="css.E023",
        )
    if settings.DEBUG:
        yield Error(
            "DEBUG is on: error pages show code, settings and addresses to everyone.",
            hint="Set DEBUG=0, or leave it unset.",
            id="css.E003",
        )
    if "*" in settings.ALLOWED_HOSTS or not settings.ALLOWED_HOSTS_GIVEN:
        yield Error(
            "ALLOWED_HOSTS allows any host name."
            if "*" in settings.ALLOWED_HOSTS
            else "ALLOWED_HOSTS is not set: pages could be opened only from this machine.",
            hint="Set ALLOWED_HOSTS to the host names that users type, as in css-logs.example.com.",
            id="css.E004",
        )
    if not settings.HTTPS:
        yield Error(
            "HTTPS is off: passwords and session cookies are sent unencrypted.",
            hint="Leave HTTPS unset, use a TLS proxy, and set TRUST_X_FORWARDED_PROTO=1.",
            id="css.E009",
        )
    elif settings.SECURE_SSL_REDIRECT and not getattr(settings, "SECURE_PROXY_SSL_HEADER", None):
        yield Info(
            "TRUST_X_FORWARDED_PROTO is off: behind a TLS proxy every page redirects to itself.",
            hint="Set TRUST_X_FORWARDED_PROTO=1 if the proxy sets or removes that header.",
            id="css.I001",
        )


def _shared_services() -> Iterator[CheckMessage]:
    # Unset is an error: each container or machine would create its own file, and the worker would
    # never see a run. Explicit SQLite can be valid on one machine with one local disk.
    if not settings.DATABASE_URL_GIVEN:
        yield Error(
            "DATABASE_URL is not set: each machine would use its own SQLite file.",
            hint="Set DATABASE_URL to postgres://USER:PASSWORD@HOST:5432/NAME.",
            id="css.E006",
        )
    elif settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        yield Warning(
            "DATABASE_URL is SQLite: all processes must run on the same machine, on a local disk.",
            hint="Set DATABASE_URL to postgres://USER:PASSWORD@HOST:5432/NAME.",
            id="css.W001",
        )
    if not settings.REDIS_URL_GIVEN:
        yield Error(
            "REDIS_URL is not set, and only `manage.py run` starts a private Redis.",
            hint="Set REDIS_URL to redis://HOST:6379/0.",
            id="css.E008",
        )
