"""An authenticator app as second factor: set up, used, removed."""

from __future__ import annotations

import time
from io import StringIO
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import reverse

from dashboard.accounts.models import User
from tests.sign_in.conftest import (
    PASSWORD,
    SECRET,
    MakeClient,
    code_of,
    events,
    is_signed_in,
    set_up_app,
    sign_in,
    text_of,
)

SECOND_STEP, REMOVAL = reverse("mfa_authenticate"), reverse("mfa_deactivate_totp")


def second_step(code: str) -> tuple[Client, Any]:
    """A browser after the correct password, and the response to a code."""
    client = Client()
    assert sign_in(client).headers["Location"].startswith(SECOND_STEP)
    return client, client.post(SECOND_STEP, {"code": code})


def later(client: Client, seconds: float = 301) -> None:
    """Move the sign-in into the past."""
    session = client.session
    records = session["account_authentication_methods"]
    session["account_authentication_methods"] = [
        {**each, "at": each["at"] - seconds} for each in records
    ]
    session.save()


def test_an_app_is_set_up_with_a_code_that_it_shows(anna: User, client_of: MakeClient) -> None:
    client = client_of(anna)
    page = text_of(client.get(reverse("mfa_activate_totp")))
    assert 'src="data:image/svg+xml;base64,' in page
    secret = set_up_app(client)
    assert len(secret) == 32
    assert "On" in text_of(client.get(reverse("account")))
    added, codes = events("second_factor_added", "recovery_codes_made")
    assert (added.actor_name, added.details) == ("anna", {"kind": "totp"})
    assert codes.details == {"kind": "recovery_codes"}


def test_a_wrong_code_sets_nothing_up(anna: User, client_of: MakeClient) -> None:
    client = client_of(anna)
    client.get(reverse("mfa_activate_totp"))
    assert client.post(reverse("mfa_activate_totp"), {"code": "000000"}).status_code == 200
    assert not Authenticator.objects.exists()


def test_the_password_alone_signs_nobody_in(anna: User, client_of: MakeClient) -> None:
    set_up_app(client_of(anna))
    client = Client()
    answer = sign_in(client, next="/history/")
    assert answer.headers["Location"].startswith(SECOND_STEP)
    assert not is_signed_in(client)
    assert client.get("/").status_code == 302
    assert len(events("sign_in")) == 1, "the one in which the app was set up"


def test_the_password_and_a_code_do(anna: User, client_of: MakeClient) -> None:
    secret = set_up_app(client_of(anna))
    client = Client()
    sign_in(client, next="/history/")
    key = client.session.session_key
    answer = client.post(SECOND_STEP, {"code": code_of(secret, 1)})
    assert answer.headers["Location"] == "/history/"
    assert is_signed_in(client)
    assert client.session.session_key != key
    assert events("sign_in")[-1].details == {"by": ["password", "totp"]}


def test_a_code_without_the_password_is_worth_nothing(anna: User, client_of: MakeClient) -> None:
    secret = set_up_app(client_of(anna))
    client = Client()
    answer = client.post(SECOND_STEP, {"code": code_of(secret, 1)})
    assert answer.headers["Location"] == reverse("login")
    assert not is_signed_in(client)


def test_a_wrong_code_is_an_event(anna: User, client_of: MakeClient) -> None:
    set_up_app(client_of(anna))
    client, answer = second_step("000000")
    assert answer.status_code == 200
    assert not is_signed_in(client)
    (event,) = events("sign_in_failed")
    assert (event.actor_name, event.target_label) == ("anna", "anna")
    assert event.details == {"step": "second factor"}


@pytest.mark.parametrize("steps", [-1, 0, 1])
def test_a_code_counts_once(anna: User, client_of: MakeClient, steps: int) -> None:
    """Also one step early or late, where django-allauth forgets it sooner."""
    secret = set_up_app(client_of(anna), 0 if steps == -1 else -1)
    code = code_of(secret, steps)
    client, first = second_step(code)
    again, second = second_step(code)
    assert (first.status_code, second.status_code) == (302, 200)
    assert is_signed_in(client)
    assert not is_signed_in(again)
    spaced, third = second_step(f"{code[:3]} {code[3:]}")
    assert third.status_code == 200
    assert not is_signed_in(spaced)


