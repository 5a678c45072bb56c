"""Notifications: channels, rules, and the log of what was sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.db.models import OuterRef, Subquery
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from backups.choices import RULE_KINDS, ChannelKind, DeliveryState, NoticeKind
from backups.forms.notifications import ChannelForm, LogForm, RuleForm
from backups.models import Channel, Delivery, Rule
from backups.services.notifications import channels
from backups.services.notifications.senders import SCHEMES
from dashboard.accounts.access import Permission, all_projects, may, require
from dashboard.audit.trail import Actor
from dashboard.db.keyset import Keyset, PageQuery
from dashboard.encryption import Undecipherable
from dashboard.web.display import display_of

from . import badges
from .common import PageRequest, bad_request

DELIVERIES = Keyset(Delivery, "created_at")
# What each kind means, for the page on which they are chosen.
MEANINGS = {
    NoticeKind.RUN_FAILED: gettext_lazy(
        "a backup was accepted, and failed or could not be verified, or was not started"
    ),
    NoticeKind.RUN_REJECTED: gettext_lazy("the cloud refused a request"),
    NoticeKind.RUN_UNKNOWN: gettext_lazy("a request was sent, and its answer is not known yet"),
    NoticeKind.PROTECTION_OVERDUE: gettext_lazy(
        "the last verified backup of a cluster is older than its objective, or it never had one"
    ),
    NoticeKind.PROTECTION_RECOVERED: gettext_lazy("an overdue cluster has a verified backup again"),
    NoticeKind.SCHEDULE_SKIPPED: gettext_lazy("a schedule was due and did not back up"),
    NoticeKind.SCHEDULE_STOPPED: gettext_lazy("a schedule was switched off by the dashboard"),
    NoticeKind.BATCH_ENDED: gettext_lazy("the last run of a batch has ended"),
    NoticeKind.WORK_STALLED: gettext_lazy("messages are not processed, or Redis is away"),
    NoticeKind.WORK_RECOVERED: gettext_lazy("messages are processed again"),
    NoticeKind.AUDIT_BROKEN: gettext_lazy(
        "a verification failed, or triggers that guard the history are missing"
    ),
}


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A rule in words."""

    rule: Rule
    kinds: str


def _page(request: PageRequest, status: int = 200, **more: Any) -> HttpResponse:
    newest = Delivery.objects.filter(channel=OuterRef("pk")).order_by("-created_at", "-pk")
    rows = Channel.objects.annotate(latest=Subquery(newest.values("state")[:1]))
    rules = Rule.objects.select_related("channel", "project").order_by("channel__name", "pk")
    context = {
        "channels": [(row, badges.DELIVERIES.get(row.latest or "")) for row in rows],
        "rules": [RuleRow(rule, _kinds(rule.kinds)) for rule in rules],
        "kinds": [(kind.value, kind.label, MEANINGS[kind]) for kind in RULE_KINDS],
        "projects": all_projects(),
        "may_change": may(request.user, Permission.CONFIGURE),
        "form": RuleForm(),
        "chosen": [],
        **more,
    }
    return render(request, "backups/notifications.html", context, status=status)


def _kinds(values: Iterable[str]) -> str:
    chosen = set(values)
    return ", ".join(str(kind.label) for kind in RULE_KINDS if kind.value in chosen)


@require_safe
def notifications(request: PageRequest) -> HttpResponse:
    """Channels and rules."""
    require(request.user, Permission.AUDIT)
    return _page(request)


@require_http_methods(["GET", "HEAD", "POST"])
def channel_add(request: PageRequest) -> HttpResponse:
    """Add a channel; the signing secret of a webhook is shown once."""
    require(request.user, Permission.CONFIGURE)
    form = ChannelForm(request.POST if request.method == "POST" else None, None)
    if form.is_valid():
        try:
            made, secret = channels.add_channel(
                form.cleaned_data["name"], form.cleaned_data["url"], actor=Actor.of(request)
            )
        except channels.NameTaken as problem:
            form.add_error("name", str(problem))
        else:
            return _saved(request, made, secret)
    return _form(request, form, None)


@require_http_methods(["GET", "HEAD", "POST"])
def channel(request: PageRequest, pk: int) -> HttpResponse:
    """Change a channel."""
    require(request.user, Permission.CONFIGURE)
    changed = get_object_or_404(Channel, pk=pk)
    form = ChannelForm(request.POST if request.method == "POST" else None, changed)
    if form.is_valid():
        try:
            secret = channels.change_channel(changed, actor=Actor.of(request), **form.cleaned_data)
        except channels.NameTaken as problem:
            form.add_error("name", str(problem))
        except Undecipherable as problem:
            form.add_error("url", str(problem))
        else:
            return _saved(request, changed, secret)
    return _form(request, form, changed)


