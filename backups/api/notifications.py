"""Notifications: channels, rules, and the messages that were sent or wait."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F
from django.db.models.expressions import OrderBy
from django.http import JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from backups.forms.notifications import ChannelForm, RuleForm
from backups.models import Channel, Delivery, Rule
from backups.serialize import Json
from backups.serialize_admin import channel_line, delivery_line, rule_line
from backups.services.notifications import channels
from dashboard.accounts.access import Permission, require
from dashboard.audit.trail import Actor
from dashboard.encryption import Undecipherable

from . import answers
from .bodies import ChangedChannelBody, ChannelBody, NoFields, RuleBody
from .declare import Resource, answer
from .problems import Invalid
from .queries import PAGED, page_of
from .token import MANAGE, ApiRequest

router = Resource("channels")
rules_router = Resource("rules")
deliveries_router = Resource("deliveries")

_OLDEST = [OrderBy(F("pk"))]
_NEWEST = [OrderBy(F("pk"), descending=True)]


def _channel(request: ApiRequest, pk: int, permission: Permission) -> Channel:
    require(request.user, permission)
    return get_object_or_404(Channel, pk=pk)


@router.read(
    "", answers.Page[answers.Channel], name="channels", summary="List channels", parameters=PAGED
)
def list_channels(request: ApiRequest) -> Json:
    """A page of the channels, without their secrets."""
    require(request.user, Permission.AUDIT)
    return page_of(request, Channel.objects.all(), _OLDEST, channel_line, kind="channels")


@router.read("/{int:pk}", answers.Channel, name="channel", summary="Get a channel")
def get_channel(request: ApiRequest, pk: int) -> Json:
    """A channel, without its secrets."""
    return channel_line(_channel(request, pk, Permission.AUDIT))


@router.act(
    "",
    {201: answers.SavedChannel, 200: answers.SavedChannel},
    method="PUT",
    name="channels",
    summary="Create or change a channel by its name",
    auth=MANAGE,
)
def put_channel(request: ApiRequest, body: ChannelBody) -> JsonResponse:
    """Create a channel, or change the one of this name. 200: there was one."""
    require(request.user, Permission.CONFIGURE)
    named = Channel.objects.filter(name=body.name.strip())
    if (found := named.first()) is not None:
        return answer(_changed(request, found, body))
    form = _form(body, None)
    try:
        with transaction.atomic():
            made, secret = channels.add_channel(
                form.cleaned_data["name"], form.cleaned_data["url"], actor=Actor.of(request)
            )
            if body.enabled is False:
                channels.change_channel(
                    made, actor=Actor.of(request), name=made.name, enabled=body.enabled
                )
    except channels.NameTaken as problem:
        if (found := named.first()) is None:
            raise Invalid([("name", str(problem))]) from None
        return answer(_changed(request, found, body))  # an equal request was quicker
    place = reverse("api:channel", args=[made.pk])
    return answer({**channel_line(made), "signing_secret": secret}, 201, location=place)


@router.act(
    "/{int:pk}",
    {200: answers.SavedChannel},
    method="PUT",
    name="channel",
    summary="Change a channel",
    auth=MANAGE,
)
def set_channel(request: ApiRequest, pk: int, body: ChangedChannelBody) -> Json:
    """Change a channel: its name, its address, whether it is on, its signing secret."""
    found = _channel(request, pk, Permission.CONFIGURE)
    return _changed(request, found, body, renew_secret=body.renew_secret)


def _changed(
    request: ApiRequest, found: Channel, body: ChannelBody, *, renew_secret: bool = False
) -> Json:
    form = _form(body, found)
    try:
        with transaction.atomic():
            # what is left out must stay as another request has just stored it
            rows = Channel.objects.select_for_update(no_key=True)
            found = get_object_or_404(rows, pk=found.pk)
            secret = channels.change_channel(
                found,
                actor=Actor.of(request),
                name=form.cleaned_data["name"],
                enabled=found.enabled if body.enabled is None else body.enabled,
                url=form.cleaned_data["url"],
                renew_secret=renew_secret,
            )
    except channels.NameTaken as problem:
        raise Invalid([("name", str(problem))]) from None
    except Undecipherable as problem:
        raise Invalid([("url", str(problem))]) from None
    return {**channel_line(found), "signing_secret": secret}


def _form(body: ChannelBody, found: Channel | None) -> ChannelForm:
    form = ChannelForm(body.model_dump(include={"name", "url"}), found)
    if not form.is_valid():
        raise Invalid.by_form(form)
    return form


@router.act(
    "/{int:pk}/test",
    {200: answers.Delivery},
    name="channel-test",
    summary="Test a channel",
    auth=MANAGE,
)
def test_channel(request: ApiRequest, pk: int, body: NoFields | None = None) -> Json:  # noqa: PT028
    """Send a test message now; `state` and `error` say what became of it."""
    found = _channel(request, pk, Permission.CONFIGURE)
    return delivery_line(channels.test_channel(found, actor=Actor.of(request)))


@router.act(
    "/{int:pk}",
    {200: answers.Channel},
    method="DELETE",
    name="channel",
    summary="Delete a channel",
    auth=MANAGE,
)
def delete_channel(request: ApiRequest, pk: int) -> Json:
    """Delete a channel and its rules; what waits for it is cancelled. The answer is as it was."""
    found = _channel(request, pk, Permission.CONFIGURE)
    channels.delete_channel(found, actor=Actor.of(request))
    return channel_line(found)


@rules_router.read(
    "", answers.Page[answers.Rule], name="rules", summary="List rules", parameters=PAGED
)
def list_rules(request: ApiRequest) -> Json:
    """A page of the rules: which channel is told what."""
    require(request.user, Permission.AUDIT)
    return page_of(request, Rule.objects.all(), _OLDEST, rule_line, kind="rules")


@rules_router.act(
    "",
    {201: answers.Rule, 200: answers.Rule},
    method="PUT",
    name="rules",
    summary="Create a rule",
    auth=MANAGE,
)
def put_rule(request: ApiRequest, body: RuleBody) -> JsonResponse:
    """Create a rule. 200: there is such a rule."""
    require(request.user, Permission.CONFIGURE)
    form = RuleForm(body.model_dump())
    if not form.is_valid():
        raise Invalid.by_form(form)
    wanted = {name: form.cleaned_data[name] for name in ("channel", "project", "label")}
    kinds = sorted(set(form.cleaned_data["kinds"]))
    with transaction.atomic():
        rows = Channel.objects.select_for_update(no_key=True)
        get_object_or_404(rows, pk=wanted["channel"].pk)
        found = next((each for each in Rule.objects.filter(**wanted) if each.kinds == kinds), None)
        if found is not None:
            return answer(rule_line(found))
        made = channels.add_rule(kinds=kinds, actor=Actor.of(request), **wanted)
    return answer(rule_line(made), 201)


@rules_router.act(
    "/{int:pk}",
    {200: answers.Rule},
    method="DELETE",
    name="rule",
    summary="Delete a rule",
    auth=MANAGE,
)
def delete_rule(request: ApiRequest, pk: int) -> Json:
    """Delete a rule; messages that it caused are still sent. The answer is as it was."""
    require(request.user, Permission.CONFIGURE)
    rule = get_object_or_404(Rule.objects.select_related("channel", "project"), pk=pk)
    was = rule_line(rule)
    channels.delete_rule(rule, actor=Actor.of(request))
    return was


@deliveries_router.read(
    "",
    answers.Page[answers.Delivery],
    name="deliveries",
    summary="List deliveries",
    parameters=PAGED,
)
def list_deliveries(request: ApiRequest) -> Json:
    """Messages that were sent or wait, newest first, without their texts."""
    require(request.user, Permission.AUDIT)
    found = Delivery.objects.all()
    return page_of(
        request,
        found,
        _NEWEST,
        delivery_line,
        kind="deliveries",
        prepare=lambda rows: rows.defer("body", "attachment", "sealed"),
    )
