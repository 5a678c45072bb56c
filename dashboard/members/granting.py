"""Granting and withdrawing a role, each with its event in the audit trail."""

from __future__ import annotations

from typing import Any, cast

from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction
from django.db.models import Model, Q
from django.utils.translation import gettext as _

from dashboard.accounts.access import Permission, Role, all_projects, grantors
from dashboard.accounts.models import Grant, User
from dashboard.accounts.roles import roles_with
from dashboard.audit.trail import Action, Actor, record
from dashboard.db.concurrency import one_at_a_time


class AlreadyGranted(Exception):
    """The user or the group has this role there already."""


class LastGrantor(Exception):
    """Without this grant nobody could grant roles for all projects."""


def grant(
    subject: User | Group,
    role: Role,
    project: Model | None,
    actor: Actor,
    *,
    by_provider: bool = False,
) -> Grant:
    """Give a role.

    Args:
        subject: who gets it; the members of a group have it as long as they are in the group.
        role: which one.
        project: where; None for all projects, those to come too.
        actor: who gives it. Whether they may is for the caller to ask.
        by_provider: it follows from the groups of an OpenID Connect provider, and goes with them.

    Returns:
        The grant.

    Raises:
        AlreadyGranted: nothing was changed.
    """
    to = {"user": subject} if isinstance(subject, User) else {"group": subject}
    with transaction.atomic():
        try:
            with transaction.atomic():
                made = Grant.objects.create(
                    **to,
                    role=role,
                    project=cast(Any, project),
                    granted_by_name=actor.name[:255],
                    by_provider=by_provider,
                )
        except IntegrityError as error:
            raise AlreadyGranted(
                _("%(name)s has this role there already.") % {"name": _name_of(subject)}
            ) from error
        _record(Action.GRANT_ADDED, made, actor)
    return made


def withdraw(made: Grant, actor: Actor, *, allow_last: bool = False) -> bool:
    """Take a role away; it counts from the next request on.

    Args:
        made: the grant, with its user or group and its project.
        actor: who takes it away. Whether they may is for the caller to ask.
        allow_last: also where nobody could grant roles for all projects then.

    Returns:
        Whether it was still there.

    Raises:
        LastGrantor: nothing was changed.
    """
    with transaction.atomic():
        one_at_a_time("withdraw a role")  # two who withdraw the last two admins must not both pass
        gone, _rows = Grant.objects.filter(pk=made.pk).delete()
        if not gone:
            return False
        everywhere = made.project is None and made.role in roles_with(Permission.MEMBERS)
        if everywhere and not allow_last and not grantors(None, most=1):
            raise LastGrantor(
                _("Nobody else could grant roles for all projects: make another admin first.")
            )
        _record(Action.GRANT_REMOVED, made, actor)
    return True


def _record(action: Action, made: Grant, actor: Actor) -> None:
    facts = {"role": made.role, "project": str(made.project or "all projects")}
    record(
        action,
        actor=actor,
        target=made.user or made.group,
        project=made.project,
        before=facts if action is Action.GRANT_REMOVED else None,
        after=facts if action is Action.GRANT_ADDED else None,
    )


def _name_of(subject: User | Group) -> str:
    return subject.get_username() if isinstance(subject, User) else subject.name


class ProjectNotFound(Exception):
    """No project is meant, or more than one could be."""


def find_project(text: str) -> Model:
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
    found = list(all_projects().filter(named)[:10])
    if not found:
        raise ProjectNotFound(f"no project '{text}' is known")
    if len(found) > 1:
        ids = ", ".join(f"{each.project_id} ({each})" for each in found)
        raise ProjectNotFound(f"'{text}' is not unique, give CLOUD/REGION/NAME: {ids}")
    project: Model = found[0]
    return project
