"""Replacements of the official images, built from Debian packages, and the product's image."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SUITE = "bookworm"  # its Python is 3.11, as the Dockerfile's is
PYTHON, POSTGRES, REDIS = (
    f"localhost/{name}" for name in ("python:3.11-slim", "postgres:17", "redis:7")
)
OURS = "localhost/css-log-backup-dashboard"
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
# Options by which this machine's pip finds packages, without folders, which the container lacks.
PIP_OPTIONS = ("index-url", "extra-index-url", "trusted-host", "proxy", "default-timeout")

SERVICES = r"""set -e
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
mkdir -p /etc/postgresql-common
echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install -y --no-install-recommends postgresql redis-server >/dev/null 2>&1
ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/
cd /usr/local/bin
printf '#!/bin/sh\nexec /usr/bin/redis-server "$@" --protected-mode no\n' > redis-server
chmod +x redis-server
"""


def make_bases(work: Path) -> None:
    """Create the images that Dockerfile and docker-compose.yml refer to, if they are missing."""
    if not _exists(PYTHON):
        base = work / "base"
        _debootstrap(base, work / "debootstrap.log")
        changes = ["--change", 'CMD ["python3"]']
        with subprocess.Popen(["tar", "-C", str(base), "-c", "."], stdout=subprocess.PIPE) as tar:
            _run("podman", "import", "-q", *changes, "-", PYTHON, stdin=tar.stdout)
        shutil.rmtree(base)
    if not _exists(REDIS):
        _make_services()


def cannot_run() -> str:
    """Podman's error if it cannot run a container with a network here; "" if it can."""
    command = ["podman", "run", "--rm", "--network", "podman", PYTHON, "python3", "-c", ""]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr.strip()[-500:] if done.returncode else ""


def build(checkout: Path, log: Path) -> int:
    """Build the product's image as `docker compose build` does; return the exit status."""
    bud = ["buildah", "bud", "--layers", "--isolation", "chroot", "--network", "host"]
    with log.open("w") as out:
        return subprocess.run(
            [*bud, "-t", OURS, "."], cwd=checkout, stdout=out, stderr=out, check=False
        ).returncode


def copy_checkout(target: Path) -> None:
    """Copy the current files of this checkout, without those that git ignores."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout
    for name in names.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)


def _debootstrap(base: Path, log: Path) -> None:
    shutil.rmtree(base, ignore_errors=True)
    include = "--include=ca-certificates,python3,python3-venv,python3-pip"
    command = ["debootstrap", "--variant=minbase", include, SUITE, str(base)]
    with log.open("w") as out:
        subprocess.run([*command, *_mirror()], stdout=out, stderr=out, check=True)
    for name, program in (("python", "python3"), ("pip", "pip3")):
        (base / "usr/local/bin" / name).symlink_to(f"/usr/bin/{program}")
    bundle = Path(os.environ.get("PIP_CERT") or CA_BUNDLE)
    if bundle.exists():  # this machine may have additional CAs
        shutil.copy(bundle, base / str(CA_BUNDLE).lstrip("/"))
    (base / "etc/pip.conf").write_text(_pip_configuration())


def _mirror() -> list[str]:
    """The Debian mirror of this machine's apt, empty if not known."""
    wanted = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(CODENAME) $(REPO_URI)"]
    answer = subprocess.run(wanted, capture_output=True, text=True, check=False).stdout
    lines = [line.split() for line in answer.splitlines()]
    return [words[2] for words in lines if words[:2] == ["Debian", SUITE]][:1]


def _pip_configuration() -> str:
    """This machine's pip settings, from files and variables, for the container."""
    listing = [sys.executable, "-m", "pip", "config", "list"]
    answer = subprocess.run(listing, capture_output=True, text=True, check=True).stdout
    lines = ["[global]", f"cert = {CA_BUNDLE}"]
    for line in answer.splitlines():
        name, _, value = line.partition("=")
        option = name.rpartition(".")[2]
        words = [word for word in str(ast.literal_eval(value)).split() if "file:" not in word]
        if option in PIP_OPTIONS and words:
            lines.append(f"{option} = {' '.join(words)}")
    return "\n".join(lines) + "\n"


def _make_services() -> None:
    container = subprocess.run(
        ["buildah", "from", PYTHON], capture_output=True, text=True, check=True
    ).stdout.strip()
    isolated = ["--isolation", "chroot", "--network", "host"]
    _run("buildah", "run", *isolated, container, "sh", "-c", SERVICES)
    entry, script = "/usr/local/bin/postgres-entrypoint", str(HERE / "postgres_entrypoint.sh")
    _run("buildah", "copy", "--chmod", "755", container, script, entry)
    _run("buildah", "config", "--entrypoint", f'["{entry}"]', "--cmd", "", container)
    _run("buildah", "config", "--env", "LANG=C.UTF-8", container)
    _run("buildah", "commit", "-q", container, POSTGRES)
    _run("buildah", "config", "--entrypoint", "", "--cmd", "redis-server", container)
    _run("buildah", "commit", "-q", container, REDIS)
    _run("buildah", "rm", container)


def _exists(image: str) -> bool:
    return subprocess.run(["podman", "image", "exists", image], check=False).returncode == 0


def _run(*command: str, stdin: object = None) -> None:
    done = subprocess.run(
        command,
        stdin=stdin,
        capture_output=True,
        text=True,
        check=False,  # type: ignore[call-overload]
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:3])} … failed:\n{done.stdout}{done.stderr}")
