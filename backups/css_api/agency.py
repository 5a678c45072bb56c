"""Sign-in through an agency: a user's token is exchanged for one of the project that delegated.

The keys are those of python-otcextensions' keystoneauth plugin `agency`, so one entry works for
both; that package need not be installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keystoneauth1.identity import v3
from keystoneauth1.identity.v3.base import AuthMethod
from keystoneauth1.session import Session


class AssumeRole(AuthMethod):
    """The identity method `assume_role`.

    Args:
        user: signs in the user to whom the agency is delegated.
        agency: name of the agency.
        domain: domain that created it, as `{"domain_name": …}` or `{"domain_id": …}`.
    """

    def __init__(self, user: v3.Password, agency: str, domain: Mapping[str, str]) -> None:
        self._user = user
        self._role = {"xrole_name": agency, **domain}

    def get_auth_data(
        self,
        session: Session,
        auth: v3.Auth,
        headers: dict[str, str],
        request_kwargs: dict[str, object],
    ) -> tuple[str, Mapping[str, object]]:
        """The body's part, after the user has signed in."""
        self._user.invalidate()  # a token of which this one was made may have ended with it
        headers["X-Auth-Token"] = str(self._user.get_token(session))
        return "assume_role", self._role


class Agency(v3.Auth):
    """Signs in with a password, then assumes an agency.

    Args:
        auth: `auth` of an entry that `credentials.agency_plugin` has checked.
    """

    def __init__(self, auth: Mapping[str, Any]) -> None:
        own = ("user_id", "username", "user_domain_id", "user_domain_name", "domain_id",
               "domain_name", "project_id", "project_name", "project_domain_id",
               "project_domain_name")  # fmt: skip
        user = v3.Password(
            auth["auth_url"],
            auth["password"],
            **{name: auth[name] for name in own if auth.get(name)},
        )
        by = "id" if auth.get("target_domain_id") else "name"
        role = AssumeRole(
            user, auth["target_agency_name"], {f"domain_{by}": auth[f"target_domain_{by}"]}
        )
        self._user = user
        super().__init__(
            auth["auth_url"],
            [role],
            project_id=auth.get("target_project_id"),
            project_name=auth.get("target_project_name"),
        )

    @property
    def user_token(self) -> str:
        """The user's own token, "" before the first sign-in; to redact."""
        access = self._user.auth_ref
        return str(access.auth_token) if access is not None else ""
