"""The ways to write OIDC_ROLE_MAP, brought into one. Imports nothing: the settings read it."""

from __future__ import annotations

import csv
import json
import re

ROLE_MAP_HINT = (
    "Set OIDC_ROLE_MAP=ops=operator:all,auditors=auditor:all, or write it as JSON: "
    '{"GROUP": "ROLE:PROJECT"}.'
)
# What the parts of an LDAP name begin with: a comma inside such a name ends no entry.
_PART_OF_A_NAME = re.compile(
    r"(?:CN|OU|DC|O|C|L|ST|S|UID|STREET|SERIALNUMBER|E|EMAILADDRESS)\s*=[^:]*", re.IGNORECASE
)


def entries_of(text: str) -> list[str]:
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
