"""Every change of an account, a group, a membership or a grant is an event of the audit trail.

The events follow from the rows before and after, whoever changes them: a page, a command, a sign-in
or a shell. docs/audit.md says which ways of changing rows are not noticed. No event contains a
password, its hash, or a name of a person outside the target, which can be masked.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from allauth.core import context
from django.contrib.auth.hashers import is_password_usable
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import Model
from django.db.models.signals import (
    m2m_changed,
    post_delete,
    post_save,
    pre_delete,
    pre_save,
)

from dashboard.accounts.changes import rows_changing
from dashboard.accounts.models import Grant, User
from dashboard.audit.trail import Action, Actor, record

Membership = User.groups.through
Row = Mapping[str, Any]

FLAGS = (
    # column, name in events, action if it became true, action if it became false
    ("is_active", "active", Action.ACCOUNT_ACTIVATED, Action.ACCOUNT_DEACTIVATED),
    ("is_superuser", "superuser", Action.SUPERUSER_ADDED, Action.SUPERUSER_REMOVED),
)
NAMES = ("username", "first_name", "last_name", "email")


@dataclass(frozen=True, slots=True)
class _Circumstances:
    actor: Actor | None = None
    details: Mapping[str, Any] | None = None
    created_as: Action = Action.ACCOUNT_CREATED
    paused: bool = False


_USUAL = _Circumstances()
_current: ContextVar[_Circumstances] = ContextVar("circumstances", default=_USUAL)


@contextmanager
def acting(
    actor: Actor,
    *,
    details: Mapping[str, Any] | None = None,
    created_as: Action = Action.ACCOUNT_CREATED,
) -> Iterator[None]:
    """Attribute the changes within to an actor.

    Args:
        actor: who makes the changes. Without this context: the user of the request, or the user of
            the operating system.
        details: added to the events of accounts.
        created_as: the action of a new account's event.
    """
    token = _current.set(_Circumstances(actor, details, created_as))
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def not_recorded() -> Iterator[None]:
    """Record no changes within: they are those of a dump, which brings its own audit trail."""
    token = _current.set(_Circumstances(paused=True))
    try:
        yield
    finally:
        _current.reset(token)


def command_line_actor() -> Actor:
    """Return the actor of a command: the user of the operating system."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        name = f"uid {os.getuid()}"
    return Actor.process(f"{name} (command line)")


def _actor() -> Actor:
    if (actor := _current.get().actor) is not None:
        return actor
    request = context.request
    return Actor.of(request) if request is not None else command_line_actor()


def connect() -> None:
    """Listen to the changes."""
    rows_changing.connect(_accounts_changing, sender=User, dispatch_uid="accounts")
    rows_changing.connect(_grants_changing, sender=Grant, dispatch_uid="grants")
    pre_delete.connect(_account_going, sender=User, dispatch_uid="account going")
    post_delete.connect(_account_gone, sender=User, dispatch_uid="account gone")
    pre_delete.connect(_grant_going, sender=Grant, dispatch_uid="grant going")
    post_delete.connect(_grant_gone, sender=Grant, dispatch_uid="grant gone")
    pre_save.connect(_group_changing, sender=Group, dispatch_uid="group changing")
    post_save.connect(_group_changed, sender=Group, dispatch_uid="group changed")
    pre_delete.connect(_group_going, sender=Group, dispatch_uid="group going")
    post_delete.connect(_group_gone, sender=Group, dispatch_uid="group gone")
    m2m_changed.connect(_members_changing, sender=Membership, dispatch_uid="members")
    # Django commits a group before it says that it was saved; its event belongs to the same
    # transaction. Accounts and grants see to it themselves.
    Group.save = transaction.atomic(Group.save)  # type: ignore[method-assign]


# --- accounts


def _accounts_changing(keys: tuple[Any, ...], **kwargs: Any) -> Callable[[list[Any]], None]:
    before = {} if _current.get().paused else _accounts(keys)

    def finish(changed: list[Any]) -> None:
        if not _current.get().paused:
            for row in _accounts(changed).values():
                _record_account(before.get(row["pk"]), row)

    return finish


