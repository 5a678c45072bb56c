"""Pages of accounts: what each may do, and for admins of all projects their management."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlencode

from allauth.account.decorators import reauthentication_required
from allauth.mfa.models import Authenticator
from django.contrib import messages
from django.contrib.auth.models import Group
from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from dashboard.accounts.access import AuthenticatedHttpRequest, Permission, may, require
from dashboard.accounts.models import Grant, SignInLink, User
from dashboard.accounts.roles import ROLE_DESCRIPTIONS, Role
from dashboard.audit.trail import Actor
from dashboard.web.numbered_pages import NumberedPaginator

from . import links, managing
from .account_forms import (
    AccountNameForm,
    FirstSignIn,
    GroupChoiceForm,
    NewAccountForm,
    PasswordForm,
)
from .granting import LastGrantor
from .managing import NotChanged

PAGE_SIZE = 100
MAX_GROUPS = 500  # groups in the form
MAX_SEARCH_LENGTH = 150

page = require_http_methods(["GET", "HEAD", "POST"])
Problems = list[str]


def problems_of(form: Any) -> Problems:
    """Return the problems of a form as lines."""
    return [str(problem) for each in form.errors.values() for problem in each]


def searched(request: AuthenticatedHttpRequest) -> str:
    """Return the text of the search field above a list."""
    return request.GET.get("q", "").strip().replace("\x00", "")[:MAX_SEARCH_LENGTH]


def require_reader_or_manager(request: AuthenticatedHttpRequest) -> None:
    """Require `audit` for reading these pages and `members` for changes, for all projects.

    Accounts and groups belong to no project.
    """
    changes = request.method == "POST"
    require(request.user, Permission.MEMBERS if changes else Permission.AUDIT)


# --- the list


def _accounts_page(
    request: AuthenticatedHttpRequest, status: int = 200, **more: object
) -> HttpResponse:
    query = searched(request)
    found = User.objects.annotate(groups_count=Count("groups")).order_by("username")
    if query:
        found = found.filter(
            Q(username__icontains=query)
            | Q(first_name__icontains=query)
            | Q(last_name__icontains=query)
            | Q(email__icontains=query)
        )
    context = {
        "page": NumberedPaginator(found, PAGE_SIZE).get_page(request.GET.get("page")),
        "q": query,
        "query": urlencode({"q": query} if query else {}),
        "ways": FirstSignIn,
        "may_manage": may(request.user, Permission.MEMBERS),
        **more,
    }
    return render(request, "members/accounts.html", context, status=status)


@page
def accounts(request: AuthenticatedHttpRequest) -> HttpResponse:
    """List all accounts; a POST creates one."""
    require_reader_or_manager(request)
    if request.method != "POST":
        return _accounts_page(request)
    # what it creates can sign in: a session that was left open must not be enough
    confirmed = reauthentication_required(_create_account, app="members")
    return cast(HttpResponse, confirmed(request))


def _create_account(request: AuthenticatedHttpRequest) -> HttpResponse:
    form = NewAccountForm(request.POST)
    if not form.is_valid():
        return _accounts_page(request, 422, problems=problems_of(form), typed=request.POST)
    actor = Actor.of(request)
    try:
        user = managing.create_account(form.cleaned_data["name"], None, actor)
        if form.cleaned_data["how"] == FirstSignIn.LINK:
            return _link_page(request, *managing.send_link(user, actor))
    except NotChanged as error:
        return _accounts_page(request, 409, problems=[str(error)], typed=request.POST)
    messages.info(request, _("Created: %(name)s. Set a password.") % {"name": user})
    return redirect("members:account-sign-in", user.pk)


def _link_page(request: AuthenticatedHttpRequest, link: SignInLink, token: str) -> HttpResponse:
    address = f"{request.build_absolute_uri(reverse('sign-in-link'))}?{urlencode({'key': token})}"
    context = {"account": link.user, "link": link, "address": address}
    return render(request, "members/link_created.html", context)


# --- one account


def _account_page(
    request: AuthenticatedHttpRequest, account: User, status: int = 200, **more: object
) -> HttpResponse:
    grants = Grant.objects.filter(Q(user=account) | Q(group__user=account)).distinct()
    grants = grants.select_related("user", "group", "project").order_by("project", "role", "pk")
    groups = list(account.groups.order_by("name"))
    manages = may(request.user, Permission.MEMBERS) and managing.may_change(request.user, account)
    context = {
        "account": account,
        "is_self": account.pk == request.user.pk,
        "grants": [(grant, ROLE_DESCRIPTIONS[Role(grant.role)]) for grant in grants],
        "groups": groups,
        "other_groups": list(
            Group.objects.exclude(pk__in=[each.pk for each in groups]).order_by("name")[:MAX_GROUPS]
        ),
        "has_second_factor": Authenticator.objects.filter(user=account)
        .exclude(type=Authenticator.Type.RECOVERY_CODES)
        .exists(),
        "link": SignInLink.objects.filter(user=account).first(),
        "may_manage": may(request.user, Permission.MEMBERS),
        "may_change": manages,
        **more,
    }
    return render(request, "members/account.html", context, status=status)


Change = Callable[[User, Actor], None]


def _rename(request: AuthenticatedHttpRequest, account: User, actor: Actor) -> Problems:
    form = AccountNameForm(request.POST)
    if form.is_valid():
        managing.rename_account(account, form.cleaned_data["name"], actor)
    return problems_of(form)


def _join(request: AuthenticatedHttpRequest, account: User, actor: Actor) -> Problems:
    form = GroupChoiceForm(request.POST)
    if form.is_valid():
        managing.add_member(form.cleaned_data["group"], account, actor)
    return problems_of(form)


def _leave(request: AuthenticatedHttpRequest, account: User, actor: Actor) -> Problems:
    form = GroupChoiceForm(request.POST)
    if form.is_valid():
        managing.remove_member(form.cleaned_data["group"], account, actor)
    return problems_of(form)


def _simple(change: Change) -> Callable[[AuthenticatedHttpRequest, User, Actor], Problems]:
    def apply(request: AuthenticatedHttpRequest, account: User, actor: Actor) -> Problems:
        change(account, actor)
        return []

    return apply


# By the value of the button `do`.
_CHANGES: dict[str, Callable[[AuthenticatedHttpRequest, User, Actor], Problems]] = {
    "rename": _rename,
    "join": _join,
    "leave": _leave,
    "activate": _simple(managing.activate_account),
    "deactivate": _simple(managing.deactivate_account),
    "delete": _simple(managing.delete_account),
    "make-superuser": _simple(lambda user, actor: managing.set_superuser(user, True, actor)),
    "unmake-superuser": _simple(lambda user, actor: managing.set_superuser(user, False, actor)),
}
_ASKED_FIRST = {"deactivate", "delete", "make-superuser", "unmake-superuser"}


@page
def account_detail(request: AuthenticatedHttpRequest, pk: int) -> HttpResponse:
    """Show an account and what it may do; a POST changes it."""
    require_reader_or_manager(request)
    account = get_object_or_404(User, pk=pk)
    if request.method != "POST":
        return _account_page(request, account)
    do = request.POST.get("do", "")
    if do not in _CHANGES:
        return _account_page(request, account, 422, problems=[_("Unknown action.")])
    if do in _ASKED_FIRST and request.POST.get("confirmed") != "1":
        return _account_page(request, account, 422, asked=do)
    try:
        problems = _CHANGES[do](request, account, Actor.of(request))
    except (NotChanged, LastGrantor) as error:
        return _account_page(request, account, 409, problems=[str(error)])
    if problems:
        return _account_page(request, account, 422, problems=problems)
    if do == "delete":
        messages.info(request, _("Deleted: %(name)s.") % {"name": account})
        return redirect("members:accounts")
    messages.info(request, _("Saved."))
    return redirect("members:account", pk)


# --- password or link


@page
def account_sign_in(request: AuthenticatedHttpRequest, pk: int) -> HttpResponse:
    """Set the password of somebody else, or create a one-time link for them."""
    require(request.user, Permission.MEMBERS)
    confirmed = reauthentication_required(_sign_in_page, app="members")
    return cast(HttpResponse, confirmed(request, get_object_or_404(User, pk=pk)))


def _sign_in_page(request: AuthenticatedHttpRequest, account: User) -> HttpResponse:
    typed = request.POST if request.method == "POST" else None
    by_link = typed is not None and typed.get("do") == "link"
    form = PasswordForm(None if by_link else typed, user=account)
    problems: Problems = []
    try:
        if by_link:
            return _link_page(request, *managing.send_link(account, Actor.of(request)))
        if form.is_valid():
            managing.set_password(account, form.cleaned_data["password1"], Actor.of(request))
            messages.info(request, _("Password set. Its sessions and API tokens have ended."))
            return redirect("members:account", account.pk)
    except NotChanged as error:
        problems = [str(error)]
    status = 409 if problems else 422 if form.is_bound else 200
    context = {
        "account": account,
        "form": form,
        "problems": problems,
        "days": links.LIFETIME.days,
        "may_change": account.pk != request.user.pk and managing.may_change(request.user, account),
    }
    return render(request, "members/account_sign_in.html", context, status=status)
