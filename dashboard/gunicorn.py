"""gunicorn's configuration and start: `python -m dashboard.gunicorn --bind HOST:PORT`.

`gunicorn -c python:dashboard.gunicorn` serves the same. But gunicorn reads WEB_CONCURRENCY when it
is imported, before any configuration file, and ends with a traceback if that is empty or not a
number. Started from here, the checks of the settings run first and name the error. Command-line
flags take precedence over this file.
"""

import os
import sys
from pathlib import Path

from dashboard.environment import env
from dashboard.logs import FORMAT

wsgi_app = "dashboard.wsgi:application"
worker_class = "gthread"
workers = env.int("WEB_CONCURRENCY", 2, at_least=1, at_most=1000)
threads = 8
preload_app = True  # import the application once, not once per worker
timeout = 60  # seconds without a heartbeat before a worker is replaced
graceful_timeout = 8  # seconds for requests in progress at shutdown
keepalive = 5
# By default, a proxy on loopback may set SCRIPT_NAME and PATH_INFO by headers. Such a proxy passes
# on what clients send, and they could choose the target of redirects.
forwarder_headers = ""
# gunicorn's own name for the prefix; it answers 500 to a probe without the prefix
if "SCRIPT_NAME" in os.environ:
    os.environ.setdefault("URL_PREFIX", os.environ.pop("SCRIPT_NAME"))
# Logged in our format: one line per event, tracebacks included, no secrets. No access log: a URL
# may contain the code of a sign-in.
logconfig_dict = {
    "formatters": {"generic": {"()": "dashboard.logs.LineFormatter", "fmt": FORMAT}},
    "loggers": {
        "gunicorn.error": {"level": "INFO", "handlers": ["error_console"], "propagate": False},
        "gunicorn.access": {"level": "WARNING", "handlers": [], "propagate": False},
    },
}
control_socket_disable = True  # two instances of one user would share the default path
if Path("/dev/shm").is_dir():  # noqa: S108 - the heartbeat file must not wait for a disk
    worker_tmp_dir = "/dev/shm"  # noqa: S108


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