def _accounts(keys: Any) -> dict[Any, Row]:
    if not keys:
        return {}
    # locked, so that of two changes at once each is compared with what it replaced
    rows = User.objects.select_for_update(no_key=True).filter(pk__in=keys).order_by("pk")
    columns = ("pk", *NAMES, *(column for column, *_ in FLAGS), "password")
    return {row["pk"]: row for row in rows.values(*columns)}


def _account_facts(row: Row) -> dict[str, Any]:
    facts = {name: row[column] for column, name, *_ in FLAGS}
    return facts | {"password_type": _password_type(row)}


def _password_type(row: Row) -> str:
    """Return whether there is a password. The name of the value ends in “_type”: no secret."""
    return "local" if is_password_usable(row["password"]) else "none"


def _record_account(before: Row | None, after: Row) -> None:
    user = User(pk=after["pk"], username=after["username"])
    now = _current.get()
    shared: dict[str, Any] = {"actor": _actor(), "target": user, "details": now.details}
    if before is None:
        record(now.created_as, after=_account_facts(after), **shared)
        return
    if renamed := [name for name in NAMES if before[name] != after[name]]:
        # names of people belong where they can be masked: both are in the label of the target
        label = after["username"]
        if "username" in renamed:
            label = f"{before['username']} → {after['username']}"
        details = {**(now.details or {}), "changed": renamed}
        record(Action.ACCOUNT_RENAMED, target_label=label, **{**shared, "details": details})
    for column, name, became_true, became_false in FLAGS:
        if before[column] != after[column]:
            record(
                became_true if after[column] else became_false,
                before={name: before[column]},
                after={name: after[column]},
                **shared,
            )
    if before["password"] != after["password"]:
        actor = shared["actor"]
        own = actor.user is not None and actor.user.pk == user.pk
        record(
            Action.PASSWORD_CHANGED if own else Action.PASSWORD_SET,
            before={"password_type": _password_type(before)},
            after={"password_type": _password_type(after)},
            **shared,
        )


def _account_going(instance: User, **kwargs: Any) -> None:
    """Remember what is deleted together with an account."""
    if _current.get().paused:
        return
    grants = list(instance.grants.select_related("user", "group", "project"))
    groups = list(instance.groups.order_by("name"))
    row = _accounts([instance.pk]).get(instance.pk)
    instance._going = (row, groups, grants)  # type: ignore[attr-defined]


def _account_gone(instance: User, **kwargs: Any) -> None:
    row, groups, grants = instance.__dict__.pop("_going", (None, [], []))
    if row is None:
        return
    for grant in grants:
        _record_grant(Action.GRANT_REMOVED, grant)
    for group in groups:
        _record_member(Action.MEMBER_REMOVED, instance, group)
    had = {"groups": [group.name for group in groups], "roles": [_role(each) for each in grants]}
    record(
        Action.ACCOUNT_DELETED,
        actor=_actor(),
        target=instance,
        before=_account_facts(row) | had,
        details=_current.get().details,
    )


# --- grants


def _grants_changing(keys: tuple[Any, ...], **kwargs: Any) -> Callable[[list[Any]], None]:
    before = {} if _current.get().paused else _grants(keys)

    def finish(changed: list[Any]) -> None:
        if _current.get().paused:
            return
        for key, grant in _grants(changed).items():
            old = before.get(key)
            if old is not None and _subject_and_role(old) == _subject_and_role(grant):
                continue
            if old is not None:
                _record_grant(Action.GRANT_REMOVED, old)
            _record_grant(Action.GRANT_ADDED, grant)

    return finish


def _grants(keys: Any) -> dict[Any, Grant]:
    if not keys:
        return {}
    found = Grant.objects.select_related("user", "group", "project").filter(pk__in=keys)
    return {grant.pk: grant for grant in found.order_by("pk")}


def _subject_and_role(grant: Grant) -> tuple[Any, ...]:
    return grant.user_id, grant.group_id, grant.role, grant.project_id


