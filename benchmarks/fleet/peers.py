"""The peers of the product: the same calls, made by a bare thread pool or plain Celery tasks."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

_local = threading.local()


class Cloud:
    """Address and token of the simulated project.

    Args:
        clouds_file: the clouds.yaml that the simulator wrote.
    """

    def __init__(self, clouds_file: Path) -> None:
        import yaml

        auth = yaml.safe_load(clouds_file.read_text())["clouds"]["demo"]["auth"]
        body = {
            "auth": {
                "identity": {
                    "methods": ["password"],
                    "password": {
                        "user": {
                            "name": auth["username"],
                            "password": auth["password"],
                            "domain": {"name": auth["user_domain_name"]},
                        }
                    },
                },
                "scope": {
                    "project": {
                        "name": auth["project_name"],
                        "domain": {"name": auth["project_domain_name"]},
                    }
                },
            }
        }
        answer = requests.post(f"{auth['auth_url']}/auth/tokens", json=body, timeout=30)
        answer.raise_for_status()
        self.headers = {"X-Auth-Token": answer.headers["X-Subject-Token"]}
        self.endpoint = next(
            endpoint["url"]
            for service in answer.json()["token"]["catalog"]
            if service["type"] == "css"
            for endpoint in service["endpoints"]
            if endpoint["interface"] == "public"
        )

    def post(self, cluster: str) -> None:
        """Request a log backup."""
        self._call("POST", cluster, "collect")

    def whole(self, cluster: str) -> None:
        """Make the calls that a run needs at least: baseline, POST, and two readings."""
        self._call("GET", cluster, "records")
        self._call("POST", cluster, "collect")
        self._call("GET", cluster, "records")
        self._call("GET", cluster, "records")

    def _call(self, method: str, cluster: str, what: str) -> None:
        if not hasattr(_local, "session"):
            _local.session = requests.Session()
            _local.session.trust_env = False
        url = f"{self.endpoint}/clusters/{cluster}/logs/{what}"
        answer = _local.session.request(method, url, headers=self.headers, timeout=60)
        answer.raise_for_status()


def in_pool(cloud: Cloud, clusters: Sequence[str], threads: int, *, whole: bool) -> float:
    """Call the cloud for each cluster with a bare thread pool; return clusters per second."""
    call = cloud.whole if whole else cloud.post
    began = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(call, clusters))
    return len(clusters) / (time.monotonic() - began)
