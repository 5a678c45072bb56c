"""Finding a project by what people call it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.apps import apps
from django.db.models import Q

if TYPE_CHECKING:
    from backups.models import Project


class ProjectNotFound(Exception):
    """No project is meant, or more than one could be."""


def find_project(text: str) -> Project:
    """The project that is meant.

    Args:
        text: its id in the cloud, its name, or CLOUD/REGION/NAME.

    Raises:
        ProjectNotFound: none is, or several are; the text says which.
    """
    named = Q(project_id=text) | Q(name=text)
    if len(parts := [part.strip() for part in text.split("/")]) == 3:
        cloud, region, name = parts
        named |= Q(cloud=cloud, region=region, name=name)
    projects = apps.get_model("backups", "Project")._default_manager
    found = list(projects.filter(named)[:10])
    if not found:
        raise ProjectNotFound(f"no project '{text}' is known")
    if len(found) > 1:
        ids = ", ".join(f"{each.project_id} ({each})" for each in found)
        raise ProjectNotFound(f"'{text}' is not unique, give CLOUD/REGION/NAME: {ids}")
    return found[0]
