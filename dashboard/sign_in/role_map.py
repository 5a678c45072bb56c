"""OIDC_ROLE_MAP: roles for the groups of the provider. Pure: the settings import it."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dashboard.accounts.roles import Role

ALL_PROJECTS = "all"
ROLE_MAP_HINT = (
    "Set OIDC_ROLE_MAP=ops=operator:all,auditors=auditor:all, or write it as JSON: "
    '{"GROUP": "ROLE:PROJECT"}.'
)
# The parts of an LDAP name: a comma within such a name does not separate entries.
_PART_OF_A_NAME = re.compile(
    r"(?:CN|OU|DC|O|C|L|ST|S|UID|STREET|SERIALNUMBER|E|EMAILADDRESS)\s*=[^:]*", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class RoleMapping:
    """One entry: members of the group have the role.

    Attributes:
        group: its name at the provider.
        role: the role.
        project: as in `manage.py grant --project`; "all" for all projects.
    """

    group: str
    role: Role
    project: str


class GroupsOmitted(Exception):
    """The provider left the groups out of the claims."""


def parse_role_map(entries: Iterable[str]) -> list[RoleMapping]:
    """Parse the entries of OIDC_ROLE_MAP.

    Args:
        entries: each as GROUP=ROLE:PROJECT; a group may contain "=" and ":".

    Raises:
        ValueError: an entry does not have this form, or its role is unknown.
    """
    found = []
    for entry in entries:
        group, equals, meaning = entry.strip().rpartition("=")
        role, colon, project = meaning.partition(":")
        if not (group.strip() and equals and colon and project.strip()):
            raise ValueError(f"{entry!r} is not GROUP=ROLE:PROJECT")
        if role.strip() not in Role.values:
            raise ValueError(f"{entry!r} has no known role: {', '.join(Role.values)}")
        found.append(RoleMapping(group.strip(), Role(role.strip()), project.strip()))
    return found


def groups_of(claims: Mapping[str, Any], name: str) -> frozenset[str]:
    """Return the groups in the claims of an ID token.

    Args:
        claims: the claims.
        name: the name of the claim, or a path with dots, as in realm_access.roles.

    Raises:
        GroupsOmitted: the provider left them out because there are too many, as Entra ID does.
    """
    elsewhere = claims.get("_claim_names")
    if isinstance(elsewhere, Mapping) and name in elsewhere:
        raise GroupsOmitted
    value: Any = claims
    for part in [name] if name in claims else name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, str):
        return frozenset({value})
    if isinstance(value, list):
        return frozenset(each for each in value if isinstance(each, str))
    return frozenset()


def has_groups(claims: Mapping[str, Any], name: str) -> bool:
    """Return whether the claims contain the groups, their object, or a reference to them."""
    return any(each in claims for each in (name, name.partition(".")[0], "_claim_names"))


def split_role_map(text: str) -> list[str]:
    """Split OIDC_ROLE_MAP into entries of the form GROUP=ROLE:PROJECT.

    Args:
        text: entries separated by commas or line breaks, whose groups may be LDAP names or quoted;
            or a JSON object of groups, each with ROLE:PROJECT or a list of these.

    Raises:
        ValueError: the text has neither form; the message is a clause without a full stop.
    """
    if text.lstrip()[:1] in ("{", "["):
        return _of_json(text)
    lines = [line for line in text.splitlines() if line.strip() and line.lstrip()[0] != "#"]
    found = []
    for line in lines:
        name: list[str] = []
        for piece in next(csv.reader([line], skipinitialspace=True)):
            if not (part := piece.strip()):
                continue
            name.append(part)
            if not _PART_OF_A_NAME.fullmatch(part):  # the last part is followed by the role
                found.append(",".join(name))
                name = []
        if name:
            raise ValueError(f"{','.join(name)!r} is not GROUP=ROLE:PROJECT")
    return found


def _of_json(text: str) -> list[str]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it starts like JSON but is not valid JSON") from None
    if not isinstance(data, dict):
        raise ValueError('the JSON must be an object: {"GROUP": "ROLE:PROJECT"}')
    found = []
    for group, meanings in data.items():
        for meaning in meanings if isinstance(meanings, list) else [meanings]:
            if not isinstance(meaning, str) or "=" in meaning:
                raise ValueError(f"{group!r} needs ROLE:PROJECT or a list of these")
            found.append(f"{group}={meaning}")
    return found
