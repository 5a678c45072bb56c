"""Deactivating an account ends its sessions, also if it is activated again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client

from dashboard.accounts.models import Session, User
from tests.sign_in.conftest import is_signed_in

Switch = Callable[[User, bool], None]


def by_saving(user: User, on: bool) -> None:
    user = User.objects.get(pk=user.pk)
    user.is_active = on
    user.save()


def by_saving_one_column(user: User, on: bool) -> None:
    user = User.objects.get(pk=user.pk)
    user.is_active = on
    user.save(update_fields=["is_active"])


def by_a_queryset(user: User, on: bool) -> None:
    User.objects.filter(username=user.username).update(is_active=on)


def by_many_at_once(user: User, on: bool) -> None:
    user.is_active = on
    User.objects.bulk_update([user], ["is_active"])


def on_the_page(user: User, on: bool) -> None:
    root, _made = User.objects.get_or_create(username="root", defaults={"is_superuser": True})
    client = Client()
    client.force_login(root)
    form = {"do": "activate" if on else "deactivate", "confirmed": "1"}
    assert client.post(f"/settings/access/accounts/{user.pk}/", form).status_code == 302


@pytest.mark.parametrize(
    "switch",
    [by_saving, by_saving_one_column, by_a_queryset, by_many_at_once, on_the_page],
)
def test_sessions_do_not_return_with_the_account(db: None, redis_url: str, switch: Switch) -> None:
    anna, ben = User.objects.create_user("anna"), User.objects.create_user("ben")
    hers, his = Client(), Client()
    hers.force_login(anna)
    his.force_login(ben)
    switch(anna, False)
    assert not Session.objects.filter(user=anna).exists()
    switch(anna, True)
    assert User.objects.get(pk=anna.pk).is_active
    assert not is_signed_in(hers)
    assert is_signed_in(his)


def test_one_switched_off_by_sql_ends_with_its_next_request(db: None, redis_url: str) -> None:
    anna = User.objects.create_user("anna")
    hers = Client()
    hers.force_login(anna)

    def switch(on: bool) -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE accounts_user SET is_active = %s WHERE id = %s", [on, anna.pk])

    switch(False)
    assert not is_signed_in(hers)
    switch(True)
    assert not is_signed_in(hers)


def test_an_account_that_is_saved_keeps_its_sessions(db: None, redis_url: str) -> None:
    anna = User.objects.create_user("anna")
    hers = Client()
    hers.force_login(anna)
    anna.first_name = "Anna"
    anna.save()
    assert is_signed_in(hers)
