"""`make container-trial`: build the image, run docker-compose.yml, check what must hold."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

from . import demo, images, machine, production
from .report import Report

NOT_HERE = 3  # exit status where the machine does not allow it
NAME = "css-log-backup"  # the checkout's folder, and so the project's name


def main() -> int:
    cli = argparse.ArgumentParser(prog="make container-trial", description=__doc__)
    cli.add_argument("--work", type=Path, help="keep images and downloads here for the next time")
    options = cli.parse_args()
    if why := machine.obstacle():
        print(f"The container trial cannot run here: {why}", file=sys.stderr)
        return NOT_HERE
    # SIGTERM unwinds like Ctrl-C, so that no container is left
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if os.environ.get(machine.IN_NAMESPACE):
        return _inside(options.work.resolve())
    machine.install()
    if options.work:
        options.work.mkdir(parents=True, exist_ok=True)
        return machine.enter_namespace(["--work", str(options.work.resolve())])
    work = Path(tempfile.mkdtemp(prefix="container-trial-", dir="/var/tmp"))
    try:
        return machine.enter_namespace(["--work", str(work)])
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _inside(work: Path) -> int:
    begun = time.monotonic()
    report = Report()
    machine.configure(work)
    machine.install_compose(work)
    report.step("base images, from Debian packages")
    images.make_bases(work)
    if why := images.cannot_run():
        print(f"The container trial cannot run here: {why}", file=sys.stderr)
        return NOT_HERE
    report.step("build of the image")
    checkout = work / NAME
    images.copy_checkout(checkout)
    log = work / "build.log"
    if not report.check("the image can be built", images.build(checkout, log) == 0):
        print(log.read_text()[-3000:], file=sys.stderr)
        return 1
    demo.run(report, work, checkout, _free_port())
    production.run(report, work, checkout, _free_port())
    return report.end(time.monotonic() - begun)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
