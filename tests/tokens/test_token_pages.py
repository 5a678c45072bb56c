"""Creating, listing and revoking tokens on their pages."""

from __future__ import annotations

import io
import re
import time
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.audit.models import AuditEvent
from dashboard.tokens.issuing import MAX_ACTIVE
from dashboard.tokens.models import ApiToken, Scope
from tests.grants import give
from tests.tokens_made import Program, expire, token_of

OWN, NEW = "/account/tokens/", "/account/tokens/new/"
ALL = "/settings/access/tokens/"
PASSWORD = "a password of anna"
SHOWN = re.compile(r"csslb_[0-9a-f]{12}_[A-Za-z0-9_-]{43}")


@pytest.fixture
def anna(db: None) -> User:
    return User.objects.create_user("anna", password=PASSWORD)


@pytest.fixture
def web(anna: User) -> Client:
    """A browser in which anna has just signed in with her password."""
    client = Client()
    answer = client.post("/sign-in/", {"username": "anna", "password": PASSWORD})
    assert answer.status_code == 302
    return client


def form(**more: Any) -> dict[str, Any]:
    return {"name": "nightly", "scope": "run", "days": "30", **more}


def facts_of(action: str) -> Any:
    return AuditEvent.objects.get(action=action)


# --- creating


def test_a_token_is_shown_once_and_works(web: Client, anna: User) -> None:
    assert web.get(NEW).status_code == 200
    answer = web.post(NEW, form())
    page = answer.content.decode()
    (text,) = set(SHOWN.findall(page))
    assert "The token is shown only once." in page
    assert "no-store" in answer.headers["Cache-Control"]
    assert Program(text).get("token").body["name"] == "nightly"
    for path in (OWN, NEW, "/account/", "/audit/"):
        assert text[20:] not in web.get(path).content.decode()


def test_making_one_is_on_record_without_its_secret(web: Client, anna: User) -> None:
    page = web.post(NEW, form()).content.decode()
    event, token = facts_of("token_created"), ApiToken.objects.get()
    assert (event.actor_name, event.target_label) == ("anna", "anna")
    assert event.details["name"] == "nightly"
    assert event.details["scope"] == "run"
    assert event.details["lookup"] == token.lookup
    (text,) = set(SHOWN.findall(page))
    assert text[20:] not in str(AuditEvent.objects.values_list())


def test_what_is_stored_is_a_digest(web: Client, anna: User) -> None:
    (text,) = set(SHOWN.findall(web.post(NEW, form()).content.decode()))
    secret = text[len("csslb_") + 13 :]
    assert len(secret) == 43
    token = ApiToken.objects.get()
    stored = str({f.attname: getattr(token, f.attname) for f in ApiToken._meta.concrete_fields})
    assert token.lookup in text
    assert secret not in stored
    assert len(token.digest) == 64


def test_two_tokens_have_nothing_in_common(web: Client, anna: User) -> None:
    made = {token_of(anna, name=f"t{number}") for number in range(20)}
    assert len({text[-43:] for text in made}) == len({text[6:18] for text in made}) == 20


def test_it_ends_when_it_was_said_to(web: Client, anna: User, settings: Any) -> None:
    web.post(NEW, form(days="7"))
    token = ApiToken.objects.get()
    assert token.expires_at - token.created_at == timedelta(days=7)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"days": "366"}, "A token can be valid for at most 365 days."),
        ({"days": "0"}, "greater than or equal to 1"),
        ({"days": "9" * 40}, "A token can be valid for at most 365 days."),
        ({"days": "x"}, "Enter a whole number."),
        ({"days": ""}, "This field is required."),
        ({"name": ""}, "This field is required."),
        ({"name": "x" * 81}, "at most 80 characters"),
        ({"name": "a\tb"}, "Use a single line"),
        ({"name": "a\u202eb"}, "Use a single line"),
        ({"name": "a\x00b"}, "Null characters are not allowed."),
        ({"scope": "admin"}, "Select a valid choice"),
    ],
)
def test_what_cannot_be_made_is_said(
    wrong: dict[str, str], text: str, web: Client, anna: User
) -> None:
    answer = web.post(NEW, form(**wrong))
    assert answer.status_code == 422
    assert text in answer.content.decode()
    assert not ApiToken.objects.exists()


def test_the_longest_life_is_a_setting(web: Client, anna: User, settings: Any) -> None:
    settings.API_TOKEN_MAX_DAYS = 10
    assert re.search(r'max="10"\s+value="10"', web.get(NEW).content.decode())
    assert web.post(NEW, form(days="11")).status_code == 422
    assert web.post(NEW, form(days="10")).status_code == 200


