"""Which groups of the provider mean which roles here: OIDC_ROLE_MAP. Pure, but for the projects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dashboard.accounts.access import Role

ALL_PROJECTS = "all"


@dataclass(frozen=True, slots=True)
class Mapped:
    """One entry: who is in the group has the role.

    Attributes:
        group: as the provider names it.
        role: what it means here.
        project: where, as `manage.py grant --project` has it; "all" for all projects.
    """

    group: str
    role: Role
    project: str


class GroupsUnknown(Exception):
    """The provider does not say which groups somebody is in."""


def parse_role_map(entries: Iterable[str]) -> list[Mapped]:
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
        found.append(Mapped(group.strip(), Role(role.strip()), project.strip()))
    return found


def groups_of(claims: Mapping[str, Any], name: str) -> frozenset[str]:
    """The groups in an ID token.

    Args:
        claims: of the token.
        name: of the claim; with dots the way into an object, as in realm_access.roles.

    Raises:
        GroupsUnknown: the provider left them out because there are too many (Entra ID does).
    """
    elsewhere = claims.get("_claim_names")
    if isinstance(elsewhere, Mapping) and name in elsewhere:
        raise GroupsUnknown
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