def _form(request: PageRequest, form: ChannelForm, changed: Channel | None) -> HttpResponse:
    name = form["name"].value() if form.is_bound else changed.name if changed else ""
    enabled = bool(form["enabled"].value()) if form.is_bound else changed and changed.enabled
    context = {
        "form": form,
        "channel": changed,
        "name": name or "",
        "enabled": enabled,
        # what was typed is shown again; it has not been stored
        "url": form["url"].value() or "" if form.is_bound else "",
        "is_webhook": changed is not None and changed.kind == ChannelKind.WEBHOOK,
        "schemes": ", ".join(sorted(SCHEMES)),
    }
    return render(request, "backups/channel.html", context, status=422 if form.errors else 200)


def _saved(request: PageRequest, saved: Channel, secret: str) -> HttpResponse:
    if secret:
        context = {"channel": saved, "secret": secret}
        return render(request, "backups/channel_secret.html", context)
    messages.info(request, _("Saved: %(name)s.") % {"name": saved.name})
    return redirect("backups:notifications")


@require_POST
def channel_test(request: PageRequest, pk: int) -> HttpResponse:
    """Send a test message, wait for the result, and show it."""
    require(request.user, Permission.CONFIGURE)
    tested = get_object_or_404(Channel, pk=pk)
    delivery = channels.test_channel(tested, actor=Actor.of(request))
    context = {"tested": tested, "test": delivery}
    return _page(request, 200 if delivery.state == DeliveryState.SENT else 502, **context)


@require_POST
def channel_delete(request: PageRequest, pk: int) -> HttpResponse:
    """Delete a channel after confirmation."""
    require(request.user, Permission.CONFIGURE)
    deleted = get_object_or_404(Channel, pk=pk)
    if request.POST.get("confirmed") != "1":
        return _page(request, 422, asked=deleted)
    channels.delete_channel(deleted, actor=Actor.of(request))
    messages.info(request, _("Deleted: %(name)s.") % {"name": deleted.name})
    return redirect("backups:notifications")


@require_POST
def rule_add(request: PageRequest) -> HttpResponse:
    """Add a rule."""
    require(request.user, Permission.CONFIGURE)
    form = RuleForm(request.POST)
    if not form.is_valid():
        return _page(request, 422, form=form, chosen=request.POST.getlist("kinds"))
    channels.add_rule(
        form.cleaned_data["channel"],
        form.cleaned_data["kinds"],
        form.cleaned_data["project"],
        form.cleaned_data["label"],
        actor=Actor.of(request),
    )
    messages.info(request, _("Rule added."))
    return redirect(f"{reverse('backups:notifications')}#rules")


@require_POST
def rule_delete(request: PageRequest, pk: int) -> HttpResponse:
    """Delete a rule."""
    require(request.user, Permission.CONFIGURE)
    rule = get_object_or_404(Rule.objects.select_related("channel", "project"), pk=pk)
    channels.delete_rule(rule, actor=Actor.of(request))
    messages.info(request, _("Rule deleted."))
    return redirect(f"{reverse('backups:notifications')}#rules")


@require_safe
def delivery_log(request: PageRequest) -> HttpResponse:
    """What was sent or waits, newest first, of all channels or of one."""
    require(request.user, Permission.AUDIT)
    form = LogForm(request.GET)
    if not form.is_valid():
        return bad_request(request, form)
    wanted = form.cleaned_data["channel"]
    found = Delivery.objects.filter(channel=wanted) if wanted else Delivery.objects.all()
    query = PageQuery(older=form.cleaned_data["older"], newer=form.cleaned_data["newer"])
    page = DELIVERIES.read(
        [found],
        query,
        display_of(request).rows,
        # neither texts nor files are shown
        lambda rows: rows.defer("body", "attachment", "sealed"),
    )
    rows = page.rows
    context = {
        "rows": [(row, badges.DELIVERIES[row.state]) for row in rows],
        "page": page,
        "channel": wanted,
        "channels": Channel.objects.all(),
        "older": DELIVERIES.cursor(rows[-1]).encode() if page.has_older and rows else "",
        "newer": DELIVERIES.cursor(rows[0]).encode() if page.has_newer and rows else "",
    }
    return render(request, "backups/delivery_log.html", context)
