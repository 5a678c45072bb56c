"""gunicorn's configuration, and its start: `python -m dashboard.gunicorn --bind HOST:PORT`.

`gunicorn -c python:dashboard.gunicorn` serves the same. But gunicorn reads WEB_CONCURRENCY while
it is imported and ends with a traceback where that is no number, or empty; started from here, the
checks of the settings come first and name it. Flags go before this file.
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
preload_app = True  # the application is imported once, not once a worker
timeout = 60  # seconds without a sign of life before a worker is replaced
graceful_timeout = 8  # seconds for answers under way when it stops
keepalive = 5
# By default a proxy on loopback may set SCRIPT_NAME and PATH_INFO by headers of these names, and
# such a proxy passes on what strangers send: they could then choose where redirects lead.
forwarder_headers = ""
# gunicorn's own name for it; it would answer 500 to a probe that comes without the prefix
if "SCRIPT_NAME" in os.environ:
    os.environ.setdefault("URL_PREFIX", os.environ.pop("SCRIPT_NAME"))
# Its own lines as ours: one an event, tracebacks included, without secrets. None for a request: an
# address may hold the code of a sign-in.
logconfig_dict = {
    "formatters": {"generic": {"()": "dashboard.logs.LineFormatter", "fmt": FORMAT}},
    "loggers": {
        "gunicorn.error": {"level": "INFO", "handlers": ["error_console"], "propagate": False},
        "gunicorn.access": {"level": "WARNING", "handlers": [], "propagate": False},
    },
}
control_socket_disable = True  # two instances of one user would share its default path
if Path("/dev/shm").is_dir():  # noqa: S108 - the heartbeat file must not wait for a disk
    worker_tmp_dir = "/dev/shm"  # noqa: S108


def main() -> None:
    """Check the settings, then be gunicorn with this configuration.

    Raises:
        SystemExit: a setting cannot work; and when gunicorn ends.
    """
    import dashboard.wsgi  # noqa: F401 - refuses an unsafe start

    os.environ["WEB_CONCURRENCY"] = str(workers)
    from gunicorn.app.wsgiapp import run

    sys.argv[:1] = ["gunicorn", "-c", "python:dashboard.gunicorn"]
    run()


if __name__ == "__main__":
    main()