def test_a_form_that_is_sent_twice_makes_one_token(web: Client, anna: User) -> None:
    web.post(NEW, form())
    again = web.post(NEW, form())
    assert again.status_code == 422
    assert "You already have a token of this name" in again.content.decode()
    assert ApiToken.objects.count() == 1
    token_of(User.objects.create_user("ben"), name="nightly")  # names are unique for each account


def test_the_name_of_one_that_has_ended_is_free(web: Client, anna: User) -> None:
    web.post(NEW, form())
    expire(anna)
    assert web.post(NEW, form()).status_code == 200
    assert ApiToken.objects.of(anna).active().count() == 1


def test_an_account_has_a_bounded_number_of_tokens(web: Client, anna: User) -> None:
    for number in range(MAX_ACTIVE):
        token_of(anna, name=f"t{number}")
    assert "Revoke one that is not needed" in web.post(NEW, form()).content.decode()
    assert ApiToken.objects.count() == MAX_ACTIVE


# --- requires a recent confirmation


def test_who_signed_in_a_while_ago_shows_again_who_it_is(
    web: Client, anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 30 * 60)
    for answer in (web.get(NEW), web.post(NEW, form())):
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith("/account/confirm/")
    assert not ApiToken.objects.exists()
    wrong = web.post(f"/account/confirm/?next={NEW}", {"password": "x"})
    assert wrong.status_code == 200
    assert not ApiToken.objects.exists()
    web.post(f"/account/confirm/?next={NEW}", {"password": PASSWORD})
    assert web.post(NEW, form(name="another")).status_code == 200


# --- own tokens


def test_the_page_shows_what_one_has_and_when_it_was_used(web: Client, anna: User) -> None:
    program = Program(token_of(anna, Scope.READ, "report"))
    page = web.get(OWN).content.decode()
    assert "report" in page
    assert ">Never</span>" in page
    program.get("token")
    page = web.get(OWN).content.decode()
    assert "127.0.0.1" in page
    assert ">Never</span>" not in page
    token_of(User.objects.create_user("ben"), name="of ben")
    assert "of ben" not in web.get(OWN).content.decode()


def test_revoking_asks_first_and_counts_at_once(web: Client, anna: User) -> None:
    program = Program(token_of(anna, name="nightly"))
    pk = ApiToken.objects.get().pk
    asked = web.post(f"{OWN}{pk}/revoke/")
    assert asked.status_code == 422
    assert "Revoke token?" in asked.content.decode()
    assert program.get("token").status == 200
    done = web.post(f"{OWN}{pk}/revoke/", {"confirmed": "1"}, follow=True)
    assert "Revoked: nightly." in done.content.decode()
    assert program.get("token").status == 401
    event = facts_of("token_revoked")
    assert (event.actor_name, event.target_label) == ("anna", "anna")
    assert event.details["name"] == "nightly"
    again = web.post(f"{OWN}{pk}/revoke/", {"confirmed": "1"}, follow=True)
    assert "Already revoked" in again.content.decode()
    assert AuditEvent.objects.filter(action="token_revoked").count() == 1


def test_nobody_revokes_anothers_token_on_the_own_page(web: Client, anna: User) -> None:
    program = Program(token_of(User.objects.create_user("ben")))
    pk = ApiToken.objects.get().pk
    assert web.post(f"{OWN}{pk}/revoke/", {"confirmed": "1"}).status_code == 404
    assert program.get("token").status == 200


def test_names_are_shown_as_they_are(web: Client, anna: User) -> None:
    give(anna, Role.ADMIN)
    token_of(anna, name="<img src=x>")
    pk = ApiToken.objects.get().pk
    for page in (web.get(OWN), web.get(ALL), web.post(f"{OWN}{pk}/revoke/")):
        text = page.content.decode()
        assert "&lt;img src=x&gt;" in text
        assert "<img src=x>" not in text


def test_who_lacks_a_second_factor_is_sent_to_set_one_up(
    web: Client, anna: User, settings: Any
) -> None:
    give(anna, Role.OPERATOR)
    settings.MFA_REQUIRED_ROLES = ["operator"]
    for answer in (web.get(OWN), web.get(NEW), web.post(NEW, form())):
        assert answer.status_code == 302
        assert answer.headers["Location"] == "/account/second-factor/"
    assert not ApiToken.objects.exists()


