"""The product's settings, with the peers in addition to the product."""

from dashboard.settings import *  # noqa: F403
from dashboard.settings import INSTALLED_APPS as _APPS

# The product has no admin of Django; it is one of the peers.
INSTALLED_APPS = ["django.contrib.admin", *_APPS, "django_celery_results"]
ROOT_URLCONF = "benchmarks.history.urls"
