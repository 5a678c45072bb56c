"""gunicorn's configuration: `gunicorn -c python:dashboard.gunicorn`. Flags go before it."""

import os
from pathlib import Path

from dashboard.logs import FORMAT

wsgi_app = "dashboard.wsgi:application"
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
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
# its own lines as ours: one an event, tracebacks included, without secrets
logconfig_dict = {"formatters": {"generic": {"()": "dashboard.logs.LineFormatter", "fmt": FORMAT}}}
control_socket_disable = True  # two instances of one user would share its default path
if Path("/dev/shm").is_dir():  # noqa: S108 - the heartbeat file must not wait for a disk
    worker_tmp_dir = "/dev/shm"  # noqa: S108
