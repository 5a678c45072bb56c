"""The page that lists, grants and withdraws roles."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from dashboard.accounts.access import (
    AuthenticatedHttpRequest,
    Permission,
    Role,
    may,
    may_somewhere,
    permitted_q,
    projects_with,
    require_somewhere,
)
from dashboard.accounts.models import Grant, User
from dashboard.accounts.roles import ROLE_DESCRIPTIONS
from dashboard.audit.trail import Actor
from dashboard.web.numbered_pages import NumberedPaginator

from . import granting
from .forms import ALL_PROJECTS, GrantForm, SubjectKind

PAGE_SIZE = 100
MAX_PROJECTS = 500  # projects in the form
MAX_SUPERUSERS = 20
MAX_SEARCH_LENGTH = 150


def _page(request: AuthenticatedHttpRequest, status: int = 200, **more: object) -> HttpResponse:
    user = request.user
    everywhere = may(user, Permission.MEMBERS)
    reads_everywhere = may(user, Permission.AUDIT)
    query = request.GET.get("q", "").strip().replace("\x00", "")[:MAX_SEARCH_LENGTH]
    found = Grant.objects.filter(permitted_q(user, Permission.AUDIT))
    if query:
        found = found.filter(Q(user__username__icontains=query) | Q(group__name__icontains=query))
    listed = found.select_related("user", "group", "project").order_by(
        "user__username", "group__name", "project", "role", "pk"
    )
    page = NumberedPaginator(listed, PAGE_SIZE).get_page(request.GET.get("page"))
    superusers = User.objects.filter(is_superuser=True, is_active=True).order_by("username")
    return render(
        request,
        "members/grants.html",
        {
            "page": page,
            "rows": [
                (grant, may(user, Permission.MEMBERS, grant.project)) for grant in page.object_list
            ],
            "q": query,
            "query": urlencode({"q": query} if query else {}),
            "everywhere": everywhere,
            "reads_everywhere": reads_everywhere,
            "roles": [(role, ROLE_DESCRIPTIONS[role]) for role in Role],
            "kinds": SubjectKind,
            "all_projects": ALL_PROJECTS,
            "projects": list(projects_with(user, Permission.MEMBERS)[:MAX_PROJECTS]),
            "superusers": list(superusers[:MAX_SUPERUSERS]) if reads_everywhere else [],
            **more,
        },
        status=status,
    )


@require_safe
def grants(request: AuthenticatedHttpRequest) -> HttpResponse:
    """List the grants of the projects where the user may grant roles, or read the audit trail."""
    if not may_somewhere(request.user, Permission.AUDIT):
        require_somewhere(request.user, Permission.MEMBERS)
    return _page(request)


@require_POST
def grant_add(request: AuthenticatedHttpRequest) -> HttpResponse:
    """Grant a role."""
    require_somewhere(request.user, Permission.MEMBERS)
    form = GrantForm(request.POST, sender=request.user)
    if not form.is_valid():
        problems = [str(problem) for each in form.errors.values() for problem in each]
        return _page(request, 422, problems=problems, typed=request.POST)
    wanted = form.cleaned_data
    try:
        made = granting.grant(
            wanted["subject"], Role(wanted["role"]), wanted["project"], Actor.of(request)
        )
    except granting.AlreadyGranted as error:
        return _page(request, 409, problems=[str(error)], typed=request.POST)
    messages.info(request, _("Granted: %(grant)s.") % {"grant": made})
    return redirect("members:grants")


@require_POST
def grant_withdraw(request: AuthenticatedHttpRequest, pk: int) -> HttpResponse:
    """Withdraw a role after confirmation."""
    within_reach = Grant.objects.filter(permitted_q(request.user, Permission.MEMBERS))
    made = get_object_or_404(within_reach.select_related("user", "group", "project"), pk=pk)
    if request.POST.get("confirmed") != "1":
        return _page(request, 422, asked=made)
    try:
        withdrawn = granting.withdraw(made, Actor.of(request))
    except granting.LastGrantor as error:
        return _page(request, 409, problems=[str(error)])
    text = _("Withdrawn: %(grant)s.") if withdrawn else _("Already withdrawn: %(grant)s.")
    messages.info(request, text % {"grant": made})
    return redirect("members:grants")
