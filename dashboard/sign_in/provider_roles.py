"""Bringing the roles that a provider gives an account up to date."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest

from dashboard.accounts.access import Role
from dashboard.accounts.models import Grant, User
from dashboard.audit.trail import Actor
from dashboard.members import granting
from dashboard.members.projects import ProjectNotFound, find_project

from .role_map import ALL_PROJECTS, Mapped, groups_of, parse_role_map

if TYPE_CHECKING:
    from backups.models import Project

logger = logging.getLogger(__name__)

Wanted: TypeAlias = "set[tuple[Role, Project | None]]"


def entries_for(claims: Mapping[str, Any]) -> list[Mapped]:
    """The entries of OIDC_ROLE_MAP that the groups in these claims match.

    Raises:
        GroupsUnknown: see `role_map.groups_of`.
    """
    groups = groups_of(claims, settings.OIDC_GROUPS_CLAIM)
    return [entry for entry in parse_role_map(settings.OIDC_ROLE_MAP) if entry.group in groups]


def apply_roles(request: HttpRequest, user: User, entries: list[Mapped]) -> None:
    """Grant what the provider's groups mean, and withdraw what it granted and no longer does.

    What was granted by hand stays. The last admin may go: who lost the group must not stay for
    want of another; `manage.py grant` and superusers are there for it.

    Args:
        request: the sign-in.
        user: who signs in.
        entries: those of OIDC_ROLE_MAP that hold for them.
    """
    actor = replace(Actor.of(request), name=f"{settings.OIDC_NAME} (OpenID Connect)", user=None)
    wanted = _wanted(entries)
    with transaction.atomic():
        held = Grant.objects.filter(user=user, by_provider=True).select_related("project", "user")
        for grant in held:
            if (Role(grant.role), grant.project) in wanted:
                wanted.discard((Role(grant.role), grant.project))
            else:
                granting.withdraw(grant, actor, even_the_last=True)
        for role, project in sorted(wanted, key=str):
            try:
                granting.grant(user, role, project, actor, by_provider=True)
            except granting.AlreadyGranted:  # by a second sign-in at the same moment
                continue


def _wanted(entries: list[Mapped]) -> Wanted:
    found: Wanted = set()
    for entry in entries:
        if entry.project == ALL_PROJECTS:
            found.add((entry.role, None))
            continue
        try:
            found.add((entry.role, find_project(entry.project)))
        except ProjectNotFound as error:
            logger.warning("OIDC_ROLE_MAP: %s", error)
    return found
