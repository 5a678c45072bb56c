"""Choose between a real and the simulated cloud, and prepare the simulator."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from django.conf import settings
from django.utils.module_loading import import_string

from dashboard.environment import CLOUDS_FILE_NAMES, FALSE, TRUE, clean, clouds_search_path
from dashboard.http.errors import ExchangeError

from .console import StartError
from .instance import demo_environment


def demo_wanted(environ: Mapping[str, str]) -> bool:
    """Return True if the simulated cloud is to be used.

    DEMO_CLOUD decides if it is set. Otherwise the demo starts if no cloud is configured.

    Raises:
        StartError: DEMO_CLOUD is not a boolean, or the configuration cannot be read. Falling back
            to the demo would hide a configuration error.
    """
    choice = clean(environ.get("DEMO_CLOUD", "")).lower()
    if choice:
        if choice not in TRUE | FALSE:
            raise StartError(f"DEMO_CLOUD={choice!r} is not 1 or 0")
        return choice in TRUE
    if surely_none(environ):
        return True
    try:
        configured = import_string(settings.CONFIGURED_CLOUDS)()
    except ExchangeError as error:
        raise StartError(f"{error} (or start the demo: `DEMO_CLOUD=1 make run`)") from error
    if not configured and environ.get("OS_CLOUD"):
        raise StartError(f"OS_CLOUD={environ['OS_CLOUD']!r} is not defined in any clouds.yaml")
    return not configured


def surely_none(environ: Mapping[str, str]) -> bool:
    """Return True if openstacksdk has nothing to read; avoids its import, which takes 2 s."""
    named = ["OS_CLIENT_CONFIG_FILE", "OS_CLIENT_SECURE_FILE", "OS_AUTH_URL", "OS_CLOUD"]
    named += ["SNAP_REAL_HOME"]  # moves openstacksdk's search path
    if any(environ.get(name) for name in named):
        return False
    return not any(
        (folder / name).exists() for folder in clouds_search_path() for name in CLOUDS_FILE_NAMES
    )


def environment(environ: Mapping[str, str], clouds_file: Path) -> dict[str, str]:
    """Return the environment for a demo, without the variables that configure a real cloud."""
    kept = {name: value for name, value in environ.items() if not name.startswith("OS_")}
    return {**kept, **demo_environment(clouds_file)}


def simulator_command(folder: Path) -> list[str]:
    """Prepare the simulator's folder and return the command that starts it.

    The simulator reuses its previous port if possible.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "secure.yaml").write_text("{}\n")
    ready_file(folder).unlink(missing_ok=True)
    return [
        *(sys.executable, "-m", "simulator", "--demo"),
        *("--port", str(_kept_port(folder / "port"))),
        *("--clouds-file", str(clouds_file(folder))),
        *("--ready-file", str(ready_file(folder))),
    ]


def clouds_file(folder: Path) -> Path:
    """Return the path of the simulator's clouds.yaml."""
    return folder / "clouds.yaml"


def ready_file(folder: Path) -> Path:
    """Return the path of the file that the simulator writes once it listens.

    At that time clouds.yaml exists as well.
    """
    return folder / "ready.json"


def _kept_port(file: Path) -> int:
    """Return the simulator's previous port if it is free, so that stored URLs stay valid.

    Otherwise choose a free port and record it in `file`.
    """
    try:
        port = int(file.read_text())
        with socket.create_server(("127.0.0.1", port)):
            return port
    except (OSError, ValueError, OverflowError):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = int(probe.getsockname()[1])
    file.write_text(f"{port}\n")
    return port
