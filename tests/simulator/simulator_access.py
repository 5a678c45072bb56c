"""A bare client of the simulated cloud, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import requests

from simulator import server

StartSimulator = Callable[..., server.Simulator]


def sign_in(simulator: server.Simulator, region: str = "eu-de") -> str:
    """A token from `POST /v3/auth/tokens`."""
    credentials = simulator.identity.credentials
    user = {
        "name": credentials.username,
        "password": credentials.password,
        "domain": {"name": "css-simulator"},
    }
    body = {
        "auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": f"{region}_simulator"}},
        }
    }
    answer = requests.post(f"{simulator.url}/v3/auth/tokens", json=body, timeout=5)
    assert answer.status_code == 201
    return answer.headers["X-Subject-Token"]


@dataclass
class Css:
    """A bare client of the CSS endpoints."""

    simulator: server.Simulator
    region: str = "eu-de"
    token: str = ""
    timeout: float = 5.0
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        self.token = self.token or sign_in(self.simulator, self.region)
        self.project_id = self.simulator.cloud.project(self.region).id

    def call(self, method: str, path: str, **options: object) -> requests.Response:
        url = f"{self.simulator.listeners[self.region].url}/v1.0/{self.project_id}/clusters{path}"
        headers = {"X-Auth-Token": self.token, "Content-Type": "application/json"}
        options.setdefault("timeout", self.timeout)
        return self.session.request(method, url, headers=headers, allow_redirects=False, **options)

    def collect(self, cluster_id: str, **options: object) -> requests.Response:
        return self.call("POST", f"/{cluster_id}/logs/collect", **options)

    def records(self, cluster_id: str, **query: object) -> list[dict[str, object]]:
        answer = self.call("GET", f"/{cluster_id}/logs/records", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()["clusterLogRecord"]