# --- password changes


def test_a_new_password_ends_all_tokens_and_says_so_beforehand(web: Client, anna: User) -> None:
    programs = [Program(token_of(anna, name=name)) for name in ("one", "two")]
    page = web.get("/account/password/").content.decode()
    assert "A password change revokes all API tokens of the account." in page
    changed = {"oldpassword": PASSWORD, "password1": "quite another one", "password2": ""}
    web.post("/account/password/", {**changed, "password2": "not the same"})
    assert programs[0].get("token").status == 200
    answer = web.post("/account/password/", {**changed, "password2": "quite another one"})
    assert answer.status_code == 302
    assert [program.get("token").status for program in programs] == [401, 401]
    events = AuditEvent.objects.filter(action="token_revoked")
    assert {event.details["name"] for event in events} == {"one", "two"}
    assert {(event.actor_name, event.details["why"]) for event in events} == {("anna", "password")}
    assert "Revoked by a password change" in web.get(OWN).content.decode()


def test_a_password_that_is_set_on_the_server_ends_them_too(
    anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Program(token_of(anna))
    monkeypatch.setattr("getpass.getpass", lambda *args, **more: "quite another one")
    call_command("changepassword", "anna", stdout=io.StringIO())
    assert program.get("token").status == 401


def test_a_password_that_is_hashed_anew_ends_nothing(anna: User) -> None:
    """Django rehashes at a sign-in after an upgrade; the password is unchanged."""
    program = Program(token_of(anna))
    User.objects.filter(pk=anna.pk).update(password="pbkdf2_sha256$1$c2FsdA$" + "x")
    assert program.get("token").status == 200
    fresh = User.objects.get(pk=anna.pk)
    fresh.set_password(PASSWORD)
    fresh._password = None  # as check_password does when it rehashes
    fresh.save(update_fields=["password"])
    assert program.get("token").status == 200


def test_a_token_survives_a_new_key_of_the_instance(anna: User, settings: Any) -> None:
    program = Program(token_of(anna))
    settings.SECRET_KEY = "another key of the instance, long enough for all that wants one"
    assert program.get("token").status == 200


# --- tokens of all accounts


def test_an_admin_of_all_projects_sees_which_tokens_there_are(web: Client, anna: User) -> None:
    give(anna, Role.ADMIN)
    ben = User.objects.create_user("ben")
    text = token_of(ben, Scope.READ, "report of ben")
    token_of(User.objects.create_user("carla"), name="of carla")
    page = web.get(ALL).content.decode()
    assert "report of ben" in page
    assert text[20:] not in page
    found = web.get(f"{ALL}?q=BEN").content.decode()
    assert "report of ben" in found
    assert "of carla" not in found
    assert ALL in web.get("/settings/access/").content.decode()
    expire(ben)
    assert "report of ben" not in web.get(ALL).content.decode()


def test_an_admin_revokes_the_token_of_another(web: Client, anna: User) -> None:
    give(anna, Role.ADMIN)
    program = Program(token_of(User.objects.create_user("ben"), name="of ben"))
    pk = ApiToken.objects.get().pk
    assert "Revoke token?" in web.post(f"{ALL}{pk}/revoke/").content.decode()
    assert program.get("token").status == 200
    web.post(f"{ALL}{pk}/revoke/", {"confirmed": "1"})
    assert program.get("token").status == 401
    event = facts_of("token_revoked")
    assert (event.actor_name, event.target_label) == ("anna", "ben")


def test_tokens_of_accounts_that_were_switched_off_are_marked(web: Client, anna: User) -> None:
    give(anna, Role.ADMIN)
    ben = User.objects.create_user("ben")
    token_of(ben)
    User.objects.filter(pk=ben.pk).update(is_active=False)
    assert "Account deactivated" in web.get(ALL).content.decode()


def test_the_list_comes_in_pages(web: Client, anna: User) -> None:
    give(anna, Role.ADMIN)
    now = timezone.now()
    ApiToken.objects.bulk_create(
        ApiToken(
            user=anna,
            name=f"t{number}",
            scope="read",
            lookup=f"{number:012}",
            digest="0" * 64,
            expires_at=now + timedelta(days=1),
        )
        for number in range(101)
    )
    assert "Page 1 of 2" in web.get(ALL).content.decode()
    for odd in ("page=x", "page=99", "q=%00", "q=" + "x" * 5000):
        assert web.get(f"{ALL}?{odd}").status_code == 200
