"""Commands from docs/containers.md."""

from __future__ import annotations

import re
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "containers.md"


def blocks(heading: str) -> list[str]:
    """The shell blocks below a heading, in order."""
    section = re.split(r"^## ", DOCUMENT.read_text(), flags=re.MULTILINE)
    text = next(part for part in section if part.partition("\n")[0] == heading)
    return re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
