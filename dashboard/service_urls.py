"""Parse and validate DATABASE_URL and REDIS_URL. No side effects besides checking files.

Messages about a URL never show a part of it. If a password is not escaped, libraries parse its
beginning as the host, and its end as the port, path, query or fragment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

import dj_database_url

ESCAPE = "write the characters # / ? [ ] @ : % of a password as %23 %2F %3F %5B %5D %40 %3A %25"
UNUSABLE_DATABASE: Mapping[str, Any] = {"ENGINE": "django.db.backends.dummy"}
UNUSABLE_BROKER = "redis+socket:///dev/null"  # not a socket, so connections fail immediately
SCHEMES = ("redis", "rediss", "redis+socket")
POSTGRESQL_SCHEMES = ("postgres", "postgresql", "pgsql")
LONGEST_DATABASE_NAME = 63  # PostgreSQL's limit; Django raises an exception for longer names
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# Certificate verification modes: names used by ssl, kombu and redis-py → names used by redis-py.
CERT_REQS = {
    **{word: word for word in ("required", "optional", "none")},
    **{f"CERT_{word.upper()}": word for word in ("required", "optional", "none")},
}
CERT_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
# options of Django's backend, in addition to those of libpq
_DJANGO_OPTIONS = {"pool", "server_side_binding", "isolation_level", "assume_role"}


def database_of(
    url: str, *, conn_max_age: int, by_transaction: bool = False
) -> tuple[dict[str, Any], str]:
    """Return Django's database settings for a URL.

    Args:
        url: `postgres://…` or `sqlite:///…`.
        conn_max_age: lifetime of a connection, in seconds. 0, as used with a pooler, also disables
            server-side cursors, which belong to one connection.
        by_transaction: whether a pooler can assign each transaction another connection. This
            disables server-side cursors and prepared statements.

    Returns:
        The settings and "", or settings with which every query fails and a description of the
        problem.
    """
    parts, problem = _split(url)
    if parts is None:
        return dict(UNUSABLE_DATABASE), problem
    if parts.scheme not in (*POSTGRESQL_SCHEMES, "sqlite"):
        return dict(UNUSABLE_DATABASE), "it is not supported"
    try:
        found: dict[str, Any] = {
            **dj_database_url.parse(
                url,
                conn_max_age=conn_max_age,
                conn_health_checks=True,
                disable_server_side_cursors=by_transaction or conn_max_age == 0,
            )
        }
    except ValueError:
        return dict(UNUSABLE_DATABASE), f"it is not a valid database URL: {ESCAPE}"
    if parts.scheme != "sqlite" and (problem := _postgresql_problem(parts, found)):
        return dict(UNUSABLE_DATABASE), problem
    if parts.scheme != "sqlite" and by_transaction:
        found.setdefault("OPTIONS", {})["prepare_threshold"] = None
    return found, ""


def broker_url(url: str) -> tuple[str, str]:
    """Normalize a Redis URL for kombu and redis-py.

    By default, neither verifies certificates. The returned URL requires verification unless the
    given one specifies otherwise.

    Args:
        url: `redis://…`, `rediss://…` or `redis+socket:///…`.

    Returns:
        The URL and "", or a URL on which connections fail and a description of the problem.
    """
    scheme = re.match(r"([a-z][a-z0-9+.-]*)://", url, re.IGNORECASE)
    parts, problem = _split(url)
    if (scheme and scheme[1].lower() not in SCHEMES) or (parts and parts.scheme not in SCHEMES):
        return UNUSABLE_BROKER, "it does not start with redis://, rediss:// or redis+socket://"
    if parts is None:
        return UNUSABLE_BROKER, problem
    if ";" in url:  # kombu treats it as a separator of several URLs
        return (
            UNUSABLE_BROKER,
            "it contains a semicolon: write %3B in a password, and give one URL",
        )
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if problem := _broker_problem(parts, options):
        return UNUSABLE_BROKER, problem
    if parts.scheme != "rediss":
        return url, ""
    options["ssl_cert_reqs"] = CERT_REQS[options.get("ssl_cert_reqs", "required")]
    if options["ssl_cert_reqs"] == "none":
        options["ssl_check_hostname"] = "false"
    return parts._replace(query=urlencode(options, quote_via=quote)).geturl(), ""


def checks_certificates(url: str) -> bool:
    """Return True if a URL from `broker_url` verifies Redis's certificate or does not use TLS."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    return parts.scheme != "rediss" or not (
        options.get("ssl_cert_reqs") == "none"
        or options.get("ssl_check_hostname", "").lower() == "false"
    )


