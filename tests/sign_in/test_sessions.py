"""Sessions: time limits, the list, and ending them."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from dashboard.accounts.models import Session, User
from dashboard.sign_in.sessions import SESSION_START
from tests.sign_in.conftest import PASSWORD, MakeClient, events, is_signed_in, sign_in, text_of

NEW_PASSWORD = "another horse, another battery"


def handles(client: Client) -> list[str]:
    """Return the handles that the page offers to end."""
    page = text_of(client.get(reverse("account")))
    return re.findall(r'name="session" value="([^"]+)"', page)


def age(client: Client, **seconds: float) -> None:
    """Move the start (`at`) or the last use (`seen`) of a session into the past."""
    session = client.session
    now = time.time()
    session[SESSION_START] = {
        **session[SESSION_START],
        **{key: now - each for key, each in seconds.items()},
    }
    session.save()


def test_one_sees_where_one_is_signed_in(anna: User, client_of: MakeClient) -> None:
    client = client_of(anna, headers={"User-Agent": "Firefox on a desk"}, REMOTE_ADDR="192.0.2.1")
    client_of(anna, headers={"User-Agent": "Safari on a phone"}, REMOTE_ADDR="192.0.2.2")
    page = text_of(client.get(reverse("account")))
    for text in (
        "Firefox on a desk",
        "192.0.2.1",
        "Safari on a phone",
        "192.0.2.2",
        "This session",
    ):
        assert text in page
    assert page.count("This session") == 1


def test_the_sessions_of_others_are_not_shown(
    anna: User, root: User, client_of: MakeClient
) -> None:
    client_of(root, headers={"User-Agent": "Chrome of root"})
    assert "Chrome of root" not in text_of(client_of(anna).get(reverse("account")))


def test_a_key_of_a_session_is_on_no_page(anna: User, client_of: MakeClient) -> None:
    client, other = client_of(anna), client_of(anna)
    page = text_of(client.get(reverse("account")))
    for key in (client.session.session_key, other.session.session_key):
        assert key
        assert key not in page


def test_one_session_can_be_ended(anna: User, client_of: MakeClient) -> None:
    here, lost, third = client_of(anna), client_of(anna), client_of(anna)
    handle = lost.session[SESSION_START]["handle"]
    answer = here.post(reverse("session-end"), {"session": handle})
    assert answer.headers["Location"] == reverse("account")
    assert not is_signed_in(lost)
    assert is_signed_in(here)
    assert is_signed_in(third)
    (event,) = events("session_revoked")
    assert (event.actor_name, event.target_label) == ("anna", "anna")
    assert event.details["ip"] == "127.0.0.1"


def test_all_others_can_be_ended(anna: User, client_of: MakeClient) -> None:
    here, one, two = client_of(anna), client_of(anna), client_of(anna)
    here.post(reverse("session-end"), {"session": "others"})
    assert [is_signed_in(each) for each in (here, one, two)] == [True, False, False]
    assert events("session_revoked")[0].details == {"which": "all others", "sessions": 2}


def test_a_session_of_somebody_else_cannot_be_ended(
    anna: User, root: User, client_of: MakeClient
) -> None:
    other = client_of(root)
    client = client_of(anna)
    for handle in (
        other.session[SESSION_START]["handle"],
        other.session.session_key,
        "",
        "x" * 500,
    ):
        assert client.post(reverse("session-end"), {"session": handle}).status_code == 302
    client.post(reverse("session-end"), {"session": "others"})
    assert is_signed_in(other)
    assert not events("session_revoked")


def test_a_browser_before_the_sign_in_is_nobodys_session(anna: User, client_of: MakeClient) -> None:
    """Its row has an empty handle, which an empty field must not match."""
    visitor = Client()
    session = visitor.session
    session["x"] = 1
    session.save()
    visitor.cookies["sessionid"] = session.session_key
    client_of(anna).post(reverse("session-end"), {"session": ""})
    assert Session.objects.filter(pk=session.session_key).exists()


def test_a_session_that_nobody_uses_ends(anna: User, client_of: MakeClient, settings: Any) -> None:
    client = client_of(anna)
    age(client, seen=59 * 60)
    assert is_signed_in(client)
    age(client, seen=60 * 60)
    answer = client.get("/history/?state=failed", follow=True)
    assert answer.redirect_chain[0][0] == "/sign-in/?next=/history/%3Fstate%3Dfailed"
    assert "60 minutes of inactivity" in text_of(answer)
    assert [event.details for event in events("sign_out")] == [{"why": "idle"}]
    settings.SESSION_IDLE_MINUTES = 0
    assert sign_in(client).status_code == 302
    age(client, seen=3 * 3600)
    assert is_signed_in(client)


def test_a_session_ends_however_it_is_used(anna: User, client_of: MakeClient) -> None:
    client = client_of(anna)
    age(client, at=12 * 3600 - 30)
    assert is_signed_in(client)
    age(client, at=12 * 3600)
    answer = client.get(reverse("account"), follow=True)
    assert "at most 12 hours" in text_of(answer)
    assert [event.details for event in events("sign_out")] == [{"why": "age"}]
    assert not is_signed_in(client)


def test_a_clock_that_is_set_back_ends_no_idle_limit(anna: User, client_of: MakeClient) -> None:
    client = client_of(anna)
    age(client, seen=-7 * 3600, at=-7 * 3600)
    assert is_signed_in(client)
    assert client.session[SESSION_START]["seen"] <= time.time()
    age(client, seen=60 * 60, at=-6 * 3600)
    assert not is_signed_in(client)


def test_a_clock_that_is_set_ahead_has_people_sign_in_again(
    anna: User, client_of: MakeClient
) -> None:
    client = client_of(anna)
    age(client, seen=7 * 3600, at=7 * 3600)
    assert not is_signed_in(client)
    assert is_signed_in(client_of(anna))


def test_what_a_page_asks_for_by_itself_is_no_use(anna: User, client_of: MakeClient) -> None:
    client = client_of(anna)
    age(client, seen=40 * 60)
    before = client.session[SESSION_START]["seen"]
    for name in ("home-live", "clusters-live", "history-live", "connections-live", "exports-live"):
        assert client.get(reverse(f"backups:{name}"), {"shown": "1:x"}).status_code < 400, name
    assert client.session[SESSION_START]["seen"] == before
    age(client, seen=60 * 60)
    assert client.get(reverse("backups:home-live")).status_code == 302


def test_a_click_is_use(anna: User, client_of: MakeClient) -> None:
    client = client_of(anna)
    age(client, seen=40 * 60)
    client.get("/clusters/")
    assert time.time() - client.session[SESSION_START]["seen"] < 30


def test_clicks_of_a_minute_are_written_once(
    anna: User, client_of: MakeClient, django_assert_num_queries: Any
) -> None:
    client = client_of(anna)
    before = client.session[SESSION_START]["seen"]
    client.get("/clusters/")
    client.get("/history/")
    assert client.session[SESSION_START]["seen"] == before


@pytest.mark.parametrize("seconds", [{"seen": 3601.0}, {"at": 12 * 3600 + 1.0}])
def test_a_session_that_has_ended_is_not_listed(
    anna: User, client_of: MakeClient, seconds: dict[str, float]
) -> None:
    here, other = client_of(anna), client_of(anna)
    age(other, **seconds)
    assert len(handles(here)) == 0
    page = text_of(here.get(reverse("account")))
    assert page.count("This session") == 1
    assert "End all other sessions" not in page


def test_a_new_password_ends_all_other_sessions(anna: User, client_of: MakeClient) -> None:
    here, other = client_of(anna), client_of(anna)
    key = here.session.session_key
    data = {"oldpassword": PASSWORD, "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    answer = here.post(reverse("account_change_password"), data)
    assert (answer.status_code, answer.headers["Location"]) == (302, reverse("account"))
    assert is_signed_in(here)
    assert not is_signed_in(other)
    assert here.session.session_key != key, "a stolen id is worth nothing either"
    (event,) = events("password_changed")
    assert (event.actor_name, event.details) == ("anna", {"sessions_ended": 1})
    assert NEW_PASSWORD not in str([vars(each) for each in events()])


def test_a_password_that_an_admin_gives_ends_all_sessions(
    anna: User, client_of: MakeClient
) -> None:
    here = client_of(anna)
    anna.set_password(NEW_PASSWORD)
    anna.save()
    assert not is_signed_in(here)
    assert sign_in(Client()).status_code == 200


def test_a_wrong_old_password_changes_nothing(anna: User, client_of: MakeClient) -> None:
    client = client_of(anna)
    data = {"oldpassword": "x", "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    assert client.post(reverse("account_change_password"), data).status_code == 200
    anna.refresh_from_db()
    assert anna.check_password(PASSWORD)
    assert not events("password_changed")


def test_an_account_without_a_password_is_told_so(db: None) -> None:
    user = User.objects.create_user("of-the-provider")
    client = Client()
    client.force_login(user)
    assert "signs in with the identity provider" in text_of(client.get(reverse("account")))
    answer = client.post(reverse("account_change_password"), {"password1": NEW_PASSWORD})
    assert answer.headers["Location"] == reverse("account")
    user.refresh_from_db()
    assert not user.has_usable_password()


@pytest.mark.parametrize("https", [False, True])
def test_the_cookie_is_for_this_site_and_out_of_reach_of_scripts(
    anna: User, settings: Any, https: bool
) -> None:
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = https
    client = Client()
    client.get(reverse("login"), secure=https)
    client.post(reverse("login"), {"username": "anna", "password": PASSWORD}, secure=https)
    for name in ("sessionid", "csrftoken"):
        cookie = client.cookies[name]
        assert cookie["httponly"] is True, name
        assert cookie["samesite"] == "Lax", name
        assert bool(cookie["secure"]) is https, name
        assert cookie["domain"] == "", name
    assert client.cookies["sessionid"]["max-age"] == 12 * 3600


def test_signing_out_ends_the_session_and_not_the_others(anna: User, client_of: MakeClient) -> None:
    here, other = client_of(anna), client_of(anna)
    key = here.session.session_key
    assert here.get(reverse("logout")).status_code == 405
    assert is_signed_in(here)
    here.post(reverse("logout"))
    assert not is_signed_in(here)
    assert is_signed_in(other)
    assert not Session.objects.filter(pk=key).exists()


def test_expired_sessions_are_cleared_with_a_sign_in(anna: User, client_of: MakeClient) -> None:
    old = client_of(anna).session.session_key
    Session.objects.filter(pk=old).update(expire_date=timezone.now() - timedelta(seconds=1))
    client_of(anna)
    assert not Session.objects.filter(pk=old).exists()


@pytest.mark.parametrize(
    "agent", ["<script>alert(7)</script>", "\u202egnp.exe", "x" * 5_000, "", "\x00\x01"]
)
def test_what_a_browser_calls_itself_is_shown_as_text(
    anna: User, client_of: MakeClient, agent: str
) -> None:
    client_of(anna, headers={"User-Agent": agent})
    page = text_of(client_of(anna).get(reverse("account")))
    assert "<script>alert" not in page
    assert "x" * 301 not in page
