"""Roles for the accounts of tests."""

from __future__ import annotations

from backups.models import Project
from dashboard.accounts.access import Role
from dashboard.accounts.models import Grant, User
from dashboard.members.recording import not_recorded


def give(user: User, *roles: Role, project: Project | None = None) -> User:
    """Grant roles, for one project or for all, and forget what the object knew of its roles.

    They were there before the test: they are no events of the audit trail.
    """
    with not_recorded():
        for role in roles:
            Grant.objects.create(user=user, role=role, project=project, granted_by_name="a test")
    user.__dict__.pop("held_permissions", None)
    return user