def _split(url: str) -> tuple[SplitResult | None, str]:
    """Return the parts of a URL with one host and "", or None and the problem."""
    if re.search(r"[\s\x00-\x1f\x7f]", url):
        return None, "it contains a space or a control character"
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises ValueError if invalid
    except ValueError:
        host = url.rpartition("@")[2]
        several = "," in host.partition("/")[0]
        return None, _TWO_HOSTS if several else f"it cannot be read: {ESCAPE}"
    host = parts.netloc.rpartition("@")[2]
    if "," in host or ";" in host:
        return None, _TWO_HOSTS
    if parts.fragment or "@" in parts.query or "@" in parts.path or url.endswith("#"):
        return None, f"it contains a character that is not escaped: {ESCAPE}"
    return parts, ""


_TWO_HOSTS = "it names several hosts: give one name or address that leads to the primary"


def _postgresql_problem(parts: SplitResult, found: Mapping[str, Any]) -> str:
    options = found.get("OPTIONS", {})
    name = str(found.get("NAME", ""))
    if "/" in parts.path.removeprefix("/"):
        return f"the database name contains a slash, or a password is not escaped: {ESCAPE}"
    if not name and "service" not in options:
        return "it has no database name after the host"
    if len(name) > LONGEST_DATABASE_NAME:
        return f"the database name is longer than {LONGEST_DATABASE_NAME} characters"
    if unknown := _unknown_to_libpq(options):
        return f"it has unknown PostgreSQL options: {', '.join(unknown)}"
    mode = options.get("sslmode", "prefer")
    if mode not in SSL_MODES:
        return f"sslmode is not one of {', '.join(SSL_MODES)}"
    if not isinstance(options.get("connect_timeout", 0), int):
        return "connect_timeout is not a whole number of seconds"
    files = {key: options[key] for key in ("sslrootcert", "sslcert", "sslkey") if key in options}
    if files.get("sslrootcert") == "system":  # the system's certificate authorities, since libpq 16
        del files["sslrootcert"]
    return _unreadable_file(files)


def _unknown_to_libpq(options: Mapping[str, Any]) -> list[str]:
    if not set(options) - _DJANGO_OPTIONS:
        return []
    from psycopg import pq

    known = {each.keyword.decode() for each in pq.Conninfo.get_defaults()}
    # show only names that look like an option's; others could be part of a password
    return [
        name if re.fullmatch(r"[a-z_]{3,30}", name) else "(unnamed)"
        for name in options
        if name not in known | _DJANGO_OPTIONS
    ]


def _broker_problem(parts: SplitResult, options: Mapping[str, str]) -> str:
    if parts.scheme == "redis+socket":
        if set(options) - {"virtual_host"}:
            return "it has an option other than virtual_host (the database number)"
        if not parts.path.strip("/"):
            return "it has no socket path: redis+socket:///path/to/redis.sock"
        return _number_problem(options.get("virtual_host", "0"))
    if problem := _number_problem(parts.path.strip("/") or "0"):
        return problem
    if parts.scheme == "redis":
        return "it has options, which only rediss:// supports" if options else ""
    if set(options) - {"ssl_cert_reqs", "ssl_check_hostname", *CERT_FILES}:
        known = ", ".join(("ssl_cert_reqs", "ssl_check_hostname", *CERT_FILES))
        return f"it has an option other than {known}"
    if options.get("ssl_cert_reqs", "required") not in CERT_REQS:
        return "ssl_cert_reqs is not required, optional or none"
    if options.get("ssl_check_hostname", "true").lower() not in ("true", "false"):
        return "ssl_check_hostname is neither true nor false"
    return _unreadable_file({key: options[key] for key in CERT_FILES if key in options})


def _number_problem(text: str) -> str:
    if re.fullmatch(r"[0-9]{1,5}", unquote(text)):
        return ""
    return (
        f"the part after the host is not a database number, or a password is not escaped: {ESCAPE}"
    )


def _unreadable_file(files: Mapping[str, object]) -> str:
    wrong = [key for key, path in files.items() if not os.access(str(path), os.R_OK)]
    return (
        f"{' and '.join(wrong)} names a file that does not exist or cannot be read" if wrong else ""
    )
