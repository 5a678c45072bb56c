"""Pages of groups: their members and roles, and for admins of all projects their management."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.models import Group
from django.db.models import Count
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _

from dashboard.accounts.access import AuthenticatedHttpRequest, Permission, may
from dashboard.accounts.models import Grant, User
from dashboard.accounts.roles import ROLE_DESCRIPTIONS, Role
from dashboard.audit.trail import Actor
from dashboard.web.numbered_pages import NumberedPaginator

from . import managing
from .account_forms import GroupNameForm, MemberForm
from .account_views import (
    PAGE_SIZE,
    Problems,
    page,
    problems_of,
    require_reader_or_manager,
    searched,
)
from .granting import LastGrantor
from .managing import NotChanged


def _groups_page(
    request: AuthenticatedHttpRequest, status: int = 200, **more: object
) -> HttpResponse:
    query = searched(request)
    found = Group.objects.annotate(members=Count("user")).order_by("name")
    if query:
        found = found.filter(name__icontains=query)
    context = {
        "page": NumberedPaginator(found, PAGE_SIZE).get_page(request.GET.get("page")),
        "q": query,
        "query": urlencode({"q": query} if query else {}),
        "may_manage": may(request.user, Permission.MEMBERS),
        **more,
    }
    return render(request, "members/groups.html", context, status=status)


@page
def groups(request: AuthenticatedHttpRequest) -> HttpResponse:
    """List all groups; a POST creates one."""
    require_reader_or_manager(request)
    if request.method != "POST":
        return _groups_page(request)
    form = GroupNameForm(request.POST)
    if not form.is_valid():
        return _groups_page(request, 422, problems=problems_of(form), typed=request.POST)
    try:
        group = managing.create_group(form.cleaned_data["name"], Actor.of(request))
    except NotChanged as error:
        return _groups_page(request, 409, problems=[str(error)], typed=request.POST)
    messages.info(request, _("Created: %(name)s.") % {"name": group})
    return redirect("members:group", group.pk)


def _group_page(
    request: AuthenticatedHttpRequest, group: Group, status: int = 200, **more: object
) -> HttpResponse:
    grants = Grant.objects.filter(group=group).select_related("group", "project")
    members = User.objects.filter(groups=group).order_by("username")
    context = {
        "group": group,
        "page": NumberedPaginator(members, PAGE_SIZE).get_page(request.GET.get("page")),
        "grants": [(each, ROLE_DESCRIPTIONS[Role(each.role)]) for each in grants],
        "may_manage": may(request.user, Permission.MEMBERS),
        **more,
    }
    return render(request, "members/group.html", context, status=status)


def _change(request: AuthenticatedHttpRequest, group: Group, do: str) -> Problems:
    actor = Actor.of(request)
    if do == "delete":
        managing.delete_group(group, actor)
        return []
    if do == "rename":
        name = GroupNameForm(request.POST)
        if name.is_valid():
            managing.rename_group(group, name.cleaned_data["name"], actor)
        return problems_of(name)
    if do not in ("add", "remove"):
        return [_("Unknown action.")]
    member = MemberForm(request.POST)
    if member.is_valid():
        change = managing.add_member if do == "add" else managing.remove_member
        change(group, member.cleaned_data["name"], actor)
    return problems_of(member)


@page
def group_detail(request: AuthenticatedHttpRequest, pk: int) -> HttpResponse:
    """Show a group with its members and roles; a POST changes it."""
    require_reader_or_manager(request)
    group = get_object_or_404(Group, pk=pk)
    if request.method != "POST":
        return _group_page(request, group)
    do = request.POST.get("do", "")
    if do == "delete" and request.POST.get("confirmed") != "1":
        return _group_page(request, group, 422, asked=True)
    try:
        problems = _change(request, group, do)
    except (NotChanged, LastGrantor) as error:
        group = get_object_or_404(Group, pk=pk)  # as it is stored
        return _group_page(request, group, 409, problems=[str(error)])
    if problems:
        return _group_page(request, group, 422, problems=problems, typed=request.POST)
    if do == "delete":
        messages.info(request, _("Deleted: %(name)s.") % {"name": group})
        return redirect("members:groups")
    messages.info(request, _("Saved."))
    return redirect("members:group", pk)
