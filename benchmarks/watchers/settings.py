"""The product's settings, with two bare views in addition to the product's."""

from dashboard.settings import *  # noqa: F403

ROOT_URLCONF = "benchmarks.watchers.urls"
