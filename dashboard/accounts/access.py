"""Access decisions: the only place that decides who may do what.

Querysets call `visible_q` (as `visible_to(user)`). Views call `require` before an action, and `may`
before they offer one. Every decision follows from the granted roles.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db.models import F, Manager, Model, Q, QuerySet
from django.http import Http404, HttpRequest
from django.utils import translation
from django.utils.translation import gettext as _

from .models import Grant, User
from .roles import PERMISSION_LABELS, PERMISSIONS, Permission, Role, roles_with

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser

__all__ = [
    "PERMISSIONS",
    "AuthenticatedHttpRequest",
    "Permission",
    "Role",
    "RoleRequired",
    "all_projects",
    "grantors",
    "has_access",
    "may",
    "may_somewhere",
    "permitted_q",
    "projects_with",
    "require",
    "require_somewhere",
    "restrict_permissions",
    "visible_q",
]

MAX_NAMES = 5


class AuthenticatedHttpRequest(HttpRequest):
    """A request of a signed-in user, as LoginRequiredMiddleware ensures."""

    user: User


class RoleRequired(PermissionDenied):
    """A user may see an object, but lacks the permission for this action.

    The message is stored in the audit trail, so it names no people. `grantors` names them on the
    page.

    Attributes:
        permission: the missing permission.
        project: the project; None if it is needed for all projects, or for any (`somewhere`).
    """

    def __init__(
        self, permission: Permission, project: Model | None, *, somewhere: bool = False
    ) -> None:
        self.permission = permission
        self.project = project
        self._somewhere = somewhere
        with translation.override("en"):
            super().__init__(self.message)

    @property
    def message(self) -> str:
        """The message in the active language; `str()` returns it in English, for records."""
        where = _("a project") if self._somewhere else _("all projects")
        return _("%(doing)s requires the role %(roles)s for %(project)s.") % {
            "doing": PERMISSION_LABELS[self.permission],
            "roles": _(" or ").join(str(role.label) for role in roles_with(self.permission)),
            "project": self.project or where,
        }

    @property
    def grantors(self) -> list[str]:
        """Names of some users who can grant the missing role."""
        return grantors(self.project)


def _permissions_of(user: User | AnonymousUser) -> Mapping[int | None, frozenset[Permission]]:
    return user.held_permissions if user.is_authenticated else {}


def restrict_permissions(
    user: User, permissions: Collection[Permission], projects: Collection[int] | None = None
) -> None:
    """Restrict a user to these permissions, on this object only.

    Args:
        user: the user of this request; other requests have their own object.
        permissions: what the scope of a token allows.
        projects: primary keys of the projects that a token is limited to; None: not limited.
    """
    kept, held = frozenset(permissions), user.held_permissions
    if projects is not None:
        everywhere = held.get(None, frozenset())
        held = {project: everywhere | held.get(project, frozenset()) for project in projects}
    user.__dict__["held_permissions"] = {project: some & kept for project, some in held.items()}


def may(user: User | AnonymousUser, permission: Permission, project: Model | None = None) -> bool:
    """Return whether a user has a permission.

    Args:
        user: whose grants are read once and cached on this object.
        permission: the permission to look for.
        project: a project; None for all projects.
    """
    held = _permissions_of(user)
    if permission in held.get(None, ()):
        return True
    return project is not None and permission in held.get(project.pk, ())


def may_somewhere(user: User | AnonymousUser, permission: Permission) -> bool:
    """Return whether a user has a permission in at least one project, or in all."""
    return any(permission in permissions for permissions in _permissions_of(user).values())


def has_access(user: User | AnonymousUser) -> bool:
    """Return whether a user has any role; without one, every page is empty."""
    return may_somewhere(user, Permission.SEE)


def require(
    user: User | AnonymousUser, permission: Permission, project: Model | None = None
) -> None:
    """Raise an error unless a user has a permission.

    Args:
        user: the user to check.
        permission: the required permission.
        project: a project; None for all projects.

    Raises:
        Http404: the user may not see this project.
        RoleRequired: the user may see it, but lacks the permission.
    """
    if may(user, permission, project):
        return
    if project is not None and not may(user, Permission.SEE, project):
        raise Http404
    raise RoleRequired(permission, project)


def require_somewhere(user: User | AnonymousUser, permission: Permission) -> None:
    """Raise an error unless a user has a permission in some project.

    For pages that show rows of several projects.

    Raises:
        RoleRequired: the user has it in no project.
    """
    if not may_somewhere(user, permission):
        raise RoleRequired(permission, None, somewhere=True)


def permitted_q(user: User | AnonymousUser, permission: Permission, path: str = "project") -> Q:
    """Return a filter for rows in whose project a user has a permission.

    Args:
        user: the user.
        permission: the required permission.
        path: the lookup from a row to its project or to the key of the project; "" for projects
            themselves.
    """
    held = _permissions_of(user)
    if permission in held.get(None, ()):
        return Q()
    keys = sorted(key for key, held_there in held.items() if key and permission in held_there)
    return Q(**{f"{path or 'pk'}__in": keys})


def visible_q(user: User | AnonymousUser, path: str = "project") -> Q:
    """Return a filter for rows that a user may see; `path` is as in `permitted_q`."""
    return permitted_q(user, Permission.SEE, path)


def all_projects() -> QuerySet[Any]:
    """Return all projects, whoever asks. The model is settings.PROJECT_MODEL."""
    manager: Manager[Any] = apps.get_model(settings.PROJECT_MODEL)._default_manager
    return manager.all()


def projects_with(user: User | AnonymousUser, permission: Permission) -> QuerySet[Any]:
    """Return the projects in which a user has a permission, for forms that offer a choice."""
    return all_projects().filter(permitted_q(user, permission, ""))


def grantors(project: Model | None = None, most: int = MAX_NAMES) -> list[str]:
    """Return names of users who can grant a role.

    Args:
        project: a project; None for all projects.
        most: maximum number of names.

    Returns:
        User names, most recent sign-in first: unused accounts are of no help.
    """
    scope = Q(project=None) | Q(project=project) if project is not None else Q(project=None)
    granted = Grant.objects.filter(scope, role__in=roles_with(Permission.MEMBERS))
    people = User.objects.filter(
        Q(is_superuser=True)
        | Q(pk__in=granted.filter(user__isnull=False).values("user"))
        | Q(groups__in=granted.filter(group__isnull=False).values("group")),
        is_active=True,
    ).distinct()
    newest_first = people.order_by(F("last_login").desc(nulls_last=True), "username")
    return list(newest_first.values_list("username", flat=True)[:most])
