"""What image and docker-compose.yml need to work; `make container-trial` runs them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
OURS = [name for name, service in SERVICES.items() if "build" in service]


def test_the_build_gets_every_file_that_it_copies() -> None:
    copied = re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE, re.M)
    let_in = (ROOT / ".dockerignore").read_text().split()
    assert let_in[0] == "*"
    assert sorted(f"!{name}" for name in copied) == sorted(
        line for line in let_in if line.startswith("!")
    )
    for name in copied:
        assert (ROOT / name).exists(), name


def test_the_image_has_every_folder_that_the_product_reads() -> None:
    from django.conf import settings

    copied = re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE, re.M)
    wanted = ["manage.py", "dashboard", "backups", "simulator"]
    wanted += [Path(str(folder)).name for folder in settings.TEMPLATES[0]["DIRS"]]
    wanted += [Path(str(folder)).name for folder in settings.STATICFILES_DIRS]
    wanted += [Path(str(folder)).name for folder in settings.LOCALE_PATHS]
    assert set(wanted) <= set(copied)


def test_a_settings_file_reaches_every_container_of_ours() -> None:
    for name in OURS:
        if name != "simulator":
            assert SERVICES[name]["env_file"] == [
                {"path": "${ENV_FILE:-.env}", "required": False}
            ], name


def test_what_is_made_at_run_time_is_kept_in_a_volume_of_the_images_user() -> None:
    for name in OURS:
        if name != "simulator":
            assert "data:/data" in SERVICES[name]["volumes"], name
            assert not [mount for mount in SERVICES[name]["tmpfs"] if mount.startswith("/data")]
    # a new volume takes owner and mode of the folder that it is mounted on
    assert "install -d -o dashboard -m 700 /data" in DOCKERFILE
    assert "DATA_DIR=/data" in DOCKERFILE


def test_no_database_is_called_ready_while_its_first_start_makes_it() -> None:
    assert "--host=127.0.0.1" in SERVICES["postgres"]["healthcheck"]["test"]


def test_users_behind_the_proxy_have_addresses_of_their_own() -> None:
    environment = SERVICES["web"]["environment"]
    assert environment["TRUST_X_FORWARDED_PROTO"] == "${TRUST_X_FORWARDED_PROTO:-1}"
    assert environment["TRUSTED_PROXY_COUNT"] == "${TRUSTED_PROXY_COUNT:-1}"


def test_the_demo_shares_no_volume_with_a_production_beside_it() -> None:
    lines = (ROOT / "docker" / "demo.env").read_text().splitlines()
    demo = dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")
    assert demo["COMPOSE_PROJECT_NAME"] == "css-log-backup-demo"
    assert demo["ENV_FILE"] == "docker/demo.env"
