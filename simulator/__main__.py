"""`python -m simulator`: run the simulated cloud as a separate process."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

from . import clouds_file
from .config import DEMO_REGIONS, SimulatorConfig
from .server import start


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    cli = argparse.ArgumentParser(
        prog="python -m simulator", description="A stand-in cloud over HTTP: identity and CSS."
    )
    cli.add_argument("--host", default="127.0.0.1", help="address to listen on")
    cli.add_argument("--port", type=int, default=0, help="port of the main listener; 0: a free one")
    cli.add_argument(
        "--public-host", default="", help="host name to tell clients (default: --host)"
    )
    cli.add_argument("--demo", action="store_true", help="start with the demo clusters")
    cli.add_argument("--clusters", type=int, default=0, metavar="N", help="add N plain clusters")
    cli.add_argument("--job-seconds", type=float, default=4.0, help="how long a job runs")
    cli.add_argument("--token-seconds", type=float, default=86_400.0, help="lifetime of a token")
    cli.add_argument(
        "--clock-offset", type=float, default=0.0, help="seconds the cloud's clock is ahead"
    )
    cli.add_argument("--seed", type=int, help="seed of the faults that strike by chance")
    cli.add_argument("--clouds-file", type=Path, help="write a clouds.yaml here (mode 0600)")
    cli.add_argument("--ready-file", type=Path, help="write url and pid here once listening")
    cli.add_argument("--regions", help="comma list, one project each (default: eu-de, demo: 2)")
    identity = cli.add_mutually_exclusive_group()
    identity.add_argument("--keystone-url", default="", help="check tokens at this Keystone")
    identity.add_argument("--trust-any-token", action="store_true", help="accept every token")
    return cli


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    options = parser().parse_args(arguments)
    regions = DEMO_REGIONS if options.demo else ("eu-de",)
    if options.regions:
        regions = tuple(dict.fromkeys(options.regions.split(",")))
    config = SimulatorConfig(
        host=options.host,
        port=options.port,
        public_host=options.public_host,
        demo=options.demo,
        clusters=options.clusters,
        job_seconds=options.job_seconds,
        token_seconds=options.token_seconds,
        clock_offset=options.clock_offset,
        seed=options.seed,
        regions=regions,
        keystone_url=options.keystone_url,
        trust_any_token=options.trust_any_token,
    )
    if config.external_identity and options.clouds_file:
        print("simulator: --clouds-file needs the simulator's own identity", file=sys.stderr)
        return 2
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    try:
        simulator = start(config)
        if options.clouds_file:
            clouds_file.write(options.clouds_file, simulator.clouds_yaml())
        if options.ready_file:
            ready = {"url": simulator.url, "pid": os.getpid()}
            clouds_file.write(options.ready_file, json.dumps(ready) + "\n")
    except (OSError, ValueError) as error:
        print(f"simulator: {error}", file=sys.stderr)
        return 1
    print(f"simulator ready {simulator.url}", flush=True)
    stop.wait()
    simulator.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
