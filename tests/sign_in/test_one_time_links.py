"""One-time links: once, for a while, for the account as it was, and stored as a digest."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from dashboard.accounts.models import Session, SignInLink, User
from dashboard.audit.models import AuditEvent
from dashboard.audit.trail import Actor
from dashboard.members import links
from dashboard.members.links import LinkInvalid, create_link, find_user, redeem
from dashboard.settings import CACHES
from tests.access.test_last_admin import at_once
from tests.sign_in.conftest import PASSWORD, events, is_signed_in, sign_in

NEW = "another long secret"
URL = "/sign-in/link/"


@pytest.fixture
def key(anna: User) -> str:
    return create_link(anna, Actor("root"))[1]


def typed(key: str, password: str = NEW) -> dict[str, str]:
    return {"key": key, "password1": password, "password2": password}


def test_a_link_from_its_page_to_a_signed_in_user(anna: User, root: User) -> None:
    """From what an admin sees to what its user does with it, by HTTP alone."""
    admin, hers = Client(), Client()
    sign_in(admin, "root")
    old = Client()
    old.force_login(anna)
    page = admin.post(f"/settings/access/accounts/{anna.pk}/sign-in/", {"do": "link"})
    found = re.search(r'id="link"[^>]*>http://testserver(\S+)<', page.content.decode())
    assert found, page.content.decode()
    address = found[1]
    assert "no-store" in page.headers["Cache-Control"]
    assert "Content-Encoding" not in page.headers
    for _look in range(2):  # programs that check mails open links, too
        shown = hers.get(address)
        assert shown.status_code == 200
        assert "anna" in shown.content.decode()
    assert shown.headers["Referrer-Policy"] == "same-origin"
    assert "no-store" in shown.headers["Cache-Control"]
    key = address.partition("key=")[2]
    answer = hers.post(URL, typed(key))
    assert (answer.status_code, answer.headers["Location"]) == (302, reverse("login"))
    assert not is_signed_in(hers), "a second factor is still asked for at the sign-in"
    assert sign_in(hers, "anna", NEW).status_code == 302
    assert not is_signed_in(old)
    event = events("password_changed")[0]
    assert (event.actor_name, event.target_label) == ("anna", "anna")
    assert event.details == {"by": "one-time link"}
    assert hers.post(URL, typed(key)).status_code == 410
    assert Client().get(address).status_code == 410


def test_neither_the_database_nor_an_event_has_the_link(anna: User, key: str) -> None:
    secret = key.partition("-")[2]
    link = SignInLink.objects.get()
    assert secret not in str(vars(link))
    assert len(link.digest) == 64
    event = AuditEvent.objects.get(action="sign_in_link_created")
    assert secret not in str(vars(event))
    assert set(event.after or {}) == {"expires_at"}


def test_a_weak_password_uses_no_link_up(anna: User, key: str) -> None:
    answer = Client().post(URL, typed(key, "password"))
    assert answer.status_code == 422
    assert "too common" in answer.content.decode()
    assert find_user(key) == anna


def too_late(anna: User) -> None:
    SignInLink.objects.update(expires_at=timezone.now())


def after_the_clock_was_set_back(anna: User) -> None:
    later = timezone.now() + links.LIFETIME + timedelta(minutes=1)
    SignInLink.objects.update(expires_at=later)


def after_a_newer_one(anna: User) -> None:
    create_link(anna, Actor("root"))


def after_a_new_password(anna: User) -> None:
    anna.set_password(NEW)
    anna.save()


def after_a_password_by_sql(anna: User) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_user SET password = 'x' WHERE id = %s", [anna.pk])


def of_a_superuser_by_now(anna: User) -> None:
    User.objects.filter(pk=anna.pk).update(is_superuser=True)


def of_a_deactivated_account(anna: User) -> None:
    User.objects.filter(pk=anna.pk).update(is_active=False)


def of_one_that_is_active_again(anna: User) -> None:
    for active in (False, True):
        anna.is_active = active
        anna.save()


def of_one_deactivated_by_sql(anna: User) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_user SET is_active = %s WHERE id = %s", [False, anna.pk])


def of_a_deleted_account(anna: User) -> None:
    anna.delete()


@pytest.mark.parametrize(
    "happen",
    [
        too_late,
        after_the_clock_was_set_back,
        after_a_newer_one,
        after_a_new_password,
        after_a_password_by_sql,
        of_a_superuser_by_now,
        of_a_deactivated_account,
        of_one_that_is_active_again,
        of_one_deactivated_by_sql,
        of_a_deleted_account,
    ],
)
def test_a_link_is_valid_no_more(anna: User, key: str, happen: Callable[[User], None]) -> None:
    happen(anna)
    stored = list(User.objects.values_list("password", flat=True))
    assert Client().get(URL, {"key": key}).status_code == 410
    assert Client().post(URL, typed(key)).status_code == 410
    with pytest.raises(LinkInvalid):
        redeem(key, NEW, Actor("x"))
    assert list(User.objects.values_list("password", flat=True)) == stored


@pytest.mark.parametrize("wrong", ["x", "1-x", "\x00", "9" * 400, "²-" + "a" * 43, "-" + "a" * 43])
def test_no_text_is_a_link_by_chance(anna: User, key: str, wrong: str) -> None:
    for text in (wrong, key[:-1], f"{key}a", f"{anna.pk + 1}{key[key.index('-') :]}"):
        assert Client().get(URL, {"key": text}).status_code == 410
        assert Client().post(URL, typed(text)).status_code == 410


def test_without_a_key_there_is_nothing_to_set(client: Client, db: None) -> None:
    page = client.get(URL)
    assert page.status_code == 200
    assert "This link is not valid" in page.content.decode()


@pytest.mark.django_db(transaction=True)
def test_of_two_who_use_a_link_at_the_same_moment_one_does() -> None:
    for number in range(5):
        user = User.objects.create_user(f"anna-{number}")
        _link, key = create_link(user, Actor("root"))

        def use(password: str, key: str = key) -> bool:
            try:
                redeem(key, password, Actor("x"))
            except LinkInvalid:
                return False
            return True

        done = at_once(lambda: use("first long secret"), lambda: use("second long secret"))
        assert sorted(done) == [False, True], f"round {number}"
        assert len(AuditEvent.objects.filter(action="password_changed")) == number + 1


def test_guessing_is_limited(client: Client, anna: User, settings: Any) -> None:
    """By address, together with sign-ins; the event has the path without the key."""
    settings.CACHES = CACHES  # as the product counts
    caches["default"].clear()
    statuses = {client.get(URL, {"key": f"1-{'a' * 43}"}).status_code for _try in range(40)}
    assert statuses == {410, 429}
    event = AuditEvent.objects.get(action="sign_in_limited")
    assert event.details == {"method": "GET", "path": URL}
    caches["default"].clear()


def test_sessions_of_the_account_end_with_the_link(anna: User, key: str) -> None:
    Client().force_login(anna)
    assert Session.objects.filter(user=anna).exists()
    redeem(key, NEW, Actor("x"))
    assert not Session.objects.filter(user=anna).exists()
    assert not SignInLink.objects.exists()
    assert User.objects.get(pk=anna.pk).check_password(NEW)
    assert not User.objects.get(pk=anna.pk).check_password(PASSWORD)
