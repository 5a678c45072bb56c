"""The product's settings, with two bare answers beside the product."""

from dashboard.settings import *  # noqa: F403

ROOT_URLCONF = "benchmarks.watchers.urls"
