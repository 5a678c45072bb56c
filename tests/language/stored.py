"""What the database keeps as text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from django.apps import apps
from django.db import models
from django.utils.translation import override

from backups.models import Schedule
from backups.rules.log_settings import LOG_TYPES
from backups.services.schedules.firing import timing_of
from dashboard.preferences.forms import AREAS
from dashboard.web.moments import zone_names

ROOT = Path(__file__).resolve().parents[2]
SHORTEST = 3
# Names that are nobody's to translate: of the product, engines, formats, languages, zones, and the
# cloud's own words for kinds of logs and their levels.
OWN_NAMES = {
    *("CSS Log Backup", "Elasticsearch", "OpenSearch", "Logstash", "CSV", "JSON Lines"),
    *("JSON", "OpenID Connect", "English", "Deutsch"),
    *("DEBUG", "INFO", "WARN", "ERROR", *LOG_TYPES),
    *(name.replace("_", " ") for name in zone_names()),
    *AREAS,
}


def texts() -> Iterator[tuple[str, str]]:
    """Every text in every table, with its place; codes that stand for choices are left out."""
    for model in apps.get_models():
        if model._meta.label == "accounts.Session":
            continue
        fields = [
            field
            for field in model._meta.concrete_fields
            if isinstance(field, models.CharField | models.TextField | models.JSONField)
            and not field.choices
        ]
        for row in model._default_manager.all():
            for field in fields:
                value = getattr(row, field.attname)
                for text in _leaves(value):
                    yield f"{model._meta.label}.{field.name}", text


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield str(name)
            yield from _leaves(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner)


def pattern() -> re.Pattern[str]:
    """Matches every stored text, the longest first, and the names of things."""
    known = {" ".join(text.split()) for _place, text in texts()} | OWN_NAMES | described()
    with override("de"):  # cron-descriptor translates its words itself
        known |= {timing_of(each).words() for each in Schedule.objects.exclude(cron="")}
    return matching(known)


def described() -> set[str]:
    """The texts of the API's description, which its reference page shows in English."""
    leaves = set(_leaves(json.loads((ROOT / "docs" / "openapi.json").read_text())))
    leaves |= {"list of", "or null", "no, yes"}  # of the types that the page writes
    return {" ".join(each.split()) for each in leaves | {each.capitalize() for each in leaves}}


def matching(texts: Iterable[str]) -> re.Pattern[str]:
    """Matches these texts as whole words, the longest first."""
    words = sorted((each for each in texts if len(each) >= SHORTEST), key=len, reverse=True)
    return re.compile("|".join(rf"(?<!\w){re.escape(each)}(?!\w)" for each in words))
