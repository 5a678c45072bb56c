"""Channels and rules: made, changed and deleted, with an audit event that has no secrets."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from backups.choices import ChannelKind
from backups.models import Channel, Delivery, Project, Rule, Schedule
from dashboard.audit.trail import Action, Actor, record
from dashboard.encryption import Undecipherable, decrypt, encrypt, reencrypt

from .delivering import send_test
from .outbox import forget_rules
from .queueing import drop_unsent
from .senders import SECRET_PREFIX, is_webhook, shown_url


class NameTaken(ValueError):
    """Another channel has this name; the message says so."""

    def __init__(self) -> None:
        super().__init__(_("Another channel has this name."))


def add_channel(name: str, url: str, *, actor: Actor) -> tuple[Channel, str]:
    """Add a channel, switched on.

    Args:
        name: unique.
        url: checked by `senders.url_problem`.
        actor: who adds it.

    Returns:
        The channel, and the signing secret of a webhook, which is shown once; "" for Apprise.

    Raises:
        NameTaken: there is such a channel.
    """
    secret = new_secret() if is_webhook(url) else ""
    channel = Channel(
        name=name, created_by=actor.user, created_by_name=actor.name, **_address(url, secret)
    )
    try:
        with transaction.atomic():
            channel.save()
            _record(Action.CHANNEL_ADDED, channel, actor, after=_facts(channel))
    except IntegrityError:
        raise NameTaken from None
    return channel, secret


def change_channel(
    channel: Channel,
    *,
    actor: Actor,
    name: str,
    enabled: bool,
    url: str = "",
    renew_secret: bool = False,
) -> str:
    """Change a channel.

    Args:
        channel: as loaded; on success it has the changes.
        actor: who changes it.
        name: unique.
        enabled: whether it is sent to; messages wait while it is not.
        url: the new address; "" keeps it, and the stored one is no change.
        renew_secret: make a new signing secret for a webhook.

    Returns:
        The new signing secret; "" if there is none.

    Raises:
        NameTaken: another channel has this name.
        Undecipherable: the secret is to be renewed, and no key opens the address.
    """
    secret = ""
    columns = ["name", "enabled"]
    before = _facts(channel)
    if url or renew_secret:
        try:
            old = _stored(channel)
        except Undecipherable:
            if not url:
                raise
            old = {}  # its key is lost, and the address was entered again
        if url == old.get("url"):
            url = ""  # as it is
        target = url or old["url"]
        kept = old.get("secret", "")
        if is_webhook(target) and (renew_secret or not kept):
            secret = kept = new_secret()
        if url or secret:
            for column, value in _address(target, kept if is_webhook(target) else "").items():
                setattr(channel, column, value)
                columns.append(column)
    channel.name, channel.enabled = name, enabled
    after = _facts(channel)
    details = {"address": "changed"} if url else {}
    if secret:
        details["signing_secret"] = "renewed"  # noqa: S105 - says that it was, not what it is
    if before == after and not details:
        return ""
    try:
        with transaction.atomic():
            # only these: an address that `rotate_key` has encrypted meanwhile stays
            channel.save(update_fields=columns)
            _record(
                Action.CHANNEL_CHANGED, channel, actor, before=before, after=after, details=details
            )
    except IntegrityError:
        raise NameTaken from None
    forget_rules()
    return secret


def delete_channel(channel: Channel, *, actor: Actor) -> int:
    """Delete a channel and its rules; what waits for it is cancelled. Returns how many waited."""
    label, key = str(channel), channel.pk
    before = _facts(channel)
    with transaction.atomic():
        cancelled = drop_unsent("the channel was deleted", channel=channel)
        channel.delete()
        channel.pk = key  # `delete` clears it, and the event names it
        _record(
            Action.CHANNEL_REMOVED,
            channel,
            actor,
            target_label=label,
            before=before,
            details={"cancelled": cancelled},
        )
    forget_rules()
    return cancelled


def test_channel(channel: Channel, *, actor: Actor) -> Delivery:
    """Send a test message now, and return the delivery with its result."""
    delivery = send_test(channel)
    _record(
        Action.CHANNEL_TESTED,
        channel,
        actor,
        details={"message": delivery.message_id, "result": delivery.error or "sent"},
    )
    return delivery


def add_rule(
    channel: Channel, kinds: Sequence[str], project: Project | None, label: str, *, actor: Actor
) -> Rule:
    """Add a rule.

    Args:
        channel: what is told.
        kinds: values of RULE_KINDS.
        project: only of this project; None: of all, and of the instance.
        label: only of clusters with this tag or label, `key` or `key=value`; "": of all.
        actor: who adds it.
    """
    with transaction.atomic():
        rule = Rule.objects.create(
            channel=channel, kinds=sorted(kinds), project=project, label=label
        )
        _record(Action.NOTIFICATION_RULE_ADDED, channel, actor, after=_rule_facts(rule))
    forget_rules()
    return rule


def delete_rule(rule: Rule, *, actor: Actor) -> None:
    """Delete a rule. Messages that it caused are still sent."""
    before = _rule_facts(rule)
    with transaction.atomic():
        rule.delete()
        _record(Action.NOTIFICATION_RULE_REMOVED, rule.channel, actor, before=before)
    forget_rules()


def rotate_key() -> tuple[int, list[str]]:
    """Encrypt all addresses with the current CHANNEL_KEY.

    Returns:
        How many were, and the names of channels that none of the keys opens.
    """
    done, unreadable = 0, []
    rows: list[tuple[Any, str, str]] = [
        *((each, "sealed", each.name) for each in Channel.objects.all()),
        *((each, "sealed", f"ping {each.pk}") for each in Delivery.objects.exclude(sealed="")),
        *(
            (each, "ping_sealed", f"the ping of {each}")
            for each in Schedule.objects.exclude(ping_sealed="")
        ),
    ]
    for row, column, name in rows:
        stored = getattr(row, column)
        try:
            sealed = reencrypt(stored)
        except Undecipherable:
            unreadable.append(name)
            continue
        # conditional: an address that was changed meanwhile has the current key already
        type(row).objects.filter(pk=row.pk, **{column: stored}).update(**{column: sealed})
        done += 1
    return done, unreadable


def new_secret() -> str:
    """A signing secret of Standard Webhooks: `whsec_` and 32 random bytes in base64."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def _stored(channel: Channel) -> dict[str, str]:
    stored: dict[str, str] = json.loads(decrypt(channel.sealed).reveal())
    return stored


def _address(url: str, secret: str) -> dict[str, Any]:
    return {
        "kind": ChannelKind.WEBHOOK if is_webhook(url) else ChannelKind.APPRISE,
        "sealed": encrypt(json.dumps({"url": url, "secret": secret})),
        "shown": shown_url(url),
    }


def _facts(channel: Channel) -> dict[str, Any]:
    return {
        "name": channel.name,
        "kind": str(channel.kind),
        "address": channel.shown,
        "enabled": channel.enabled,
    }


def _rule_facts(rule: Rule) -> dict[str, Any]:
    project = rule.project
    return {"kinds": rule.kinds, "project": str(project) if project else "", "label": rule.label}


def _record(action: Action, channel: Channel, actor: Actor, **more: Any) -> None:
    record(action, actor=actor, target=channel, **more)
