"""Where the pages of the objects are that events name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db.models import Model

from .models import AuditEvent


def attach_target_urls(events: Iterable[AuditEvent]) -> None:
    """Fill `target_url` of events: one query for each type of object.

    It stays empty for an object that was deleted, was masked or has no page of its own.

    Args:
        events: the events of a page.
    """
    wanted: dict[str, list[AuditEvent]] = defaultdict(list)
    for event in events:
        if event.target_type and event.target_id:
            wanted[event.target_type].append(event)
    for label, those in wanted.items():
        model = _model_with_a_page(label)
        if model is None:
            continue
        keys = [_key(model, event.target_id) for event in those]
        rows = model._default_manager.in_bulk([key for key in keys if key is not None])
        for event, key in zip(those, keys, strict=True):
            if key in rows:
                event.target_url = rows[key].get_absolute_url()  # type: ignore[attr-defined]


def _model_with_a_page(label: str) -> type[Model] | None:
    try:
        model = apps.get_model(label)
    except (LookupError, ValueError):  # an event of an older version
        return None
    return model if hasattr(model, "get_absolute_url") else None


def _key(model: type[Model], text: str) -> object:
    """The primary key that an event stored as text; None for one that cannot be of this model."""
    try:
        return model._meta.pk.to_python(text)
    except ValidationError:
        return None
