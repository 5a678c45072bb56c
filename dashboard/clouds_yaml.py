"""Where clouds.yaml and secure.yaml are looked for, without the import of openstacksdk."""

from __future__ import annotations

import os
from pathlib import Path

from .environment import CHECKOUT

FILE_NAMES = tuple(
    f"{stem}.{suffix}" for stem in ("clouds", "secure") for suffix in ("yaml", "yml", "json")
)


def search_path() -> list[Path]:
    """Where clouds.yaml is looked for: openstacksdk's folders, which a test compares, and ours."""
    import platformdirs

    places = platformdirs.PlatformDirs("openstack", "OpenStack", multipath=True)
    folders = [places.user_config_dir, str(Path("~/.config/openstack").expanduser())]
    folders += [*places.site_config_dir.split(os.pathsep), "/etc/openstack"]
    return [Path.cwd(), CHECKOUT, *map(Path, folders)]
