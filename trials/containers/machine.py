"""Prepare the machine: packages, podman's configuration, and namespaces."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGES = ["podman", "buildah", "crun", "netavark", "aardvark-dns", "catatonit", "iptables"]
PACKAGES += ["iproute2", "uidmap", "debootstrap", "fuse-overlayfs"]
PROGRAMS = ("podman", "buildah", "crun", "debootstrap", "iptables", "ip")
HYBRID = Path("/sys/fs/cgroup/unified")

STORAGE = """[storage]
driver = "overlay"
graphroot = "{work}/root"
runroot = "{work}/run"
"""
CONTAINERS = """[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
[network]
network_backend = "netavark"
network_config_dir = "{work}/networks"
"""


def obstacle() -> str:
    """Why this machine cannot run the trial; "" if it can be tried."""
    if sys.platform != "linux" or os.geteuid():
        return "it needs root on Linux"
    if not Path("/etc/debian_version").exists() and not all(map(shutil.which, PROGRAMS)):
        return f"it needs {', '.join(PROGRAMS)}, and installs them on Debian only"
    answer = subprocess.run(
        ["unshare", "--mount", "--net", "true"], capture_output=True, text=True, check=False
    )
    return f"no namespaces: {answer.stderr.strip()}" if answer.returncode else ""


def missing() -> list[str]:
    """Packages that are not installed; podman does not require all of its helpers."""
    if not shutil.which("dpkg-query"):
        return []
    asked = ["dpkg-query", "--show", "--showformat", "${Package} ${Status}\n", *PACKAGES]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False)
    return [name for name in PACKAGES if f"{name} install ok installed" not in answer.stdout]


def install() -> None:
    """Install missing packages."""
    packages = missing()
    if not packages:
        return
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=500"]
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run([*apt, "update"], check=True, env=environ)
    command = [*apt, "install", "-y", "--no-install-recommends", *packages]
    subprocess.run(command, check=True, env=environ, stdout=subprocess.DEVNULL)


def in_namespace(stage: str, work: Path) -> list[str]:
    """The command that continues the trial in a separate namespace.

    `build` has its own mounts: crun refuses "hybrid" control groups, so the second hierarchy is
    unmounted, in this namespace only. `run` also has its own network: bridges, addresses and
    firewall rules of the containers disappear with it, and no other network is reachable.
    """
    kinds = {"build": ["--mount", "--propagation", "private"], "run": ["--net"]}[stage]
    program = [sys.executable, "-m", str(__package__)]
    return ["unshare", *kinds, *program, "--work", str(work), "--stage", stage]


def wait_for(command: list[str]) -> int:
    """Run a command to its end, even if this process is asked to stop; return its exit status."""
    child = subprocess.Popen(command, start_new_session=True)
    while True:
        try:
            return child.wait()
        except (KeyboardInterrupt, SystemExit):
            child.terminate()  # it removes its containers; continue waiting for it


def configure(work: Path) -> None:
    """Have podman store everything in `work`, and put the wrapper for missing options on PATH."""
    if HYBRID.is_mount():
        subprocess.run(["umount", str(HYBRID)], check=True)
    for name in ("tmp", "networks", "bin"):
        (work / name).mkdir(parents=True, exist_ok=True)
    (work / "storage.conf").write_text(STORAGE.format(work=work))
    (work / "containers.conf").write_text(CONTAINERS.format(work=work))
    for name, source in (("podman", "podman_shim.py"), ("docker", "docker_shim.sh")):
        shutil.copy(HERE / source, work / "bin" / name)
        (work / "bin" / name).chmod(0o755)
    os.environ.update(
        CONTAINERS_STORAGE_CONF=str(work / "storage.conf"),
        CONTAINERS_CONF=str(work / "containers.conf"),
        TMPDIR=str(work / "tmp"),
        CONTAINER_TRIAL_PODMAN=shutil.which("podman") or "podman",
        PATH=f"{work / 'bin'}:{os.environ['PATH']}",
    )


def install_compose(work: Path) -> None:
    """Install podman-compose and python-dotenv; the project already depends on PyYAML."""
    if not (work / "compose" / "podman_compose.py").exists():
        pip = [sys.executable, "-m", "pip", "-q", "install", "--no-deps", "--require-hashes"]
        pip += ["--disable-pip-version-check", "--root-user-action", "ignore"]
        target = ["--target", str(work / "compose"), "-r", str(HERE / "requirements.txt")]
        subprocess.run([*pip, *target], check=True)
