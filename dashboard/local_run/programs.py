"""The programs of an instance, as command lines."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from .processes import Program

PYTHON = sys.executable
WORKER_THREADS = 20  # a run mostly waits for the cloud; a thread costs next to nothing
WORKER_GRACE = 20.0  # seconds for what is in flight; the sweeper settles what is cut


def web(environ: Mapping[str, str], listener: int) -> Program:
    """gunicorn on a socket that is listening already."""
    arguments = ("-m", "gunicorn", "-c", "python:dashboard.gunicorn", "--bind", f"fd://{listener}")
    return Program("web", (PYTHON, *arguments), environ, inherit=(listener,))


def worker(environ: Mapping[str, str], port: int) -> Program:
    """The Celery worker; the port keeps apart two instances of one machine on one broker."""
    arguments = ("--pool", "threads", "-c", str(WORKER_THREADS), "-n", f"worker-{port}@%h")
    quiet = ("--without-gossip", "--without-mingle", "--loglevel", "INFO")
    command = (PYTHON, "-m", "celery", "-A", "dashboard", "worker", *arguments, *quiet)
    return Program("worker", command, environ, grace=WORKER_GRACE)


def sync(environ: Mapping[str, str], manage: Path) -> Program:
    """Registers the clusters; ends by itself."""
    return Program("sync", (PYTHON, str(manage), "sync_clusters"), environ, grace=2.0)
