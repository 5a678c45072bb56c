"""WSGI entry point for gunicorn."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
django.setup(set_prefix=False)

from . import logs  # noqa: E402 - settings and apps must be loaded
from .apps import serving  # noqa: E402
from .checks import refuse_unsafe_start  # noqa: E402
from .web.middleware import PrefixedHandler  # noqa: E402

application = PrefixedHandler()
logs.log_warnings_and_exceptions()
refuse_unsafe_start()
serving.send(sender=PrefixedHandler)
