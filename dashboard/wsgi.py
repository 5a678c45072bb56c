"""The WSGI entry point for gunicorn."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
application = get_wsgi_application()

from .checks import refuse_unsafe_start  # noqa: E402 - settings and apps must be loaded

refuse_unsafe_start()
