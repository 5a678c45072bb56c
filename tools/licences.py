#!/usr/bin/env python3
"""List the licences of the packages in requirements.txt as Markdown: `make licences`.

The licences come from each package's metadata, so run it in the environment with the packages.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
HEAD = """# Licences

What `requirements.txt` installs, and under which licence by each package's own metadata. Written by
`make licences`; tests and linters (`requirements-dev.txt`) are not shipped.

| Package | Version | Licence |
|---|---|---|
"""


def licence_of(name: str) -> str:
    """The licence of an installed package, or why it is not known."""
    try:
        meta = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return "for another platform or Python: not installed here"
    if expression := meta.get("License-Expression"):
        return expression
    classified = [
        value.rpartition(" :: ")[2]
        for value in meta.get_all("Classifier") or []
        if value.startswith("License :: ") and value != "License :: OSI Approved"
    ]
    text = (meta.get("License") or "").strip().partition("\n")[0]
    return ", ".join(classified) or text[:60] or "not stated"


def main() -> None:
    """Print the page."""
    pinned = PINNED.findall((ROOT / "requirements.txt").read_text())
    rows = [f"| {name} | {version} | {licence_of(name)} |\n" for name, version in pinned]
    sys.stdout.write(HEAD + "".join(rows))


if __name__ == "__main__":
    main()