def _grant_going(instance: Grant, origin: Any = None, **kwargs: Any) -> None:
    """Remember a grant with its project, which may be deleted before it.

    Grants that go with their account or group are recorded together with that.
    """
    if not _current.get().paused and _model_of(origin) not in (User, Group):
        instance._going = _grants([instance.pk]).get(instance.pk)  # type: ignore[attr-defined]


def _grant_gone(instance: Grant, **kwargs: Any) -> None:
    if (grant := instance.__dict__.pop("_going", None)) is not None:
        _record_grant(Action.GRANT_REMOVED, grant)


def _model_of(origin: Any) -> type[Model] | None:
    """Return the model of what was deleted: an instance or a queryset."""
    return type(origin) if isinstance(origin, Model) else getattr(origin, "model", None)


def _role(grant: Grant) -> str:
    return f"{grant.role}: {grant.project or 'all projects'}"


def _record_grant(action: Action, grant: Grant) -> None:
    facts = {"role": grant.role, "project": str(grant.project or "all projects")}
    record(
        action,
        actor=_actor(),
        target=grant.user or grant.group,
        project=grant.project,
        before=facts if action is Action.GRANT_REMOVED else None,
        after=facts if action is Action.GRANT_ADDED else None,
    )


# --- groups and their members


def _group_changing(instance: Group, raw: bool = False, **kwargs: Any) -> None:
    if raw or _current.get().paused:
        return
    names = Group.objects.select_for_update().filter(pk=instance.pk).values_list("name", flat=True)
    instance._name_before = names.first()  # type: ignore[attr-defined]


def _group_changed(instance: Group, created: bool, raw: bool = False, **kwargs: Any) -> None:
    if raw or _current.get().paused:
        return
    before = instance.__dict__.pop("_name_before", None)
    if created:
        action, old = Action.GROUP_CREATED, None
    elif before != instance.name:
        action, old = Action.GROUP_RENAMED, {"name": before}
    else:
        return
    record(action, actor=_actor(), target=instance, before=old, after={"name": instance.name})


def _group_going(instance: Group, **kwargs: Any) -> None:
    """Remember what is deleted together with a group."""
    if _current.get().paused:
        return
    grants = list(instance.grants.select_related("user", "group", "project"))
    members = list(User.objects.filter(groups=instance).order_by("pk"))
    instance._going = (members, grants)  # type: ignore[attr-defined]


def _group_gone(instance: Group, **kwargs: Any) -> None:
    if "_going" not in instance.__dict__:
        return
    members, grants = instance.__dict__.pop("_going")
    for grant in grants:
        _record_grant(Action.GRANT_REMOVED, grant)
    for user in members:
        _record_member(Action.MEMBER_REMOVED, user, instance)
    record(
        Action.GROUP_DELETED,
        actor=_actor(),
        target=instance,
        before={
            "name": instance.name,
            "member_count": len(members),
            "roles": [_role(grant) for grant in grants],
        },
    )


def _members_changing(
    instance: User | Group, action: str, pk_set: set[Any] | None, **kwargs: Any
) -> None:
    """Record who joined or left a group. Django tells before a removal, and after it."""
    if _current.get().paused:
        return
    # the field of the other side
    side = {"user": instance} if isinstance(instance, User) else {"group": instance}
    found = Membership.objects.filter(**side).select_related("user", "group").order_by("pk")
    if pk_set is not None:
        found = found.filter(**{"group__in" if "user" in side else "user__in": pk_set})
    if action in ("pre_remove", "pre_clear"):
        instance._leaving = list(found)  # type: ignore[union-attr]
    elif action in ("post_remove", "post_clear"):
        for each in instance.__dict__.pop("_leaving", []):
            _record_member(Action.MEMBER_REMOVED, each.user, each.group)
    elif action == "post_add":
        for each in found:
            _record_member(Action.MEMBER_ADDED, each.user, each.group)


def _record_member(action: Action, user: User, group: Group) -> None:
    facts = {"group": group.name, "group_id": group.pk}
    record(
        action,
        actor=_actor(),
        target=user,
        before=facts if action is Action.MEMBER_REMOVED else None,
        after=facts if action is Action.MEMBER_ADDED else None,
    )
