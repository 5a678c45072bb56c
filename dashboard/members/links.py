"""One-time links: the user of an account opens one and sets a password.

A link is valid once, for `LIFETIME`, and until the password or the superuser status of its account
changes or the account is deactivated. Only a digest is stored.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import replace
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from dashboard.accounts.models import Session, SignInLink, User
from dashboard.audit.trail import Action, Actor, record

from .recording import acting

LIFETIME = timedelta(days=3)
_SECRET_BYTES = 32
_PATTERN = re.compile(r"([0-9]{1,18})-([A-Za-z0-9_-]{43})", re.ASCII)


class LinkInvalid(Exception):
    """The link is unknown, used, replaced, expired, or its account has changed."""


def create_link(user: User, actor: Actor) -> tuple[SignInLink, str]:
    """Create the link of an account; an earlier one is no longer valid.

    Args:
        user: the account, as stored.
        actor: who creates it. The caller checks whether they may.

    Returns:
        The stored link, and the text of the token in its URL, which is not stored.
    """
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    now = timezone.now()
    with transaction.atomic():
        link, _made = SignInLink.objects.update_or_create(
            user=user,
            defaults={
                "digest": _digest(user, secret),
                "created_at": now,
                "expires_at": now + LIFETIME,
            },
        )
        expires = {"expires_at": link.expires_at}
        record(Action.SIGN_IN_LINK_CREATED, actor=actor, target=user, after=expires)
    return link, f"{user.pk}-{secret}"


def find_user(token: str) -> User:
    """Return the account of a link, without using the link up.

    Raises:
        LinkInvalid: see there.
    """
    return _find(token).user


def redeem(token: str, password: str, actor: Actor) -> User:
    """Use a link up and set the password of its account; all its sessions end.

    Args:
        token: as in the link.
        password: already validated.
        actor: the visitor; the event names the account.

    Raises:
        LinkInvalid: nothing was changed.
    """
    with transaction.atomic():
        link = _find(token, lock=True)
        # of two requests at once, one deletes the row
        used, _rows = SignInLink.objects.filter(pk=link.pk, digest=link.digest).delete()
        if not used:
            raise LinkInvalid
        user = link.user
        Session.objects.filter(user=user).delete()
        user.set_password(password)
        owner = replace(actor, name=user.get_username(), user=user)
        with acting(owner, details={"by": "one-time link"}):
            user.save(update_fields=["password"])
    return user


def _find(token: str, *, lock: bool = False) -> SignInLink:
    """Return the valid link of a token; `lock` keeps it and its account as they are."""
    match = _PATTERN.fullmatch(token)
    if match is None:
        raise LinkInvalid
    links = SignInLink.objects.select_related("user")
    links = links.select_for_update() if lock else links
    link = links.filter(pk=int(match[1])).first()
    if link is None or not hmac.compare_digest(link.digest, _digest(link.user, match[2])):
        raise LinkInvalid
    # an expiry further away than a link lasts: the clock was set back
    left = link.expires_at - timezone.now()
    if not timedelta() < left <= LIFETIME or not link.user.is_active:
        raise LinkInvalid
    return link


def _digest(user: User, secret: str) -> str:
    """Return the digest of a secret and of the state of the account for which it was made."""
    state = f"{secret}\n{user.password}\n{user.is_superuser}"
    return hashlib.sha256(state.encode()).hexdigest()
