"""OIDC_ROLE_MAP: which groups of the provider mean which roles here. Pure."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dashboard.accounts.roles import Role

ALL_PROJECTS = "all"


@dataclass(frozen=True, slots=True)
class RoleMapping:
    """One entry: who is in the group has the role.

    Attributes:
        group: as the provider names it.
        role: what it means here.
        project: where, as `manage.py grant --project` has it; "all" for all projects.
    """

    group: str
    role: Role
    project: str


class GroupsOmitted(Exception):
    """The provider does not say which groups somebody is in."""


def parse_role_map(entries: Iterable[str]) -> list[RoleMapping]:
    """Read OIDC_ROLE_MAP.

    Args:
        entries: each as GROUP=ROLE:PROJECT; a group may hold "=" and ":".

    Raises:
        ValueError: an entry is not of this form, or names no role; the text says which.
    """
    found = []
    for entry in entries:
        group, equals, meaning = entry.strip().rpartition("=")
        role, colon, project = meaning.partition(":")
        if not (group.strip() and equals and colon and project.strip()):
            raise ValueError(f"{entry!r} is not GROUP=ROLE:PROJECT")
        if role.strip() not in Role.values:
            raise ValueError(f"{entry!r} names no role: {', '.join(Role.values)}")
        found.append(RoleMapping(group.strip(), Role(role.strip()), project.strip()))
    return found


def groups_of(claims: Mapping[str, Any], name: str) -> frozenset[str]:
    """The groups in an ID token.

    Args:
        claims: of the token.
        name: of the claim; with dots the way into an object, as in realm_access.roles.

    Raises:
        GroupsOmitted: the provider left them out because there are too many (Entra ID does).
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
    """Whether the claim, the object that it is in, or a hint where it is, is there at all."""
    return any(each in claims for each in (name, name.partition(".")[0], "_claim_names"))


ROLE_MAP_HINT = (
    "Set OIDC_ROLE_MAP=ops=operator:all,auditors=auditor:all, or write it as JSON: "
    '{"GROUP": "ROLE:PROJECT"}.'
)
# What the parts of an LDAP name begin with: a comma inside such a name ends no entry.
_PART_OF_A_NAME = re.compile(
    r"(?:CN|OU|DC|O|C|L|ST|S|UID|STREET|SERIALNUMBER|E|EMAILADDRESS)\s*=[^:]*", re.IGNORECASE
)


def split_role_map(text: str) -> list[str]:
    """The entries, each as GROUP=ROLE:PROJECT.

    Args:
        text: entries parted by commas or lines, whose groups may be LDAP names or be in quotes; or
            JSON: an object of groups, each with ROLE:PROJECT or a list of these.

    Raises:
        ValueError: the text is none of these; says why in a sentence's part.
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
            if not _PART_OF_A_NAME.fullmatch(part):  # the last part has the role behind it
                found.append(",".join(name))
                name = []
        if name:
            raise ValueError(f"{','.join(name)!r} is not GROUP=ROLE:PROJECT")
    return found


def _of_json(text: str) -> list[str]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it begins as JSON does and is none") from None
    if not isinstance(data, dict):
        raise ValueError('as JSON it is an object: {"GROUP": "ROLE:PROJECT"}')
    found = []
    for group, meanings in data.items():
        for meaning in meanings if isinstance(meanings, list) else [meanings]:
            if not isinstance(meaning, str) or "=" in meaning:
                raise ValueError(f"{group!r} has neither ROLE:PROJECT nor a list of these")
            found.append(f"{group}={meaning}")
    return found
