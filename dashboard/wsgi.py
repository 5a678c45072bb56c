"""The WSGI entry point for gunicorn."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
django.setup(set_prefix=False)

from . import logs  # noqa: E402 - settings and apps must be loaded
from .checks import refuse_unsafe_start  # noqa: E402
from .signals import serving  # noqa: E402
from .web.request_text import Handler  # noqa: E402

application = Handler()
logs.log_what_python_prints()
refuse_unsafe_start()
serving.send(sender=Handler)
