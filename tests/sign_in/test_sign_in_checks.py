"""Misconfigured sign-in is reported at startup, with a hint."""

from __future__ import annotations

from typing import Any

import pytest

from dashboard.sign_in.checks import check_sign_in

PROVIDER = {
    "OIDC_ISSUER": "https://login.example.com",
    "OIDC_CLIENT_ID": "css",
    "OIDC_CLIENT_SECRET": "a-secret-of-the-client",
}


def found(settings: Any, **values: Any) -> list[str]:
    for name, value in values.items():
        setattr(settings, name, value)
    messages = check_sign_in()
    assert all(message.hint for message in messages)
    assert PROVIDER["OIDC_CLIENT_SECRET"] not in str(messages)
    return [str(message.id) for message in messages]


@pytest.mark.parametrize(
    "values", [{}, PROVIDER, {**PROVIDER, "OIDC_ISSUER": "http://127.0.0.1:8080/realms/x"}]
)
def test_what_is_right_is_not_told(settings: Any, values: dict[str, Any]) -> None:
    assert found(settings, **values) == []


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"SESSION_MAX_HOURS": 0}, "css.E013"),
        ({"SESSION_IDLE_MINUTES": -1}, "css.E013"),
        ({"SIGN_IN_FAILURES": 0}, "css.E013"),
        ({"MFA_REQUIRED_ROLES": ["admins"]}, "css.E014"),
        ({"OIDC_ISSUER": "https://login.example.com"}, "css.E015"),
        ({**PROVIDER, "OIDC_ISSUER": "http://login.example.com"}, "css.E015"),
        ({**PROVIDER, "OIDC_SCOPES": ["profile"]}, "css.E015"),
        ({**PROVIDER, "OIDC_CA_FILE": "/no/such/file"}, "css.E015"),
        ({"OIDC_ROLE_MAP": ["ops"]}, "css.E016"),
        ({"OIDC_ROLE_MAP": ["ops=operators:all"]}, "css.E016"),
    ],
)
def test_what_cannot_work_is_an_error(settings: Any, values: dict[str, Any], wanted: str) -> None:
    assert found(settings, **values) == [wanted]
