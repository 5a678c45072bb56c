"""Sign-in with a password. Failed attempts reveal nothing."""

from __future__ import annotations

import re
import statistics
import time
from typing import Any

import pytest
from django.test import Client
from django.urls import NoReverseMatch, reverse

from dashboard.accounts.models import Session, User
from tests.sign_in.conftest import PASSWORD, MakeClient, events, is_signed_in, sign_in, text_of

WRONG = "The user name or password is incorrect."
# what differs between two answers of the same kind: the CSRF token and the time
TOKEN = re.compile(r'"[A-Za-z0-9]{64}"|data-now="\d+"|<span id="printed-at">.*?</span>', re.DOTALL)


def test_the_right_password_leads_to_the_home_page(client: Client, anna: User) -> None:
    answer = sign_in(client)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")
    assert is_signed_in(client)
    assert [event.details for event in events("sign_in")] == [{"by": ["password"]}]


def test_an_unknown_name_and_a_wrong_password_get_the_same_answer(
    client: Client, anna: User
) -> None:
    wrong = sign_in(client, "anna", "not hers")
    unknown = sign_in(client, "anne", "not hers")
    assert wrong.status_code == unknown.status_code == 200
    pages = [
        TOKEN.sub("", text_of(answer).replace(name, "NAME"))
        for answer, name in ((wrong, "anna"), (unknown, "anne"))
    ]
    assert WRONG in pages[0]
    assert pages[0] == pages[1]
    assert not is_signed_in(client)


def test_an_account_that_is_switched_off_gets_that_answer_too(client: Client, anna: User) -> None:
    User.objects.filter(pk=anna.pk).update(is_active=False)
    off = sign_in(client, "anna", PASSWORD)
    unknown = sign_in(client, "anne", PASSWORD)
    assert off.status_code == unknown.status_code == 200
    assert WRONG in text_of(off)
    assert TOKEN.sub("", text_of(off)) == TOKEN.sub("", text_of(unknown).replace("anne", "anna"))
    assert not is_signed_in(client)
    assert events("sign_in_failed")[0].details == {"account_active": False}


