"""Too many attempts: rejected by address and by account, and recorded."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.db import DatabaseCache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from dashboard.accounts.models import User
from dashboard.settings import ACCOUNT_RATE_LIMITS, CACHES
from tests.sign_in.conftest import (
    PASSWORD,
    MakeClient,
    code_of,
    events,
    is_signed_in,
    set_up_app,
    sign_in,
    text_of,
)

FAILURES, TRIES = 5, 30
WRONG = "not hers"


@pytest.fixture(autouse=True)
def _the_shared_table(settings: Any, db: None) -> Iterator[None]:
    """Use the database cache, as the product does."""
    settings.CACHES = CACHES
    assert isinstance(caches["default"], DatabaseCache)
    caches["default"].clear()
    yield
    caches["default"].clear()


def from_(address: int, name: str = "anna", password: str = WRONG, **more: Any) -> Any:
    return sign_in(Client(), name, password, REMOTE_ADDR=f"192.0.2.{address}", **more)


def test_the_limits_are_those_that_the_documentation_names() -> None:
    limits = ACCOUNT_RATE_LIMITS
    assert limits == {
        "login": f"{TRIES}/m/ip",
        "login_failed": f"{2 * FAILURES}/m/ip,{FAILURES}/300s/key",
    }


def test_wrong_passwords_for_an_account_are_limited_wherever_they_come_from(anna: User) -> None:
    answers = [from_(number) for number in range(1, FAILURES + 2)]
    assert [answer.status_code for answer in answers] == [200] * FAILURES + [429]
    assert int(answers[-1].headers["Retry-After"]) == 300
    assert "Too many attempts" in text_of(answers[-1])
    (event,) = events("sign_in_limited")
    assert (event.ip, event.details) == (
        f"192.0.2.{FAILURES + 1}",
        {"method": "POST", "path": "/sign-in/"},
    )


def test_beyond_the_limit_the_right_password_is_refused_too(anna: User) -> None:
    for number in range(1, FAILURES + 1):
        from_(number)
    assert from_(9, password=PASSWORD).status_code == 429
    assert not events("sign_in")


@pytest.mark.parametrize("name", ["ANNA", "Anna", "anna"])
def test_the_limit_of_an_account_has_no_way_around_by_case(anna: User, name: str) -> None:
    for number in range(1, FAILURES + 1):
        from_(number, name="anna")
    assert from_(9, name=name).status_code == 429


def test_the_limit_of_an_account_has_no_way_around_by_the_host_header(
    anna: User, settings: Any
) -> None:
    """The client chooses its port."""
    settings.ALLOWED_HOSTS = ["testserver", "also.example"]
    for number in range(1, FAILURES + 1):
        from_(number, HTTP_HOST=f"testserver:{number}")
    assert from_(9, HTTP_HOST="testserver:99").status_code == 429
    assert from_(10, HTTP_HOST="also.example").status_code == 429


def test_other_accounts_are_not_kept_out(anna: User) -> None:
    User.objects.create_user("berta", password=PASSWORD)
    for number in range(1, FAILURES + 2):
        from_(number)
    assert from_(99, "berta", PASSWORD).status_code == 302


def test_wrong_passwords_from_an_address_are_limited_whatever_the_name(anna: User) -> None:
    answers = [from_(1, name=f"name-{number}").status_code for number in range(2 * FAILURES + 1)]
    assert answers == [200] * 2 * FAILURES + [429]
    assert from_(2, name="name-x").status_code == 200


def test_an_ipv6_address_counts_with_its_network(anna: User) -> None:
    """A host with one address has 2^64 of them."""
    for number in range(2 * FAILURES):
        sign_in(Client(), f"name-{number}", "x", REMOTE_ADDR=f"2001:db8::{number:x}")
    last = sign_in(Client(), "name-x", "x", REMOTE_ADDR="2001:db8::ffff")
    elsewhere = sign_in(Client(), "name-x", "x", REMOTE_ADDR="2001:db8:0:1::1")
    assert (last.status_code, elsewhere.status_code) == (429, 200)


def test_all_tries_from_an_address_are_limited_also_the_right_ones(anna: User) -> None:
    answers = [from_(1, password=PASSWORD).status_code for _ in range(TRIES + 1)]
    assert answers == [302] * TRIES + [429]


def test_looking_at_the_page_is_no_try(anna: User) -> None:
    client = Client(REMOTE_ADDR="192.0.2.1")
    assert {client.get(reverse("login")).status_code for _ in range(TRIES + 5)} == {200}


def test_right_passwords_use_nothing_up(anna: User) -> None:
    for _ in range(FAILURES - 1):
        from_(1)
    for _ in range(3):
        assert from_(1, password=PASSWORD).status_code == 302
    assert from_(1).status_code == 200
    assert from_(1).status_code == 429


def test_a_header_that_the_client_writes_is_no_address(anna: User) -> None:
    for number in range(2 * FAILURES):
        from_(1, name=f"name-{number}", HTTP_X_FORWARDED_FOR=f"198.51.100.{number}")
    assert from_(1, name="x", HTTP_X_FORWARDED_FOR="198.51.100.99").status_code == 429


def test_behind_a_proxy_each_client_has_a_limit_of_its_own(anna: User, settings: Any) -> None:
    settings.TRUSTED_PROXY_COUNT = 1
    for number in range(2 * FAILURES):
        from_(1, name=f"name-{number}", HTTP_X_FORWARDED_FOR="203.0.113.1, 198.51.100.1")
    one = from_(1, name="x", HTTP_X_FORWARDED_FOR="203.0.113.2, 198.51.100.1")
    other = from_(1, name="x", HTTP_X_FORWARDED_FOR="203.0.113.1, 198.51.100.2")
    assert (one.status_code, other.status_code) == (429, 200)


def test_a_flood_is_one_event_a_minute(anna: User) -> None:
    for _ in range(40):
        from_(1)
    assert len(events("sign_in_limited")) == 1


def test_who_is_signed_in_stays_so_while_others_try(anna: User, client_of: MakeClient) -> None:
    client = client_of(anna)
    for number in range(1, FAILURES + 2):
        from_(number)
    assert is_signed_in(client)


def test_wrong_codes_are_limited_wherever_they_come_from(anna: User, client_of: MakeClient) -> None:
    secret = set_up_app(client_of(anna))
    answers = []
    for number in range(1, FAILURES + 2):
        client = Client(REMOTE_ADDR=f"192.0.2.{number}")
        assert sign_in(client).headers["Location"].startswith("/sign-in/code/")
        answers.append(client.post(reverse("mfa_authenticate"), {"code": "000000"}).status_code)
    assert answers == [200] * FAILURES + [429]
    client = Client(REMOTE_ADDR="192.0.2.99")
    sign_in(client)
    right = client.post(reverse("mfa_authenticate"), {"code": code_of(secret, 1)})
    assert right.status_code == 429
    assert not is_signed_in(client)


def test_the_password_that_is_asked_for_again_is_limited(anna: User, client_of: MakeClient) -> None:
    client = client_of(anna)
    answers = [
        client.post(reverse("account_reauthenticate"), {"password": "x"}).status_code
        for _ in range(FAILURES + 1)
    ]
    assert answers == [200] * FAILURES + [429]


def test_the_old_password_of_a_change_is_limited(anna: User, client_of: MakeClient) -> None:
    client = client_of(anna)
    data = {"oldpassword": "x", "password1": "another one 1", "password2": "another one 1"}
    answers = [client.post(reverse("account_change_password"), data).status_code for _ in range(6)]
    assert answers == [200] * 5 + [429]


def test_setting_an_app_up_is_limited(anna: User, client_of: MakeClient) -> None:
    client = client_of(anna)
    client.get(reverse("mfa_activate_totp"))
    answers = [
        client.post(reverse("mfa_activate_totp"), {"code": "000000"}).status_code
        for _ in range(FAILURES + 1)
    ]
    assert answers == [200] * FAILURES + [429]


@pytest.mark.parametrize("hours", [7, 24 * 365])
def test_a_clock_that_was_set_back_keeps_nobody_out_for_hours(
    anna: User, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    for user in "berta", "carla":
        User.objects.create_user(user, password=PASSWORD)
    with monkeypatch.context() as before:
        seconds, now = time.time, timezone.now
        before.setattr(time, "time", lambda: seconds() + hours * 3600)
        before.setattr(timezone, "now", lambda: now() + timedelta(hours=hours))
        for number in range(1, FAILURES + 1):
            from_(number)
            from_(99, name=f"name-{number}")
            from_(99, name=f"other-{number}")
        assert from_(9).status_code == 429
    # the first try after the step meets the old count, and the next one counts anew
    assert from_(9, password=PASSWORD).status_code == 429
    assert from_(9, password=PASSWORD).status_code == 302
    assert from_(99, "berta", PASSWORD).status_code == 302
    for number in range(1, FAILURES + 1):
        assert from_(number, "carla").status_code == 200
    assert from_(8, "carla").status_code == 429


def test_a_try_beyond_the_limit_forgets_none_that_counts(anna: User) -> None:
    for number in range(1, FAILURES + 1):
        from_(number)
    assert {from_(9, password=PASSWORD).status_code for _ in range(5)} == {429}


def test_the_refusal_stands_where_it_cannot_be_recorded(
    anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import DatabaseError

    from dashboard.sign_in import adapters

    def broken(*_args: Any, **_kwargs: Any) -> None:
        raise DatabaseError("away")

    for number in range(1, FAILURES + 1):
        from_(number)
    monkeypatch.setattr(adapters, "record", broken)
    assert from_(9).status_code == 429
