"""How an entry of clouds.yaml signs in: with a keystoneauth plugin, an access key or an agency."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from dashboard.http.redact import Secret, one_line

from .errors import ConfigurationError
from .signing import AccessKey, Scheme

AGENCY = "agency"
ACCESS_KEY = "access_key"
_NAMES = {
    "access": ("access_key", "ak"),
    "secret": ("secret_key", "sk"),
    "token": ("security_token",),
}
_VARIABLES = {
    "access": "OS_ACCESS_KEY",
    "secret": "OS_SECRET_KEY",
    "token": "OS_SECURITY_TOKEN",
}
# Keys of an access key, wherever they stand in an entry.
KEY_NAMES = frozenset(name for names in _NAMES.values() for name in names)
LIFTED_NAMES = KEY_NAMES | {"signing_scheme"}
# With one of these in `auth` an entry signs in by itself. An access key beside it is for other
# services, as in entries for OTC's own tools.
_OWN_CREDENTIALS = (
    "password", "token", "passcode", "application_credential_id", "application_credential_name",
)  # fmt: skip
_ACCESS = re.compile(r"[A-Za-z0-9_-]{8,128}")
_PRINTABLE = re.compile(r"[\x21-\x7e]{8,32768}")
# The variables name no entry, so they count only for one that names no user either.
_USERS = ("username", "user_name", "user_id")


def signs_with_key(entry: Mapping[str, Any]) -> bool:
    """Whether requests are signed with an access key instead of carrying a token.

    Args:
        entry: as it is written, with its profile: without the default auth_type.
    """
    if entry.get("auth_type"):
        return bool(entry["auth_type"] == ACCESS_KEY)
    auth = _auth(entry)
    if any(auth.get(name) or entry.get(name) for name in _OWN_CREDENTIALS):
        return False
    if KEY_NAMES & {name for name in (*auth, *entry) if auth.get(name) or entry.get(name)}:
        return True
    named = any(auth.get(name) or entry.get(name) for name in _USERS)
    return not named and any(os.environ.get(name) for name in _VARIABLES.values())


def access_key_of(config: Mapping[str, Any], cloud: str) -> AccessKey:
    """The access key of an entry that `signs_with_key`, completed by OS_ACCESS_KEY and the like.

    Args:
        config: the entry.
        cloud: its name.

    Raises:
        ConfigurationError: a part is missing or not valid; names entry and key.
    """
    found = {part: _value(config, names) for part, names in _NAMES.items()}
    if not found["access"]:  # a token belongs to its key
        found["token"] = found["token"] or os.environ.get(_VARIABLES["token"], "").strip()
    for part in ("access", "secret"):
        found[part] = found[part] or os.environ.get(_VARIABLES[part], "").strip()
    for part, other in (("access", "secret"), ("secret", "access")):
        if not found[part]:
            name, beside = _NAMES[part][0], _NAMES[other][0]
            raise _problem(
                cloud,
                f"{name} is missing beside {beside}: both are in the file that the cloud's console"
                " gives when an access key is created; put it into secure.yaml, or into"
                f" {_VARIABLES[part]}",
            )
    for part, pattern in (("access", _ACCESS), ("secret", _PRINTABLE), ("token", _PRINTABLE)):
        if found[part] and not pattern.fullmatch(found[part]):
            # without the value, which is or may be a secret
            raise _problem(
                cloud,
                f"{_NAMES[part][0]} is not valid: copy it again, complete and without spaces",
            )
    scheme = str(config.get("signing_scheme") or Scheme.A).strip().upper()
    if scheme not in list(Scheme):
        raise _problem(cloud, "signing_scheme is neither A nor B: leave it out for A")
    return AccessKey(
        Secret(found["access"]),
        Secret(found["secret"]),
        Secret(found["token"]) if found["token"] else None,
        Scheme(scheme),
    )


def require_key_place(config: Mapping[str, Any], endpoint: str, cloud: str) -> None:
    """Check that an entry with an access key says which project, and where.

    Args:
        config: the entry.
        endpoint: its `css_endpoint_override`, "" without one.
        cloud: its name.

    Raises:
        ConfigurationError: names what is missing.
    """
    auth = _auth(config)
    if not auth.get("auth_url") and not (endpoint and auth.get("project_id")):
        raise _problem(
            cloud,
            "auth_url is missing: set it (such as https://iam.eu-de.otc.t-systems.com/v3), or both"
            " css_endpoint_override and project_id, which do without the identity service",
        )
    if not auth.get("project_id") and not auth.get("project_name"):
        raise _problem(
            cloud,
            "an access key is for no project by itself: set project_name (a region's own project"
            " has its name, such as eu-de) or project_id",
        )


def require_password(config: Mapping[str, Any], cloud: str) -> None:
    """Reject an entry that signs in with a password and has none, before anything is sent.

    Raises:
        ConfigurationError: `auth` of the entry has no password.
    """
    if config.get("auth_type") not in ("password", "v3password", AGENCY):
        return
    if _auth(config).get("password"):
        return
    if _value(config, _NAMES["access"]) or _value(config, _NAMES["secret"]):
        raise _problem(
            cloud,
            f"password is missing, and auth_type is {config['auth_type']}: add the password, or"
            " remove auth_type so that requests are signed with the access key",
        )
    raise _problem(cloud, "password is missing")


def agency_plugin(config: Mapping[str, Any], cloud: str) -> Any:
    """The plugin that signs in with a password and then assumes the entry's agency.

    Args:
        config: the entry, with the keys of python-otcextensions' plugin of the same name.
        cloud: its name.

    Raises:
        ConfigurationError: a key is missing.
    """
    from .agency import Agency

    auth = _auth(config)
    missing = [
        name
        for name, filled in (
            ("auth_url", auth.get("auth_url")),
            ("username", _either(auth, "username", "user_id")),
            ("user_domain_name", _either(auth, "user_domain_name", "user_domain_id", "user_id")),
            ("password", auth.get("password")),
            ("target_agency_name", auth.get("target_agency_name")),
            ("target_domain_name", _either(auth, "target_domain_name", "target_domain_id")),
            ("target_project_name", _either(auth, "target_project_name", "target_project_id")),
        )
        if not filled
    ]
    if missing:
        raise _problem(cloud, f"auth_type agency needs {', '.join(missing)} in auth as well")
    return Agency(auth)


def _either(auth: Mapping[str, Any], *names: str) -> bool:
    return any(auth.get(name) for name in names)


def _auth(config: Mapping[str, Any]) -> Mapping[str, Any]:
    auth = config.get("auth")
    return auth if isinstance(auth, Mapping) else {}


def _value(config: Mapping[str, Any], names: tuple[str, ...]) -> str:
    places = (config, _auth(config))
    found = (place.get(name) for place in places for name in names)
    return next((str(value).strip() for value in found if value), "")


def _problem(cloud: str, text: str) -> ConfigurationError:
    return ConfigurationError(one_line(f"cloud '{cloud}': {text}", 500))
