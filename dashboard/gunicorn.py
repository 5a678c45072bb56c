"""gunicorn configuration and entry point: `python -m dashboard.gunicorn --bind HOST:PORT`.

`gunicorn -c python:dashboard.gunicorn` uses the same configuration. However, gunicorn reads
WEB_CONCURRENCY on import, before any configuration file, and fails with a traceback if it is empty
or not a number. This entry point runs the checks of the settings first, and they name the error.
Command-line flags take precedence over this file.
"""

import os
import sys
from pathlib import Path

from dashboard.environment import env
from dashboard.logs import formatter

wsgi_app = "dashboard.wsgi:application"
worker_class = "gthread"
workers = env.int("WEB_CONCURRENCY", 2, at_least=1, at_most=1000)
threads = 8
preload_app = True  # import the application once, not once per worker
timeout = 60  # seconds without a heartbeat before a worker is replaced
graceful_timeout = 8  # seconds for requests in progress at shutdown
keepalive = 5
# By default, gunicorn accepts SCRIPT_NAME and PATH_INFO headers from a proxy on loopback. Such a
# proxy forwards the clients' headers, so clients could choose the target of redirects.
forwarder_headers = ""
# gunicorn's variable for the prefix; with it, gunicorn answers 500 to a probe without the prefix
if "SCRIPT_NAME" in os.environ:
    os.environ.setdefault("URL_PREFIX", os.environ.pop("SCRIPT_NAME"))
# Use our log format: one line per event, tracebacks included, no secrets. No access log of
# gunicorn's: a URL can contain a sign-in code. The middleware logs requests by their route.
logconfig_dict = {
    "formatters": {
        "generic": formatter(
            env.str("DEPLOYMENT", "local").lower(),
            env.choice("LOG_FORMAT", "auto", ("auto", "text", "json")),
        )
    },
    "loggers": {
        "gunicorn.error": {"level": "INFO", "handlers": ["error_console"], "propagate": False},
        "gunicorn.access": {"level": "WARNING", "handlers": [], "propagate": False},
    },
}
control_socket_disable = True  # two instances of one user would share the default path
if Path("/dev/shm").is_dir():  # noqa: S108 - the heartbeat file must not wait for a disk
    worker_tmp_dir = "/dev/shm"  # noqa: S108


def post_worker_init(worker: object) -> None:
    """Start to add this process's counters to the database; called in each new worker process."""
    from dashboard.metrics.counters import start_adding

    start_adding()


def worker_exit(server: object, worker: object) -> None:
    """Add what this process has counted since the last time."""
    from dashboard.metrics.counters import stop_adding

    stop_adding()


def main() -> None:
    """Check the settings, then run gunicorn with this configuration.

    Raises:
        SystemExit: a setting is invalid, or gunicorn has ended.
    """
    import dashboard.wsgi  # noqa: F401 - refuses an unsafe start

    os.environ["WEB_CONCURRENCY"] = str(workers)
    from gunicorn.app.wsgiapp import run

    sys.argv[:1] = ["gunicorn", "-c", "python:dashboard.gunicorn"]
    run()


if __name__ == "__main__":
    main()
