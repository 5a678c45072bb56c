"""The product's settings, with counted statements and the table of django-celery-results."""

from __future__ import annotations

import importlib.util

from dashboard.settings import *  # noqa: F403
from dashboard.settings import DATA_DIR
from dashboard.settings import INSTALLED_APPS as _APPS

from . import statements

INSTALLED_APPS = [*_APPS]
if importlib.util.find_spec("django_celery_results"):
    INSTALLED_APPS.append("django_celery_results")

statements.count_into(DATA_DIR / "statements")
