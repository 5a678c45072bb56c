"""Terminal output."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

RULE = "─" * 78
ASCII_RULE = "-" * 78


class StartError(Exception):
    """The instance cannot start. The message states what is wrong and how to fix it."""


def say(text: str) -> None:
    """Write to the terminal; ignore errors, since the terminal might be closed."""
    with contextlib.suppress(OSError, ValueError):
        encoding = sys.stdout.encoding or "ascii"
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        sys.stdout.flush()


def welcome(
    url: str, *, password: str, demo: bool, data_dir: Path, seconds: float, reachable: bool
) -> str:
    """Return the start-up message: how to open, sign in to, configure and stop the instance.

    Args:
        url: URL of the first page.
        password: generated password of the admin account; "" if unknown.
        demo: whether the cloud is simulated.
        data_dir: data folder.
        seconds: time since the start, in seconds.
        reachable: whether other machines can reach the address.
    """
    sign_in = (
        f"user admin, password {password}"
        if password
        else "with your own account (to create one: `.venv/bin/python manage.py createsuperuser`)"
    )
    if demo:
        cloud = [
            "DEMO: a simulated cloud with demo clusters; no real cloud is contacted.",
            "Real cloud: put a clouds.yaml in this folder or ~/.config/openstack/, or set",
            "OS_CLIENT_CONFIG_FILE to its path, and start again.",
        ]
    else:
        cloud = ["the clouds of your clouds.yaml or OS_* variables"]
    lines = [
        ("Open", [url]),
        ("Sign in", [sign_in]),
        ("Cloud", cloud),
        ("Data", [f"{data_dir} (logs in {data_dir / 'logs'})"]),
        ("Stop", [f"Ctrl-C    (ready after {seconds:.1f} s)"]),
    ]
    if reachable:
        lines.append(("Note", ["other machines can reach it by plain HTTP: see docs/settings.md"]))
    rows = [
        f"  {title if not number else '':<9}{text}"
        for title, texts in lines
        for number, text in enumerate(texts)
    ]
    head = "  CSS Log Backup Dashboard is running"
    unicode_terminal = (sys.stdout.encoding or "").lower().startswith("utf")
    rule = RULE if unicode_terminal else ASCII_RULE
    return "\n".join([rule, head, "", *rows, rule])
