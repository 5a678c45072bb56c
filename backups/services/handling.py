"""Handle what needs attention: a cluster or a whole cause, for some time; and end that early."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from backups.choices import AttentionCause
from backups.lists.causes import with_cause
from backups.models import Cluster, Handling, Project
from dashboard.accounts.access import Permission, may, projects_with, require, require_somewhere
from dashboard.accounts.models import User
from dashboard.audit.trail import Action, Actor, record


class CannotHandle(Exception):
    """Nothing was handled or ended; the message says why."""


def handle_cluster(
    cluster: Cluster, cause: AttentionCause, reason: str, until: datetime | None, actor: Actor
) -> Handling:
    """Handle what a cluster needs, until its cause changes or the end comes.

    Args:
        cluster: with its project.
        cause: what the user saw.
        reason: free text.
        until: None: until the cause changes.
        actor: `actor.user` needs Permission.RUN in the project.

    Raises:
        RoleRequired: they lack it.
        CannotHandle: the cluster needs attention for another cause now, or for none.
    """
    require(_user(actor), Permission.RUN, cluster.project)
    watched = Cluster.objects.watched().filter(pk=cluster.pk)
    found = with_cause(watched, timezone.now()).values_list(F("attention_cause"), "verified_at")
    current, verified_at = found.first() or ("", None)
    if current != cause:
        words = AttentionCause(current).label if current else _("nothing")
        raise CannotHandle(_("The cluster needs attention for another cause now: %s.") % words)
    return _store(
        Handling(cluster=cluster, project=cluster.project, verified_at=verified_at),
        *(f"cluster:{cluster.pk}", cause, reason, until, actor),
    )


def handle_cause(
    cause: AttentionCause, project: Project | None, reason: str, until: datetime, actor: Actor
) -> list[Handling]:
    """Handle a cause: all clusters that need attention for it until the end comes, later ones too.

    Args:
        cause: which.
        project: None: each project in which the user may request backups, and all projects,
            future ones included, if they may everywhere.
        reason: free text.
        until: when it ends.
        actor: `actor.user` needs Permission.RUN in the project, or in some.

    Raises:
        RoleRequired: they lack it.
        CannotHandle: somebody else did so at the same moment.
    """
    user = _user(actor)
    if project is not None:
        require(user, Permission.RUN, project)
    else:
        require_somewhere(user, Permission.RUN)
    everywhere = project is None and not may(user, Permission.RUN)
    scopes = list(projects_with(user, Permission.RUN)) if everywhere else [project]
    with transaction.atomic():
        return [
            _store(
                Handling(project=each),
                *(f"cause:{cause}:{each.pk if each else ''}", cause, reason, until, actor),
            )
            for each in scopes
        ]


def _user(actor: Actor) -> User:
    if actor.user is None:
        raise ValueError("an account handles")
    return actor.user


def _store(
    handling: Handling,
    scope: str,
    cause: AttentionCause,
    reason: str,
    until: datetime | None,
    actor: Actor,
) -> Handling:
    """Store a handling in place of the one that its scope has."""
    now = timezone.now()
    handling.scope, handling.cause, handling.reason, handling.until = scope, cause, reason, until
    handling.made_at, handling.made_by_name = now, actor.name[:255]
    try:
        with transaction.atomic():
            open_now = Handling.objects.select_for_update().filter(scope=scope, ended_at=None)
            before = open_now.first()
            if before is not None:
                open_now.update(ended_at=now, ended_by_name=actor.name[:255], ended_why="Replaced.")
            handling.save(force_insert=True)
            _record(Action.NEED_HANDLED, handling, actor, before, handling, reason)
    except IntegrityError:
        raise CannotHandle(_("Somebody else handled this at the same moment.")) from None
    return handling


def end(handling: Handling, why: str, actor: Actor) -> None:
    """End a handling early, so that what it covers counts again.

    Args:
        handling: that holds.
        why: free text.
        actor: `actor.user` needs Permission.RUN in its project, or in all.

    Raises:
        RoleRequired: they lack it.
        CannotHandle: it has ended already.
    """
    require(_user(actor), Permission.RUN, handling.project)
    with transaction.atomic():
        now = timezone.now()
        still = Handling.objects.holding(now).filter(pk=handling.pk)
        if not still.update(ended_at=now, ended_by_name=actor.name[:255], ended_why=why[:500]):
            raise CannotHandle(_("It has ended already."))
        _record(Action.NEED_RETURNED, handling, actor, handling, None, why)


def _record(
    action: Action,
    handling: Handling,
    actor: Actor,
    before: Handling | None,
    after: Handling | None,
    reason: str,
) -> None:
    record(
        action,
        actor=actor,
        target=handling.cluster or handling,
        target_label=str(handling.cluster or handling.scope),
        project=handling.project,
        reason=reason,
        before=_values(before),
        after=_values(after),
        details={"scope": handling.scope},
    )


def _values(handling: Handling | None) -> dict[str, Any]:
    if handling is None:
        return {"handled": None}
    until = handling.until or "the cause changes"
    return {"handled": handling.cause, "until": until, "handled_because": handling.reason}
