"""A program with a token: from the request to the proof, through every process of the product."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import requests

from dashboard.tokens.models import Scope
from tests.tokens_made import make_by_page
from tests.visitor import TERMINAL

if TYPE_CHECKING:
    from .conftest import Stack


class Caller(requests.Session):
    """A program that knows nothing but an address and a token."""

    def __init__(self, base_url: str, token: str) -> None:
        super().__init__()
        self.trust_env = False
        self.base_url = f"{base_url}/api/v1/"
        self.headers["Authorization"] = f"Bearer {token}"

    def ask(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        return self.request(method, self.base_url + path, timeout=30, **kwargs)

    def wait_for_run(self, number: int, seconds: float = 60.0) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while (run := self.ask("GET", f"runs/{number}").json())["state"] not in TERMINAL:
            assert time.monotonic() < deadline, run
            time.sleep(0.1)
        return dict(run)


def test_a_request_by_token_ends_verified_with_one_request_to_the_cloud(stack: Stack) -> None:
    cloud_id = stack.add_cluster("by-a-program")
    admin = stack.visitor()
    caller = Caller(stack.base_url, make_by_page(admin, "nightly", Scope.RUN))
    (cluster,) = caller.ask("GET", "clusters?q=by-a-program").json()["items"]
    assert cluster["cluster_id"] == cloud_id
    key = {"Idempotency-Key": "night-2030-01-31"}
    url = f"clusters/{cluster['id']}/backups"
    answers = [caller.ask("POST", url, json={"reason": "nightly"}, headers=key) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 200, 200]
    (number,) = {answer.json()["run_id"] for answer in answers}
    run = caller.wait_for_run(number)
    assert (run["state"], run["outcome"], run["http_status"]) == ("succeeded", "accepted", 200)
    assert (run["trigger"], run["requested_by"], run["reason"]) == ("api", "admin", "nightly")
    assert run["audit_events"][0]["details"]["program"].startswith("nightly (")
    assert len(stack.simulator.ledger(endpoint="collect", cluster=cloud_id)) == 1
    after = caller.ask("GET", f"clusters/{cluster['id']}").json()
    assert after["protection"]["state"] == "protected"
    assert after["latest_run"]["run_id"] == number
    listed = caller.ask("GET", "runs?trigger=api&cluster=by-a-program").json()["items"]
    assert [item["run_id"] for item in listed] == [number]
    assert "nightly" in admin.get("/account/tokens/").text
    deadline = time.monotonic() + 20
    while (seal := caller.ask("GET", f"runs/{number}").json()["seal"])["event"] is None:
        assert time.monotonic() < deadline, "a worker seals once a second"
        time.sleep(0.1)
    assert seal["proof"]["leaf"]["facts"]["state"] == "succeeded"


def test_a_revoked_token_is_refused_by_every_process_at_once(stack: Stack) -> None:
    admin = stack.visitor()
    caller = Caller(stack.base_url, make_by_page(admin, "soon revoked", Scope.READ))
    assert caller.ask("GET", "token").status_code == 200
    page = admin.get("/account/tokens/").text
    row = page[: page.index("soon revoked")].rpartition('id="token-')[2]
    number = row[: row.index('"')]
    done = admin.post(f"/account/tokens/{number}/revoke/", data={"confirmed": "1"})
    assert done.status_code == 200
    for _each in range(8):  # more than there are processes
        answer = requests.get(
            f"{stack.base_url}/api/v1/token",
            headers={"Authorization": caller.headers["Authorization"]},
            timeout=30,
            proxies={"http": ""},
        )
        assert answer.status_code == 401
