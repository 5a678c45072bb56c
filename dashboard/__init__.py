"""The Django project: settings, URLs, the Celery app, sign-in, health."""

from . import environment  # noqa: F401 - first: removes variables that Celery would read
from .celery import app as celery_app
from .version import VERSION as __version__

__all__ = ["__version__", "celery_app"]
