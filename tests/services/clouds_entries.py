"""Changing what clouds.yaml says, for the tests of connections."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from backups.css_api import config


def the_entry() -> tuple[str, str]:
    """The first entry of clouds.yaml with its region."""
    ((name, region), *_rest) = config.list_clouds()
    return name, region


def change_entry(**changes: Any) -> tuple[str, str]:
    """Change the only entry of clouds.yaml; a key with None is removed."""
    document = read_file()
    ((name, entry),) = document["clouds"].items()
    _change(entry, changes)
    write_file(document)
    return name, str(entry.get("region_name", ""))


def add_entry(name: str, **changes: Any) -> tuple[str, str]:
    """Add a copy of the first entry under another name, changed."""
    document = read_file()
    first = next(iter(document["clouds"].values()))
    entry = {**first, "auth": dict(first["auth"])}
    _change(entry, changes)
    document["clouds"][name] = entry
    write_file(document)
    return name, str(entry.get("region_name", ""))


def remove_entry(name: str) -> None:
    """Take an entry out of clouds.yaml."""
    document = read_file()
    del document["clouds"][name]
    write_file(document)


def read_file() -> dict[str, Any]:
    """clouds.yaml as it is."""
    document: dict[str, Any] = yaml.safe_load(_path().read_text())
    return document


def write_file(document: dict[str, Any]) -> None:
    """Replace clouds.yaml."""
    _path().write_text(yaml.safe_dump(document))


def _path() -> Path:
    return Path(os.environ["OS_CLIENT_CONFIG_FILE"])


def _change(entry: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        place = entry["auth"] if key in entry["auth"] else entry
        if value is None:
            place.pop(key)
        else:
            place[key] = value
