"""Recovery codes: shown once, each valid for one sign-in."""

from __future__ import annotations

import re
from typing import Any

from allauth.mfa.models import Authenticator
from django.db import connection
from django.test import Client
from django.urls import reverse

from dashboard.accounts.models import User
from tests.sign_in.conftest import (
    MakeClient,
    events,
    is_signed_in,
    set_up_app,
    sign_in,
    text_of,
)

CODES, NEW = reverse("mfa_view_recovery_codes"), reverse("mfa_generate_recovery_codes")
ONE = re.compile(r"^\d{8}$", re.MULTILINE)


def show(client: Client) -> list[str]:
    page = text_of(client.post(CODES))
    return ONE.findall(page.partition('<pre id="codes">')[2].partition("</pre>")[0])


def second_step(code: str) -> tuple[Client, Any]:
    client = Client()
    sign_in(client)
    return client, client.post(reverse("mfa_authenticate"), {"code": code})


def test_they_are_made_with_the_first_factor_and_shown_next(
    anna: User, client_of: MakeClient
) -> None:
    client = client_of(anna)
    client.get(reverse("mfa_activate_totp"))
    set_up_app(client)
    assert "Show the codes" in text_of(client.get(CODES))
    assert len(set(show(client))) == 10


def test_they_are_shown_once(anna: User, client_of: MakeClient) -> None:
    client = client_of(anna)
    set_up_app(client)
    codes = show(client)
    for page in (text_of(client.post(CODES)), text_of(client.get(CODES))):
        assert "cannot be shown again" in page
        assert not [code for code in codes if code in page]


def test_looking_at_the_page_uses_nothing_up(anna: User, client_of: MakeClient) -> None:
    client = client_of(anna)
    set_up_app(client)
    before = list(Authenticator.objects.order_by("pk").values())
    for method in (client.get, client.head):
        page = text_of(method(CODES))
        assert not ONE.search(page)
    assert list(Authenticator.objects.order_by("pk").values()) == before
    assert len(show(client)) == 10


def test_each_signs_in_once(anna: User, client_of: MakeClient) -> None:
    client = client_of(anna)
    set_up_app(client)
    first, second, *_ = show(client)
    one, _answer = second_step(first)
    assert is_signed_in(one)
    assert events("sign_in")[-1].details == {"by": ["password", "recovery_codes"]}
    again, answer = second_step(first)
    assert answer.status_code == 200
    assert not is_signed_in(again)
    other, _answer = second_step(second)
    assert is_signed_in(other)
    assert "8 of 10 codes are left." in text_of(client.get(CODES))


def test_new_ones_make_the_old_ones_worthless(anna: User, client_of: MakeClient) -> None:
    client = client_of(anna)
    set_up_app(client)
    old = show(client)
    assert "The 10 remaining codes stop working." in text_of(client.get(NEW))
    assert client.post(NEW).headers["Location"] == CODES
    new = show(client)
    assert len(new) == 10
    assert not set(old) & set(new)
    stale, answer = second_step(old[0])
    assert answer.status_code == 200
    assert not is_signed_in(stale)
    fresh, _answer = second_step(new[0])
    assert is_signed_in(fresh)
    assert len(events("recovery_codes_made")) == 2


def test_who_has_no_factor_gets_no_codes(anna: User, client_of: MakeClient) -> None:
    client = client_of(anna)
    for path in (CODES, NEW):
        for method in (client.get, client.post):
            assert method(path).headers["Location"] == reverse("mfa_index")
    assert not Authenticator.objects.exists()


def test_those_of_others_are_not_shown(anna: User, root: User, client_of: MakeClient) -> None:
    set_up_app(client_of(root))
    client = client_of(anna)
    set_up_app(client)
    mine = show(client)
    theirs = Authenticator.objects.get(user=root, type="recovery_codes").wrap().get_unused_codes()
    assert not set(mine) & set(theirs)


def test_none_is_in_the_database(anna: User, client_of: MakeClient) -> None:
    client = client_of(anna)
    set_up_app(client)
    codes = show(client)
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT * FROM "{table}"')
            stored = str(cursor.fetchall())
            assert not [code for code in codes if code in stored], table
