"""`make container-trial`: build the image, run docker-compose.yml, check what must hold."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from . import demo, images, machine, production
from .report import Report

NOT_HERE = 3  # exit status if this machine cannot run the trial
BEGUN = "CONTAINER_TRIAL_BEGUN"
NAME = "css-log-backup"  # the checkout's folder, which is also the project's name


def main() -> int:
    cli = argparse.ArgumentParser(prog="make container-trial", description=__doc__)
    cli.add_argument("--work", type=Path, help="keep images and downloads here for the next time")
    cli.add_argument("--stage", choices=["build", "run"], help=argparse.SUPPRESS)
    options = cli.parse_args()
    # Unwind on SIGTERM as on Ctrl-C, so that no container remains.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.stage:
        return {"build": _build, "run": _run}[options.stage](options.work)
    if why := machine.obstacle():
        print(f"The container trial cannot run here: {why}", file=sys.stderr)
        return NOT_HERE
    machine.install()
    if options.work:
        options.work.mkdir(parents=True, exist_ok=True)
        return machine.wait_for(machine.in_namespace("build", options.work.resolve()))
    work = Path(tempfile.mkdtemp(prefix="container-trial-", dir="/var/tmp"))
    try:
        return machine.wait_for(machine.in_namespace("build", work))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _build(work: Path) -> int:
    report = Report()
    machine.configure(work)
    machine.install_compose(work)
    report.step("base images, from Debian packages")
    images.make_bases(work)
    report.step("build of the image")
    images.copy_checkout(work / NAME)
    log = work / "build.log"
    if not report.check("the image can be built", images.build(work / NAME, log) == 0):
        print(log.read_text()[-3000:], file=sys.stderr)
        return 1
    os.environ[BEGUN] = str(report.begun)
    return machine.wait_for(machine.in_namespace("run", work))


def _run(work: Path) -> int:
    report = Report(float(os.environ[BEGUN]))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    if why := images.cannot_run():
        print(f"The container trial cannot run here: {why}", file=sys.stderr)
        return NOT_HERE
    demo.run(report, work, work / NAME, _free_port())
    production.run(report, work, work / NAME, _free_port())
    return report.end()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
