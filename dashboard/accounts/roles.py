"""Roles, and what each one may do. docs/access.md shows the same table to people."""

from __future__ import annotations

from enum import StrEnum

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class Role(TextChoices):
    """What somebody is, for one project or for all. Who is several of them may do what each may."""

    VIEWER = "viewer", _("Viewer")
    OPERATOR = "operator", _("Operator")
    ADMIN = "admin", _("Admin")
    AUDITOR = "auditor", _("Auditor")


class Permission(StrEnum):
    """What somebody may want to do.

    SEE: look at clusters, runs, the history and its figures.
    RUN: back up, cancel, retry, have a cluster checked, search a cluster's logs.
    SETTLE: say how a run ended that the cloud's records cannot settle.
    CONFIGURE: change clusters, connections, settings, objectives, schedules and channels.
    EXPORT: take the history away as a file.
    AUDIT: read the audit trail.
    MEMBERS: grant and withdraw roles.
    """

    SEE = "see"
    RUN = "run"
    SETTLE = "settle"
    CONFIGURE = "configure"
    EXPORT = "export"
    AUDIT = "audit"
    MEMBERS = "members"


PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: frozenset({Permission.SEE}),
    Role.OPERATOR: frozenset({Permission.SEE, Permission.RUN, Permission.EXPORT}),
    Role.ADMIN: frozenset(Permission),
    Role.AUDITOR: frozenset({Permission.SEE, Permission.EXPORT, Permission.AUDIT}),
}

# how a sentence about it begins
PERMISSION_LABELS = {
    Permission.SEE: _("Seeing this"),
    Permission.RUN: _("Backing up, cancelling and checking"),
    Permission.SETTLE: _("Settling a run by hand"),
    Permission.CONFIGURE: _("Changing clusters and settings"),
    Permission.EXPORT: _("Exporting"),
    Permission.AUDIT: _("Reading the audit trail"),
    Permission.MEMBERS: _("Granting roles"),
}

ROLE_DESCRIPTIONS = {
    Role.VIEWER: _("sees clusters, runs and the history"),
    Role.OPERATOR: _("also backs up, cancels, retries and exports"),
    Role.ADMIN: _("also changes clusters, settings and members, and reads the audit trail"),
    Role.AUDITOR: _("sees and exports everything, reads the audit trail, changes nothing"),
}


def roles_with(permission: Permission) -> list[Role]:
    """The roles that include a permission."""
    return [role for role, permissions in PERMISSIONS.items() if permission in permissions]
