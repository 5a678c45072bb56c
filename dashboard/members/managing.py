"""Managing accounts, groups and their members.

Each function makes its change in one transaction with its events, which `recording` writes. The
caller checks that the actor may manage accounts (`members` for all projects); the rules here are
those that depend on the account.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from dashboard.accounts.models import Session, SignInLink, User
from dashboard.audit.trail import Actor

from .granting import keeping_a_grantor
from .links import create_link
from .recording import acting


class NotChanged(Exception):
    """A rule forbids the change; the message says why."""


# --- accounts


def create_account(name: str, password: str | None, actor: Actor) -> User:
    """Create an account without roles.

    Args:
        name: a valid user name.
        password: already validated; None: the account gets one by a one-time link.
        actor: who creates it.

    Raises:
        NotChanged: the name is taken, ignoring case.
    """
    with transaction.atomic():
        _require_free_name(name)
        with acting(actor):
            try:
                with transaction.atomic():
                    user: User = User.objects.create_user(name, password=password)
            except IntegrityError as error:
                raise NotChanged(_name_taken(name)) from error
    return user


def rename_account(user: User, name: str, actor: Actor) -> None:
    """Change the user name. Runs and events keep the name they were made under.

    Raises:
        NotChanged: the name is taken, ignoring case, or the actor may not change this account.
    """
    with _changing(user, actor) as fresh:
        _require_free_name(name, fresh)
        fresh.username = name
        fresh.save(update_fields=["username"])


def deactivate_account(user: User, actor: Actor) -> None:
    """Deactivate an account: its sessions end for good, its tokens and its link stop working.

    Raises:
        NotChanged: it is the actor's own account, or they may not change it.
        LastGrantor: nobody could grant roles for all projects afterwards.
    """
    _require_other(user, actor)
    with keeping_a_grantor(), _changing(user, actor) as fresh:
        fresh.is_active = False
        fresh.save(update_fields=["is_active"])


def activate_account(user: User, actor: Actor) -> None:
    """Activate an account. It has the roles that it had, and has to sign in again.

    Raises:
        NotChanged: the actor may not change this account.
    """
    with _changing(user, actor) as fresh:
        fresh.is_active = True
        fresh.save(update_fields=["is_active"])


def delete_account(user: User, actor: Actor) -> None:
    """Delete an account with its roles, memberships, tokens, factors and sessions.

    Runs and events keep its name.

    Raises:
        NotChanged: it is the actor's own account, or they may not change it.
        LastGrantor: nobody could grant roles for all projects afterwards.
    """
    _require_other(user, actor)
    with keeping_a_grantor(), _changing(user, actor) as fresh:
        fresh.delete()


def set_superuser(user: User, superuser: bool, actor: Actor) -> None:
    """Make an account a superuser, or an ordinary account.

    Raises:
        NotChanged: the actor is no superuser, or it is their own account.
        LastGrantor: nobody could grant roles for all projects afterwards.
    """
    _require_other(user, actor)
    _require_superuser(actor)
    with keeping_a_grantor(), _changing(user, actor) as fresh:
        fresh.is_superuser = superuser
        fresh.save(update_fields=["is_superuser"])


def set_password(user: User, password: str, actor: Actor) -> None:
    """Set the password of somebody else; all sessions of the account end.

    Args:
        user: the account.
        password: already validated.
        actor: who sets it.

    Raises:
        NotChanged: it is the actor's own account, or they may not change it.
    """
    _require_other(user, actor)
    with _changing(user, actor) as fresh:
        Session.objects.filter(user=fresh).delete()
        fresh.set_password(password)
        fresh.save(update_fields=["password"])


def send_link(user: User, actor: Actor) -> tuple[SignInLink, str]:
    """Create a one-time link for somebody else, with which they set their password.

    Returns:
        As `links.create_link`.

    Raises:
        NotChanged: it is the actor's own account, they may not change it, or it is deactivated.
    """
    _require_other(user, actor)
    with _changing(user, actor) as fresh:
        if not fresh.is_active:
            raise NotChanged(_("The account is deactivated."))
        return create_link(fresh, actor)


def may_change(actor: User, user: User) -> bool:
    """Return whether a manager of accounts may change this one: superusers change superusers."""
    return actor.is_superuser or not user.is_superuser


@contextmanager
def _changing(user: User, actor: Actor) -> Iterator[User]:
    """Yield the account as it is stored, locked, in a transaction whose changes are the actor's."""
    with transaction.atomic(), acting(actor):
        fresh = User.objects.select_for_update(no_key=True).filter(pk=user.pk).first()
        if fresh is None:
            raise NotChanged(_("The account was deleted meanwhile."))
        if actor.user is not None and not may_change(actor.user, fresh):
            raise NotChanged(_("Only a superuser can change the account of a superuser."))
        yield fresh


def _require_other(user: User, actor: Actor) -> None:
    if actor.user is not None and actor.user.pk == user.pk:
        raise NotChanged(_("This is your own account. Another admin can do this."))


def _require_superuser(actor: Actor) -> None:
    if actor.user is not None and not actor.user.is_superuser:
        raise NotChanged(_("Only a superuser can make or unmake superusers."))


def _require_free_name(name: str, user: User | None = None) -> None:
    """Refuse a name that differs from another one by case only: people would confuse them."""
    others = User.objects.exclude(pk=user.pk) if user is not None else User.objects.all()
    if others.filter(username__iexact=name).exists():
        raise NotChanged(_name_taken(name))


def _name_taken(name: str) -> str:
    return _("There is an account “%(name)s” already.") % {"name": name}


# --- groups


def create_group(name: str, actor: Actor) -> Group:
    """Create a group without members and roles.

    Raises:
        NotChanged: the name is taken.
    """
    with acting(actor):
        try:
            with transaction.atomic():
                return Group.objects.create(name=name)
        except IntegrityError as error:
            raise NotChanged(_group_taken(name)) from error


def rename_group(group: Group, name: str, actor: Actor) -> None:
    """Change the name of a group.

    Raises:
        NotChanged: the name is taken.
    """
    with acting(actor):
        group.name = name
        try:
            with transaction.atomic():
                group.save(update_fields=["name"])
        except IntegrityError as error:
            raise NotChanged(_group_taken(name)) from error


def delete_group(group: Group, actor: Actor) -> None:
    """Delete a group with its roles; its members lose them with their next request.

    Raises:
        LastGrantor: nobody could grant roles for all projects afterwards.
    """
    with keeping_a_grantor(), acting(actor):
        Group.objects.filter(pk=group.pk).delete()


def add_member(group: Group, user: User, actor: Actor) -> None:
    """Add an account to a group; it has the group's roles from its next request on."""
    with acting(actor):
        group.user_set.add(user)


def remove_member(group: Group, user: User, actor: Actor) -> None:
    """Remove an account from a group.

    Raises:
        LastGrantor: nobody could grant roles for all projects afterwards.
    """
    with keeping_a_grantor(), acting(actor):
        group.user_set.remove(user)


def _group_taken(name: str) -> str:
    return _("There is a group “%(name)s” already.") % {"name": name}
