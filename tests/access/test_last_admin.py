"""Rules that count before they write also hold for concurrent requests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
from django.db import connection
from django.test import Client

from backups.models import SavedView
from backups.views import saved_views
from dashboard.accounts.access import Role, grantors
from dashboard.accounts.models import Grant, User
from dashboard.audit.trail import Actor
from dashboard.members import granting
from dashboard.tokens import issuing
from dashboard.tokens.models import ApiToken, Scope
from tests.grants import give

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 15
T = TypeVar("T")


def at_once(*works: Callable[[], T]) -> list[T]:
    """Run functions concurrently in threads with their own connections."""
    gate = threading.Barrier(len(works))

    def run(work: Callable[[], T]) -> T:
        connection.ensure_connection()
        gate.wait()
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


def withdraw(grant: Grant) -> bool:
    try:
        return granting.withdraw(grant, Actor("somebody"))
    except granting.LastGrantor:
        return False


def test_of_two_admins_withdrawn_at_the_same_moment_one_stays() -> None:
    for number in range(ROUNDS):
        Grant.objects.all().delete()
        for name in ("anna", "ben"):
            give(User.objects.create_user(f"{name}-{number}"), Role.ADMIN)
        first, second = Grant.objects.select_related("user")
        done = at_once(lambda one=first: withdraw(one), lambda one=second: withdraw(one))
        assert sorted(done) == [False, True], f"round {number}"
        assert len(grantors()) == 1


def test_two_tokens_made_at_the_same_moment_do_not_pass_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(issuing, "MAX_ACTIVE", 1)

    def make(user: User, name: str) -> bool:
        try:
            issuing.create_token(user, name, Scope.READ, 7, Actor(user.username))
        except issuing.TokenNotCreated:
            return False
        return True

    for number in range(ROUNDS):
        user = User.objects.create_user(f"anna-{number}")
        at_once(lambda one=user: make(one, "a"), lambda one=user: make(one, "b"))
        assert ApiToken.objects.filter(user=user).count() == 1, f"round {number}"


def test_two_views_saved_at_the_same_moment_do_not_pass_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(saved_views, "MOST_KEPT", 1)

    def save(user: User, name: str) -> int:
        browser = Client()
        browser.force_login(user)
        return browser.post("/history/views/", {"name": name, "query": ""}).status_code

    for number in range(5):
        user = give(User.objects.create_user(f"anna-{number}"), Role.VIEWER)
        done = at_once(lambda one=user: save(one, "a"), lambda one=user: save(one, "b"))
        assert sorted(done) == [302, 400], f"round {number}"
        assert SavedView.objects.filter(owner=user).count() == 1
