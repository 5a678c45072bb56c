"""Roles and their permissions. docs/access.md has the same table."""

from __future__ import annotations

from enum import StrEnum

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class Role(TextChoices):
    """A role, for one project or for all. A user with several roles has the permissions of each."""

    VIEWER = "viewer", _("Viewer")
    OPERATOR = "operator", _("Operator")
    ADMIN = "admin", _("Admin")
    AUDITOR = "auditor", _("Auditor")


class Permission(StrEnum):
    """What a role can allow.

    SEE: view clusters, runs, the history and statistics.
    RUN: back up, cancel, retry, check a cluster, search the logs of a cluster.
    SETTLE: record how a run ended when the records of the cloud cannot tell.
    CONFIGURE: change clusters, connections, settings, objectives, schedules and channels.
    EXPORT: download the history.
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

# subjects of sentences such as "Exporting requires the role …"
PERMISSION_LABELS = {
    Permission.SEE: _("Viewing this"),
    Permission.RUN: _("Backing up, cancelling and checking"),
    Permission.SETTLE: _("Settling a run manually"),
    Permission.CONFIGURE: _("Changing clusters and settings"),
    Permission.EXPORT: _("Exporting"),
    Permission.AUDIT: _("Reading the audit trail and the retention policy"),
    Permission.MEMBERS: _("Granting roles"),
}

ROLE_DESCRIPTIONS = {
    Role.VIEWER: _("views clusters, runs and the history"),
    Role.OPERATOR: _("also backs up, cancels, retries and exports"),
    Role.ADMIN: _("also changes clusters, settings and members, and reads the audit trail"),
    Role.AUDITOR: _(
        "views and exports everything and reads the audit trail; cannot change anything"
    ),
}


def roles_with(permission: Permission) -> list[Role]:
    """Return the roles that include a permission."""
    return [role for role, permissions in PERMISSIONS.items() if permission in permissions]
