"""docker-compose.yml as Docker Compose reads it, as far as the file uses its language."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = re.compile(r"\$\$|\$\{(\w+)(?::-([^}]*))?\}")


@dataclass(frozen=True)
class Service:
    """One service, with its variables put in."""

    name: str
    command: list[str]
    environment: dict[str, str]
    depends_on: dict[str, str]
    healthcheck: list[str]
    document: dict[str, Any]


def load(variables: Mapping[str, str]) -> dict[str, Service]:
    """Read the file with the variables of an --env-file or the shell."""
    document = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return {
        name: _service(name, _put_in(service, variables))
        for name, service in document["services"].items()
    }


def _service(name: str, document: dict[str, Any]) -> Service:
    return Service(
        name=name,
        command=[str(word) for word in document.get("command", [])],
        environment={key: str(value) for key, value in document.get("environment", {}).items()},
        depends_on={
            other: needs["condition"] for other, needs in document.get("depends_on", {}).items()
        },
        healthcheck=[str(word) for word in document.get("healthcheck", {}).get("test", [])],
        document=document,
    )


def env_file(name: str) -> dict[str, str]:
    """Read a file of NAME=value lines from docker/."""
    lines = (ROOT / "docker" / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _put_in(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _put_in(each, variables) for key, each in value.items()}
    if isinstance(value, list):
        return [_put_in(each, variables) for each in value]
    if not isinstance(value, str):
        return value

    def replaced(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return variables.get(match[1]) or (match[2] or "")

    return VARIABLE.sub(replaced, value)
