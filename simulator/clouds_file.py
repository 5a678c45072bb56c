"""Generate a clouds.yaml for openstacksdk that points to the simulator."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from .identity import DOMAIN, Credentials
from .state import SimulatedProject

HEADER = "# Written by the CSS simulator at each start: a stand-in cloud, not a real one.\n"
# The dashboard accepts plain HTTP to other hosts only if the entry allows it.
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def text(
    auth_url: str,
    credentials: Credentials,
    projects: tuple[SimulatedProject, ...],
    *,
    application_credential: bool = False,
) -> str:
    """Return the content of clouds.yaml.

    The first project's cloud is named `demo`, the others `demo-<last part of the region>`. An
    application credential belongs to one project, so with it there is only `demo`.
    """
    clouds = {}
    for number, project in enumerate(projects[:1] if application_credential else projects):
        name = f"demo-{project.region.rpartition('-')[2]}" if number else "demo"
        common: dict[str, object] = {
            "region_name": project.region,
            "interface": "public",
            "identity_api_version": "3",
        }
        if urlsplit(auth_url).hostname not in LOOPBACK:
            common["plain_http"] = True
        if application_credential:
            auth = {
                "auth_url": auth_url,
                "application_credential_id": credentials.application_credential_id,
                "application_credential_secret": credentials.application_credential_secret,
            }
            clouds[name] = {"auth_type": "v3applicationcredential", "auth": auth, **common}
            continue
        auth = {
            "auth_url": auth_url,
            "username": credentials.username,
            "password": credentials.password,
            "user_domain_name": DOMAIN["name"],
            "project_name": project.name,
            "project_domain_name": DOMAIN["name"],
        }
        clouds[name] = {"auth_type": "password", "auth": auth, **common}
    return HEADER + yaml.safe_dump({"clouds": clouds}, sort_keys=False)


def write(path: Path, content: str) -> None:
    """Replace a file atomically, readable by its owner only.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as handle:
            handle.write(content)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
