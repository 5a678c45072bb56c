"""One request on its way through the simulated cloud: route, ledger, token, faults, effect."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import css
from .faults import Plan
from .identity import IdentityService
from .ledger import LedgerEntry
from .wire import Reply, Request, gateway_error

if TYPE_CHECKING:
    from .server import Simulator


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request that is in the ledger, with its plan; `process` lets it have its effect."""

    request: Request
    entry: LedgerEntry
    plan: Plan
    process: Callable[[], Reply]


def begin(simulator: Simulator, request: Request) -> Exchange:
    """Enter a request into the ledger and decide its course."""
    if not simulator.config.external_identity:
        endpoint = IdentityService.route(request.method, request.path)
        if endpoint:
            plan = simulator.faults.plan(endpoint, "") if endpoint == "token" else Plan()
            entry = _enter(simulator, request, endpoint, "", plan)
            return Exchange(
                request, entry, plan, lambda: simulator.identity.handle(endpoint, request)
            )
    where = css.route(request.method, request.path)
    if where is None:
        entry = _enter(simulator, request, "unknown", "", Plan())
        unknown = gateway_error(
            404,
            "APIGW.0101",
            "The API does not exist or has not been published",
            request.request_id,
        )
        return Exchange(request, entry, Plan(), lambda: unknown)
    refusal = simulator.css.refuse_token(where, request)
    plan = Plan() if refusal else simulator.faults.plan(where.endpoint, where.cluster_id)
    entry = _enter(simulator, request, where.endpoint, where.cluster_id, plan)
    entry.token_ok = refusal is None

    def process() -> Reply:
        return refusal or simulator.css.handle(where, request, plan.job)

    return Exchange(request, entry, plan, process)


def _enter(
    simulator: Simulator, request: Request, endpoint: str, cluster_id: str, plan: Plan
) -> LedgerEntry:
    return simulator.ledger.open(
        time=time.time(),
        method=request.method,
        path=request.path,
        query=request.raw_query,
        endpoint=endpoint,
        cluster_id=cluster_id,
        request_id=request.request_id,
        user_agent=request.headers.get("user-agent", ""),
        faults=plan.faults,
    )
