"""The Django project: settings, URLs, the Celery app, sign-in, health."""

from . import environment  # noqa: F401 - before Celery, which reads other projects' variables
from .celery import app as celery_app
from .version import VERSION as __version__

__all__ = ["__version__", "celery_app"]
