"""Who may do what, decided in one place.

Querysets ask `visible_q` (as `visible_to(user)`), views `require` before they do something, and
`may` before they offer it. Everything else follows from the roles that were granted.
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
    """Somebody sees something and may not do this with it.

    The text names no people, since it is kept with the refusal; `grantors` names them to whoever
    was refused.

    Attributes:
        permission: what is missing.
        project: where; None where it is needed for all projects, or for any (`somewhere`).
    """

    def __init__(
        self, permission: Permission, project: Model | None, *, somewhere: bool = False
    ) -> None:
        self.permission = permission
        self.project = project
        self._somewhere = somewhere
        with translation.override("en"):
            super().__init__(self.told)

    @property
    def told(self) -> str:
        """The text in the reader's language; `str` gives it in English, for the record."""
        where = _("a project") if self._somewhere else _("all projects")
        return _("%(doing)s needs the role %(roles)s for %(project)s.") % {
            "doing": PERMISSION_LABELS[self.permission],
            "roles": _(" or ").join(str(role.label) for role in roles_with(self.permission)),
            "project": self.project or where,
        }

    @property
    def grantors(self) -> list[str]:
        """Some of those who can grant what is missing."""
        return grantors(self.project)


def _permissions_of(user: User | AnonymousUser) -> Mapping[int | None, frozenset[Permission]]:
    return user.held_permissions if user.is_authenticated else {}


def restrict_permissions(user: User, permissions: Collection[Permission]) -> None:
    """Leave a user these permissions at most, for as long as this object lives.

    Args:
        user: as this request knows them; other requests have objects of their own.
        permissions: what a token's scope allows.
    """
    kept = frozenset(permissions)
    user.__dict__["held_permissions"] = {
        project: held & kept for project, held in user.held_permissions.items()
    }


def may(user: User | AnonymousUser, permission: Permission, project: Model | None = None) -> bool:
    """Whether a user may do something.

    Args:
        user: who wants to. Their grants are read once and kept on this object.
        permission: what.
        project: where; None for all projects.
    """
    held = _permissions_of(user)
    if permission in held.get(None, ()):
        return True
    return project is not None and permission in held.get(project.pk, ())


def may_somewhere(user: User | AnonymousUser, permission: Permission) -> bool:
    """Whether a user may do something in at least one project, or in all.

    Args:
        user: who wants to.
        permission: what.
    """
    return any(permission in permissions for permissions in _permissions_of(user).values())


def has_access(user: User | AnonymousUser) -> bool:
    """Whether a user has any role at all; without one, every page is empty."""
    return may_somewhere(user, Permission.SEE)


def require(
    user: User | AnonymousUser, permission: Permission, project: Model | None = None
) -> None:
    """Refuse what a user may not do.

    Args:
        user: who wants to.
        permission: what.
        project: where; None for all projects.

    Raises:
        Http404: the user may not even see this project.
        RoleRequired: the user may see it and not do this; the text says which role is missing.
    """
    if may(user, permission, project):
        return
    if project is not None and not may(user, Permission.SEE, project):
        raise Http404
    raise RoleRequired(permission, project)


def require_somewhere(user: User | AnonymousUser, permission: Permission) -> None:
    """Refuse what a user may do in no project: for pages that show several projects' rows.

    Args:
        user: who wants to.
        permission: what.

    Raises:
        RoleRequired: nowhere; the text says which role is missing.
    """
    if not may_somewhere(user, permission):
        raise RoleRequired(permission, None, somewhere=True)


def permitted_q(user: User | AnonymousUser, permission: Permission, path: str = "project") -> Q:
    """The rows with whose project a user may do something.

    Args:
        user: who.
        permission: what.
        path: the lookup that leads from a row to its project or to the project's key; "" for
            projects themselves.
    """
    held = _permissions_of(user)
    if permission in held.get(None, ()):
        return Q()
    keys = sorted(key for key, held_there in held.items() if key and permission in held_there)
    return Q(**{f"{path or 'pk'}__in": keys})


def visible_q(user: User | AnonymousUser, path: str = "project") -> Q:
    """The rows that a user may see.

    Args:
        user: who looks.
        path: as `permitted_q` has it.
    """
    return permitted_q(user, Permission.SEE, path)


def all_projects() -> QuerySet[Any]:
    """Every project, whoever asks. The model is settings.PROJECT_MODEL."""
    manager: Manager[Any] = apps.get_model(settings.PROJECT_MODEL)._default_manager
    return manager.all()


def projects_with(user: User | AnonymousUser, permission: Permission) -> QuerySet[Any]:
    """The projects in which a user may do something, for pages that offer a choice.

    Args:
        user: who.
        permission: what.
    """
    return all_projects().filter(permitted_q(user, permission, ""))


def grantors(project: Model | None = None, most: int = MAX_NAMES) -> list[str]:
    """Names of people who can grant a role.

    Args:
        project: for this project; None for all projects.
        most: how many names at most.

    Returns:
        User names; those who have signed in lately come first, since an account that nobody uses
        answers no question.
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