def test_the_time_does_not_tell_whether_there_is_such_an_account(anna: User, settings: Any) -> None:
    """The password is always hashed, and hashing takes most of the time."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    settings.ACCOUNT_RATE_LIMITS = False
    anna.set_password(PASSWORD)
    anna.save()
    off = User.objects.create_user("off", password=PASSWORD, is_active=False)
    none = User.objects.create_user("none")
    none.set_unusable_password()
    none.save()

    def seconds(name: str) -> float:
        begun = time.process_time()
        assert sign_in(Client(), name, "not the one").status_code == 200
        return time.process_time() - begun

    seconds("anna")
    # alternating, so that load on the machine affects all of them
    taken: dict[str, list[float]] = {name: [] for name in ("anna", "nobody", off.username, "none")}
    for _ in range(5):
        for name in taken:
            taken[name].append(seconds(name))
    middle = {name: statistics.median(each) for name, each in taken.items()}
    assert middle["anna"] > 0.05, "hashing takes no time here: this test could not fail"
    for name in ("nobody", "off", "none"):
        assert 0.6 < middle[name] / middle["anna"] < 1.67, middle


def test_a_name_of_another_case_is_another_name(client: Client, anna: User) -> None:
    assert sign_in(client, "ANNA").status_code == 200
    assert not is_signed_in(client)


@pytest.mark.parametrize("password", ["", " " + PASSWORD, PASSWORD + " ", PASSWORD.upper()])
def test_a_password_counts_letter_for_letter(client: Client, anna: User, password: str) -> None:
    assert sign_in(client, "anna", password).status_code == 200
    assert not is_signed_in(client)


@pytest.mark.parametrize("name", ["account_signup", "account_reset_password", "account_email"])
def test_there_is_no_page_to_sign_up_or_to_reset_a_password(name: str) -> None:
    with pytest.raises(NoReverseMatch):
        reverse(name)


@pytest.mark.parametrize(
    "path",
    [
        *("/sign-up/", "/signup/", "/accounts/signup/", "/accounts/login/", "/register/"),
        *("/accounts/social/signup/", "/accounts/3rdparty/signup/", "/account/email/"),
        *("/oidc/x/login/", "/sign-in/provider/x/", "/accounts/password/reset/"),
    ],
)
def test_no_other_address_makes_an_account(client: Client, db: None, path: str) -> None:
    client.force_login(User.objects.create_user("somebody"))
    data = {"username": "new", "password1": PASSWORD, "password2": PASSWORD, "email": "a@b.example"}
    assert client.post(path, data).status_code == 404
    assert not User.objects.filter(username="new").exists()


def test_a_session_that_was_planted_is_another_one_after_the_sign_in(
    client: Client, anna: User
) -> None:
    """The session id from before the sign-in is not valid afterwards."""
    client.get(reverse("login"))
    session = client.session
    session["planted"] = "by somebody"
    session.save()
    planted = session.session_key
    sign_in(client)
    assert client.session.session_key != planted
    assert is_signed_in(client)
    assert not Session.objects.filter(session_key=planted).exists()
    other = Client()
    other.cookies["sessionid"] = planted
    assert not is_signed_in(other)


def test_nothing_of_somebody_else_is_left_in_a_session(
    client: Client, anna: User, root: User
) -> None:
    sign_in(client, "root")
    session = client.session
    session["of"] = "root"
    session.save()
    client.logout()
    sign_in(client, "anna")
    assert "of" not in client.session


@pytest.mark.parametrize(
    ("wanted", "leads_to"),
    [
        ("/history/?state=failed", "/history/?state=failed"),
        ("http://testserver/clusters/", "http://testserver/clusters/"),
        ("https://evil.example/", "/"),
        ("//evil.example/clusters/", "/"),
        ("/\\evil.example", "/"),
        ("http://testserver.evil.example/", "/"),
        ("http://testserver@evil.example/", "/"),
        ("http:///evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("data:text/html,x", "/"),
        ("", "/"),
    ],
)
def test_next_leads_to_a_page_of_this_host_only(
    client: Client, anna: User, wanted: str, leads_to: str
) -> None:
    assert sign_in(client, next=wanted).headers["Location"] == leads_to


def test_next_in_the_address_counts_like_the_one_in_the_form(client: Client, anna: User) -> None:
    data = {"username": "anna", "password": PASSWORD}
    answer = client.post("/sign-in/?next=https://evil.example/", data)
    assert answer.headers["Location"] == "/"


def test_next_does_not_lead_from_https_to_http(client: Client, anna: User) -> None:
    data = {"username": "anna", "password": PASSWORD, "next": "http://testserver/clusters/"}
    assert client.post(reverse("login"), data, secure=True).headers["Location"] == "/"


def test_who_is_signed_in_is_led_on(anna: User, client_of: MakeClient) -> None:
    client = client_of(anna)
    answer = client.get(reverse("login"))
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")


def test_the_password_is_in_no_page_and_no_event(client: Client, anna: User) -> None:
    page = text_of(sign_in(client, "anna", "a secret mistake"))
    assert "a secret mistake" not in page
    assert "a secret mistake" not in str([vars(event) for event in events()])


def test_a_page_of_the_sign_in_is_not_kept_by_browsers_and_proxies(client: Client) -> None:
    assert "no-store" in client.get(reverse("login")).headers["Cache-Control"]


def test_an_account_that_is_switched_off_is_signed_out(anna: User, client_of: MakeClient) -> None:
    client = client_of(anna)
    assert is_signed_in(client)
    User.objects.filter(pk=anna.pk).update(is_active=False)
    assert not is_signed_in(client)


@pytest.mark.parametrize(
    "weak", ["short", "1234567890123", "password123", "Petersen1", "qwertyuiop"]
)
def test_a_weak_password_is_not_taken(anna: User, client_of: MakeClient, weak: str) -> None:
    User.objects.filter(pk=anna.pk).update(last_name="petersen")
    client = client_of(anna)
    data = {"oldpassword": PASSWORD, "password1": weak, "password2": weak}
    assert client.post(reverse("account_change_password"), data).status_code == 200
    anna.refresh_from_db()
    assert anna.check_password(PASSWORD)


def test_pages_of_accounts_ask_for_the_same_sign_in(client: Client, root: User) -> None:
    """Nothing but the sign-in page takes a password: a form without limits would not."""
    answer = client.get("/settings/access/accounts/")
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/sign-in/")
    data = {"username": "root", "password": PASSWORD}
    assert client.post("/settings/access/accounts/", data).status_code == 302
    assert client.post("/admin/login/", data).status_code == 404
    assert not is_signed_in(client)
