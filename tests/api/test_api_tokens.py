"""Which tokens count, and what is answered where none does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Group
from django.core.cache import cache
from django.utils import timezone

from backups.models import BackupRun, Cluster
from dashboard.accounts.access import Role
from dashboard.accounts.models import Grant, User
from dashboard.audit.models import AuditEvent
from dashboard.tokens import authentication
from dashboard.tokens.models import ApiToken, Scope, TokenText
from tests.grants import give
from tests.tokens_made import Program, expire, token_of

NONE_GIVEN = 'Bearer realm="css-log-backup"'
NOT_GOOD = 'Bearer realm="css-log-backup", error="invalid_token"'


def last_event() -> AuditEvent:
    event = AuditEvent.objects.order_by("sequence").last()
    assert event is not None
    return event


def test_a_token_says_what_it_is(program: Program) -> None:
    answer = program.get("token")
    assert answer.status == 200
    assert (answer.body["name"], answer.body["account"]) == ("nightly", "anna")
    assert answer.body["scope"] == "run"
    assert answer.body["may"] == {"everywhere": [], "somewhere": ["see", "run", "export"]}
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Request-Id"]


def test_without_a_token_there_is_nothing(db: None) -> None:
    answer = Program().get("clusters")
    assert (answer.status, answer.kind) == (401, "not-authenticated")
    assert answer.headers["WWW-Authenticate"] == NONE_GIVEN
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.body["request_id"] == answer.headers["X-Request-Id"]


def test_a_session_counts_for_nothing(anna: User, cluster: Cluster) -> None:
    program = Program()
    program.client.force_login(anna)
    assert program.get("clusters").status == 401
    assert program.post(f"clusters/{cluster.pk}/backups").status == 401
    assert not BackupRun.objects.exists()


def test_a_token_opens_no_page(program: Program) -> None:
    """It counts below /api/ only: a page would do what a person may."""
    headers = {"Authorization": f"Bearer {program.token}"}
    for path in ("/", "/clusters/", "/account/tokens/", "/history/"):
        answer = program.client.get(path, headers=headers)
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith("/sign-in/")


def test_a_token_does_what_it_may_beside_somebody_elses_session(program: Program) -> None:
    program.client.force_login(User.objects.create_superuser("root"))
    assert program.get("token").body["account"] == "anna"


GARBLED: list[Callable[[str], str]] = [
    lambda token: "",
    lambda token: "Bearer",
    lambda token: "Bearer ",
    lambda token: f"Basic {token}",
    lambda token: token,
    lambda token: f"Bearer {token[:-1]}",
    lambda token: f"Bearer {token}x",
    lambda token: f"Bearer {token[:-1]}{'A' if token[-1] != 'A' else 'B'}",
    lambda token: f"Bearer {token.swapcase()}",
    lambda token: f"Bearer {token[: len('csslb_') + 12]}_{'A' * 43}",
    lambda token: f"Bearer csslb_{'0' * 12}_{token[-43:]}",
    lambda token: f"Bearer {token} {token}",
    lambda token: f"Bearer {token},{token}",
    lambda token: "Bearer " + "x" * 60_000,
    lambda token: "Bearer \u00e4\u00f6\u00fc",
    lambda token: "Bearer %00",
    lambda token: "Bearer csslb_' OR 1=1 --",
]


@pytest.mark.parametrize("garble", GARBLED, ids=range(len(GARBLED)))
def test_what_is_not_the_token_itself_does_not_count(
    garble: Callable[[str], str], program: Program
) -> None:
    answer = program.get("token", Authorization=garble(program.token))
    assert (answer.status, answer.kind) == (401, "not-authenticated")
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="css-log-backup"')
    assert program.token not in str(answer.body)


def test_the_word_bearer_may_be_written_small(program: Program) -> None:
    assert program.get("token", Authorization=f"bearer {program.token}").status == 200


def _revoke(user: User) -> None:
    ApiToken.objects.of(user).update(revoked_at=timezone.now(), revoked_by_name="root")


def _deactivate(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def _delete(user: User) -> None:
    user.delete()


def _new_password(user: User) -> None:
    user.set_password("another password of anna")
    user.save()


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (_revoke, "revoked"),
        (expire, "expired"),
        (_deactivate, "account switched off"),
        (_delete, "unknown"),
        (_new_password, "revoked"),
    ],
)
def test_a_token_that_has_ended_is_refused_and_that_is_on_record(
    end: Callable[[User], Any], why: str, program: Program, anna: User, cluster: Cluster
) -> None:
    assert program.get("clusters").status == 200
    end(anna)
    for _each in range(3):
        for answer in (program.get("clusters"), program.post(f"clusters/{cluster.pk}/backups")):
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"] == NOT_GOOD
    refused = AuditEvent.objects.filter(action="token_refused")
    assert refused.count() == 1, "once a minute, however often it is tried"
    event = refused.get()
    assert event.details["why"] == why
    assert event.details["path"] == "/api/v1/clusters"
    assert event.actor_name == "anonymous"
    if why != "unknown":
        assert event.details["name"] == "nightly"
        assert event.target_label == "anna"
    assert not BackupRun.objects.exists()


def test_somebody_who_tries_too_often_is_told_to_wait(
    program: Program, db: None, settings: Any
) -> None:
    settings.API_TOKEN_FAILURES = 3
    wrong = Program(program.token[:-4] + "AAAA")
    assert [wrong.get("token").status for _ in range(5)] == [401, 401, 401, 429, 429]
    answer = wrong.get("token")
    assert answer.kind == "too-many-failures"
    assert int(answer.headers["Retry-After"]) > 0
    for host, status in (("1", 401), ("2", 401), ("3", 401), ("4", 429)):
        ipv6 = wrong.client.get(
            "/api/v1/token",
            headers={"Authorization": "Bearer x"},
            REMOTE_ADDR=f"2001:db8:0:5::{host}",
        )
        assert ipv6.status_code == status, "addresses of one /64 are one"
    elsewhere = wrong.client.get(
        "/api/v1/token", headers={"Authorization": "Bearer x"}, REMOTE_ADDR="10.9.8.7"
    )
    assert elsewhere.status_code == 401
    assert program.get("token").status == 200, "a token that counts is no try"


def test_the_same_work_is_done_for_a_wrong_name_and_a_wrong_secret(
    program: Program, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    """The time does not tell whether the first half of a token exists."""
    compared = []
    matches = TokenText.matches

    def noted(self: TokenText, digest: str) -> bool:
        compared.append(len(digest))
        return matches(self, digest)

    monkeypatch.setattr(TokenText, "matches", noted)
    cache.set("token-refused:127.0.0.1", True, 60)
    known, secret = program.token[:19], program.token[19:]
    for token in (known + "A" * 43, f"csslb_{'0' * 12}_" + secret):
        with django_assert_num_queries(1):
            assert program.get("token", Authorization=f"Bearer {token}").status == 401
    assert compared == [64, 64]


def test_digests_are_compared_in_constant_time(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def noted(one: str, other: str) -> bool:
        seen.append((one, other))
        return one == other

    monkeypatch.setattr("dashboard.tokens.models.hmac.compare_digest", noted)
    assert program.get("token").status == 200
    assert len(seen) == 1


# --- the account, as it is now


def test_a_role_that_is_gone_is_gone_for_the_token_too(
    program: Program, anna: User, cluster: Cluster
) -> None:
    assert program.get(f"clusters/{cluster.pk}").status == 200
    Grant.objects.filter(user=anna).update(role=Role.VIEWER)
    answer = program.post(f"clusters/{cluster.pk}/backups")
    assert (answer.status, answer.kind) == (403, "not-permitted")
    Grant.objects.filter(user=anna).delete()
    assert program.get(f"clusters/{cluster.pk}").status == 404
    assert program.get("clusters").body["items"] == []


def test_a_role_of_a_group_counts_while_one_is_in_it(
    program: Program, anna: User, hidden: Cluster
) -> None:
    team = Group.objects.create(name="team")
    Grant.objects.create(
        group=team, role=Role.VIEWER, project=hidden.project, granted_by_name="a test"
    )
    assert program.get(f"clusters/{hidden.pk}").status == 404
    anna.groups.add(team)
    assert program.get(f"clusters/{hidden.pk}").status == 200
    anna.groups.clear()
    assert program.get(f"clusters/{hidden.pk}").status == 404


def test_a_403_says_who_can_grant_the_role(cluster: Cluster, anna: User, project: Any) -> None:
    give(User.objects.create_user("carla"), Role.ADMIN, project=project)
    ben = give(User.objects.create_user("ben"), Role.VIEWER, project=project)
    answer = Program(token_of(ben)).post(f"clusters/{cluster.pk}/backups")
    assert answer.status == 403
    assert answer.body["grantors"] == ["carla"]
    assert answer.body["permission"] == "run"
    event = last_event()
    assert (event.action, event.actor_name) == ("access_denied", "ben")
    assert event.details["program"].startswith("run of ben (")


def test_a_token_that_may_read_runs_nothing_whatever_its_account_may(cluster: Cluster) -> None:
    root = User.objects.create_superuser("root")
    answer = Program(token_of(root, Scope.READ)).post(f"clusters/{cluster.pk}/backups")
    assert (answer.status, answer.kind, answer.body["scope"]) == (403, "out-of-scope", "run")
    assert 'error="insufficient_scope", scope="run"' in answer.headers["WWW-Authenticate"]
    assert not BackupRun.objects.exists()
    assert last_event().action == "access_denied"


def test_a_scope_narrows_what_the_account_may_everywhere_in_the_request(anna: User) -> None:
    """Also where a view forgot to ask for the scope."""
    from django.test import RequestFactory

    from dashboard.accounts.access import Permission, may

    root = User.objects.create_superuser("root")
    for scope in Scope:
        text = token_of(root, scope)
        request = RequestFactory().get("/", headers={"Authorization": f"Bearer {text}"})
        authentication.authenticate(request)
        assert request.user == root
        held = {each for each in Permission if may(request.user, each)}
        assert held == scope.permissions
        assert Permission.MEMBERS not in held
    assert may(root, Permission.MEMBERS), "the account itself keeps what it has"


def test_a_role_that_needs_a_second_factor_needs_it_for_tokens(
    program: Program, anna: User, settings: Any
) -> None:
    settings.MFA_REQUIRED_ROLES = ["operator"]
    answer = program.get("clusters")
    assert (answer.status, answer.kind) == (403, "second-factor-missing")
    assert AuditEvent.objects.get(action="token_refused").details["why"] == "second factor missing"
    Authenticator.objects.create(user=anna, type=Authenticator.Type.TOTP, data={})
    assert program.get("clusters").status == 200
    Authenticator.objects.update(type=Authenticator.Type.RECOVERY_CODES)
    assert program.get("clusters").status == 403


def test_a_second_factor_of_the_provider_counts_for_a_token_made_with_it(
    program: Program, anna: User, settings: Any
) -> None:
    settings.MFA_REQUIRED_ROLES = ["operator"]
    ApiToken.objects.update(second_factor_by_provider=True)
    assert program.get("clusters").status == 200


def test_another_role_needs_no_second_factor(program: Program, settings: Any) -> None:
    settings.MFA_REQUIRED_ROLES = ["admin"]
    assert program.get("clusters").status == 200


# --- last use


def test_the_last_use_is_noted_once_a_minute(
    program: Program, anna: User, django_assert_num_queries: Any
) -> None:
    program.get("token")
    first = ApiToken.objects.get()
    assert first.last_used_at is not None
    assert first.last_used_ip == "127.0.0.1"
    with django_assert_num_queries(2):  # the token with its account, and the account's roles
        program.get("token")
    assert ApiToken.objects.get().last_used_at == first.last_used_at
    earlier = first.last_used_at - authentication.LAST_USED_INTERVAL
    ApiToken.objects.update(last_used_at=earlier)
    program.get("token")
    latest = ApiToken.objects.get().last_used_at
    assert latest is not None
    assert latest > earlier


def test_a_use_that_was_refused_is_no_use(program: Program, anna: User) -> None:
    _revoke(anna)
    program.get("token")
    assert ApiToken.objects.get().last_used_at is None
