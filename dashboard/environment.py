"""Typed readers of the environment, for the files that hold settings."""

from __future__ import annotations

from pathlib import Path

from environs import Env

env = Env()


def secret(name: str, default: str = "") -> str:
    """Read `name`, or the file that `name`_FILE points at."""
    path = env.str(f"{name}_FILE", "")
    return Path(path).read_text().strip() if path else env.str(name, default)