def test_a_used_code_is_remembered_until_it_has_run_out(
    anna: User, client_of: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = set_up_app(client_of(anna))
    code = code_of(secret, 1)  # of the next step, valid for at most 90 seconds
    assert second_step(code)[1].status_code == 302
    now = time.time
    for seconds in (31, 59):
        with monkeypatch.context() as patched:
            patched.setattr(time, "time", lambda more=seconds: now() + more)
            assert second_step(code)[1].status_code == 200, seconds


@pytest.mark.parametrize("steps", [-3, 3, 100])
def test_a_code_of_another_time_does_not_fit(anna: User, client_of: MakeClient, steps: int) -> None:
    secret = set_up_app(client_of(anna))
    assert second_step(code_of(secret, steps))[1].status_code == 200


def test_the_second_step_can_be_left(anna: User, client_of: MakeClient) -> None:
    set_up_app(client_of(anna))
    client = Client()
    sign_in(client)
    assert client.post(SECOND_STEP, {"cancel": "1"}).headers["Location"] == reverse("login")
    assert client.get(SECOND_STEP).headers["Location"] == reverse("login")


def test_setting_up_and_removing_want_the_password_again(anna: User, client_of: MakeClient) -> None:
    client = client_of(anna)
    later(client)
    answer = client.get(reverse("mfa_activate_totp"))
    assert answer.headers["Location"].startswith(reverse("account_reauthenticate"))
    assert client.post(answer.headers["Location"], {"password": "x"}).status_code == 200
    assert events("sign_in_failed")
    secret_page = client.get(reverse("mfa_activate_totp"))
    assert secret_page.status_code == 302
    again = client.post(answer.headers["Location"], {"password": PASSWORD})
    assert again.headers["Location"] == reverse("mfa_activate_totp")
    set_up_app(client)
    later(client)
    for method in (client.get, client.post):
        answer = method(REMOVAL)
        assert answer.headers["Location"].startswith(reverse("account_reauthenticate"))
    assert Authenticator.objects.filter(type="totp").exists()


def test_a_code_can_be_asked_for_in_place_of_the_password(
    anna: User, client_of: MakeClient
) -> None:
    client = client_of(anna)
    secret = set_up_app(client)
    later(client)
    page = text_of(client.get(client.get(REMOVAL).headers["Location"]))
    assert reverse("mfa_reauthenticate") in page
    address = f"{reverse('mfa_reauthenticate')}?next={REMOVAL}"
    assert client.post(address, {"code": "000000"}).status_code == 200
    assert events("sign_in_failed")[-1].details == {"step": "confirmation"}
    assert client.post(address, {"code": code_of(secret, 1)}).headers["Location"] == REMOVAL
    assert client.get(REMOVAL).status_code == 200


def test_removing_takes_the_recovery_codes_with_it(anna: User, client_of: MakeClient) -> None:
    client = client_of(anna)
    set_up_app(client)
    assert client.post(REMOVAL).headers["Location"] == reverse("mfa_index")
    assert not Authenticator.objects.exists()
    assert events("second_factor_removed")[0].details == {"kind": "totp"}
    assert sign_in(Client()).headers["Location"] == "/"


def test_the_secret_is_nowhere_in_the_database(anna: User, client_of: MakeClient) -> None:
    secret = set_up_app(client_of(anna))
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT * FROM "{table}"')
            assert secret not in str(cursor.fetchall()), table


def test_the_secret_is_shown_while_it_is_set_up_and_never_again(
    anna: User, client_of: MakeClient
) -> None:
    client = client_of(anna)
    secret = set_up_app(client)
    for name in ("account", "mfa_index", "mfa_deactivate_totp"):
        assert secret not in text_of(client.get(reverse(name)))
    answer = client.get(reverse("mfa_activate_totp"))
    assert answer.headers["Location"] == REMOVAL


def test_another_secret_key_reads_what_the_one_before_wrote(
    anna: User, client_of: MakeClient, settings: Any
) -> None:
    secret = set_up_app(client_of(anna))
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "n" * 50
    client, answer = second_step(code_of(secret, 1))
    assert answer.status_code == 302
    assert is_signed_in(client)


def test_sessions_outlive_the_change_of_the_secret_key(
    anna: User, client_of: MakeClient, settings: Any
) -> None:
    used, listed, forgotten = client_of(anna), client_of(anna), client_of(anna)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "n" * 50
    page = text_of(used.get(reverse("account")))
    assert page.count('class="button quiet" name="session"') == 2, "the others can be ended too"
    assert is_signed_in(listed)
    settings.SECRET_KEY_FALLBACKS = []
    assert is_signed_in(used), "it was signed anew"
    assert not is_signed_in(forgotten)


def test_without_the_old_key_no_code_fits_and_nothing_breaks(
    anna: User, client_of: MakeClient, settings: Any
) -> None:
    secret = set_up_app(client_of(anna))
    settings.SECRET_KEY = "n" * 50
    for code in (code_of(secret, 1), "000000"):
        client, answer = second_step(code)
        assert answer.status_code == 200
        assert not is_signed_in(client)


def test_a_command_removes_what_was_lost(anna: User, client_of: MakeClient) -> None:
    client = client_of(anna)
    set_up_app(client)
    out = StringIO()
    call_command("remove_second_factor", "anna", stdout=out)
    assert out.getvalue() == "removed: recovery_codes, totp\n"
    assert not is_signed_in(client)
    assert sign_in(Client()).headers["Location"] == "/"
    (event,) = events("second_factor_removed")
    assert event.actor_name.endswith("(command line)")
    assert event.target_label == "anna"
    with pytest.raises(CommandError, match="no second factor"):
        call_command("remove_second_factor", "anna")
    with pytest.raises(CommandError, match="no account"):
        call_command("remove_second_factor", "nobody")


def test_each_try_to_set_up_has_a_secret_of_its_own(anna: User, client_of: MakeClient) -> None:
    client = client_of(anna)
    pages = [text_of(client.get(reverse("mfa_activate_totp"))) for _ in range(2)]
    secrets = {found[1] for page in pages if (found := SECRET.search(page))}
    assert len(secrets) == 2


def test_the_code_that_set_the_app_up_signs_nobody_in(anna: User, client_of: MakeClient) -> None:
    browser = client_of(anna)
    page = browser.get(reverse("mfa_activate_totp"))
    found = SECRET.search(page.content.decode())
    assert found
    code = code_of(found[1])
    assert browser.post(reverse("mfa_activate_totp"), {"code": code}).status_code == 302
    for typed in (code, f"{code[:3]} {code[3:]}"):
        client, _answer = second_step(typed)
        assert not is_signed_in(client)
    client, _answer = second_step(code_of(found[1], 1))
    assert is_signed_in(client)
