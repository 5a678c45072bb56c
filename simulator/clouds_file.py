"""Generate a clouds.yaml for openstacksdk that points to the simulator."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from .identity import AGENCY, AGENCY_DOMAIN, DOMAIN, Credentials
from .state import SimulatedProject

HEADER = "# Written by the CSS simulator at each start: a stand-in cloud, not a real one.\n"
KINDS = ("password", "application_credential", "access_key", "temporary_key", "agency")
APPLICATION, KEY, TEMPORARY_KEY, AGENCY_KIND = KINDS[1:]
# The dashboard accepts plain HTTP to other hosts only if the entry allows it.
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def text(
    auth_url: str,
    credentials: Credentials,
    projects: tuple[SimulatedProject, ...],
    kind: str = "password",
) -> str:
    """Return the content of clouds.yaml.

    The first project's cloud is named `demo`, the others `demo-<last part of the region>`. An
    application credential belongs to one project, so with it there is only `demo`.

    Args:
        auth_url: of the identity service.
        credentials: what the entries sign in with.
        projects: one entry each.
        kind: of the credentials, one of KINDS.

    Raises:
        ValueError: there is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"no kind of credentials: {kind}")
    clouds = {}
    for number, project in enumerate(projects[:1] if kind == APPLICATION else projects):
        name = f"demo-{project.region.rpartition('-')[2]}" if number else "demo"
        common: dict[str, object] = {
            "region_name": project.region,
            "interface": "public",
            "identity_api_version": "3",
        }
        if urlsplit(auth_url).hostname not in LOOPBACK:
            common["plain_http"] = True
        if kind in (KEY, TEMPORARY_KEY):
            clouds[name] = _with_key(auth_url, credentials, project, kind) | common
            continue
        if kind == APPLICATION:
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
        if kind == AGENCY_KIND:
            del auth["project_name"], auth["project_domain_name"]
            auth |= {
                "target_agency_name": AGENCY,
                "target_domain_name": AGENCY_DOMAIN["name"],
                "target_project_name": project.name,
            }
        auth_type = AGENCY_KIND if kind == AGENCY_KIND else "password"
        clouds[name] = {"auth_type": auth_type, "auth": auth, **common}
    return HEADER + yaml.safe_dump({"clouds": clouds}, sort_keys=False)


def _with_key(
    auth_url: str, credentials: Credentials, project: SimulatedProject, kind: str
) -> dict[str, object]:
    key = credentials.key if kind == KEY else credentials.temporary_key
    entry: dict[str, object] = {
        "auth": {"auth_url": auth_url, "project_name": project.name},
        "access_key": key.access,
        "secret_key": key.secret,
    }
    return entry | ({"security_token": key.security_token} if key.security_token else {})


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
