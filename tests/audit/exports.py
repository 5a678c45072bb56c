"""Creating an export, and verifying it as an auditor does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from dashboard.audit.values import canonical

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "verify_audit_export.py"
Items = list[dict[str, Any]]


def check(export: Path, *heads: str, key: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the script as an auditor does: isolated from the checkout."""
    arguments = [word for head in heads for word in ("--head", head)]
    return subprocess.run(
        [
            *(sys.executable, "-I", str(SCRIPT), str(export)),
            *("--key", str(key or export.parent / "key.pem"), *arguments),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def items_of(export: Path) -> Items:
    return [json.loads(line) for line in export.read_text().splitlines()]


def written(path: Path, items: Items) -> Path:
    """Format items as a forger would: in canonical form."""
    path.write_bytes(b"".join(canonical(item) + b"\n" for item in items))
    return path
