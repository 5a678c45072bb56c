"""Tell which of the URLs given do not answer; exit status 1 if one does not."""

import sys

import psycopg
import redis


def problem(url: str) -> str:
    """Why a server cannot be reached, "" where it can."""
    try:
        if url.startswith("postgres"):
            psycopg.connect(url, connect_timeout=5).close()
        else:
            with redis.Redis.from_url(url, socket_connect_timeout=5) as client:
                client.ping()
    except (psycopg.OperationalError, redis.RedisError) as error:
        return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    return ""


problems = [text for url in sys.argv[1:] if (text := problem(url))]
if problems:
    sys.exit("; ".join(problems))
