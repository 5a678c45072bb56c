"""`POST …/logs/search`: made-up log lines, the same ones for the same minute (§1d)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from .clock import Clock
from .state import Cluster
from .wire import Refusal, Reply, Request, css_error, json_reply

TYPES = ("deprecation", "indexingSlow", "searchSlow", "instance")
LEVELS = ("DEBUG", "INFO", "WARN", "ERROR")
MAX_LINES = 10_000
SPACING = timedelta(seconds=7)

_KEYWORD = re.compile(r"[A-Za-z0-9_\-. \[\]]{0,64}")
_LINES = {
    "deprecation": ("[o.e.d.c.m.IndexNameExpressionResolver] [simulated] this request accesses "
                    "system indices"),
    "indexingSlow": "[i.i.s.index] [simulated] [orders/0] took[1.2s], took_millis[1200]",
    "searchSlow": "[i.s.s.query] [simulated] [orders][0] took[2.4s], total_shards[6]",
    "instance": "[o.e.c.s.ClusterApplierService] [simulated] state version {number} applied",
}  # fmt: skip


def search(cluster: Cluster, request: Request, clock: Clock) -> Reply:
    """Lines of one node's log, the newest first.

    Raises:
        Refusal: 400, a parameter breaks its rule.
    """
    try:
        body = request.json_object()
    except ValueError as error:
        raise _bad(str(error)) from error
    nodes = [f"{cluster.name}-ess-esn-{number}-1" for number in range(1, cluster.nodes + 1)]
    if body.get("instance_name") not in nodes:
        raise _bad("instance_name")
    if body.get("log_type") not in TYPES:
        raise _bad("log_type")
    level = body.get("level") or "ALL"
    wanted = LEVELS if level == "ALL" else tuple(str(level).split("|"))
    if not set(wanted) <= set(LEVELS):
        raise _bad("level")
    if body["log_type"] == "deprecation" and set(wanted) != set(LEVELS):
        raise _bad("level: deprecation logs can be queried only when all levels are selected")
    limit = body.get("limit", 100)
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_LINES:
        raise _bad("limit")
    keyword = body.get("keyword") or ""
    if not isinstance(keyword, str) or not _KEYWORD.fullmatch(keyword):
        raise _bad("keyword")
    moment = _before(body.get("time_index"), clock)
    lines: list[dict[str, str]] = []
    for number in range(limit * 4):
        word = LEVELS[(moment.minute + number) % len(LEVELS)]
        content = _LINES[body["log_type"]].format(number=10_000 - number)
        if word in wanted and keyword in content:
            stamp = (moment - number * SPACING).strftime("%Y-%m-%dT%H:%M:%S,%f")[:-3]
            lines.append({"content": content, "date": stamp, "level": word})
        if len(lines) == limit:
            break
    return json_reply({"logList": lines, "type": body["log_type"], "completed": len(lines) < limit})


def _before(value: object, clock: Clock) -> datetime:
    if not value:
        return datetime.fromtimestamp(clock.now(), UTC).replace(second=0, microsecond=0)
    try:
        return datetime.strptime(str(value), "%Y-%m-%dT%H:%M:%S,%f").replace(tzinfo=UTC)
    except ValueError:
        raise _bad("time_index") from None


def _bad(detail: str) -> Refusal:
    return Refusal(css_error(400, "CSS.0001", "Incorrect parameters.", detail))
