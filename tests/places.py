"""Which database and which Redis belong to this pytest-xdist worker."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

DATABASES_PER_WORKER = 2  # the test process's own, and the started product's


def worker_number() -> int:
    """0 without pytest-xdist."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def redis_url_of_this_worker(offset: int = 0) -> str:
    """REDIS_URL with the number of a database of this worker's own; "" where it is not set."""
    url = os.environ.get("TESTS_REDIS_URL") or os.environ.get("REDIS_URL", "")
    if not url:
        return ""
    os.environ["TESTS_REDIS_URL"] = url  # as it was given: REDIS_URL is about to change
    parts = urlsplit(url)
    first = int(parts.path.strip("/") or 0)
    number = first + DATABASES_PER_WORKER * worker_number() + offset
    return parts._replace(path=f"/{number}").geturl()


@contextmanager
def own_database(server_url: str) -> Iterator[str]:
    """Create a PostgreSQL database, give its URL, and drop it at the end."""
    import psycopg

    name = f"css_log_backup_test_{secrets.token_hex(6)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    try:
        yield urlsplit(server_url)._replace(path=f"/{name}").geturl()
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
