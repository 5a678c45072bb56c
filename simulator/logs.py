"""Endpoints for log settings and log search (docs/css-api.md §1)."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from .faults import PRESETS
from .state import (
    CloudClock,
    LogConfiguration,
    RealTimeCollection,
    SimulatedCloud,
    SimulatedCluster,
)
from .wire import AbortRequest, RawReply, RawRequest, css_error, json_reply

REAL_TIME = "real_time_log_collect"
ACTIONS = ("", "base_log_collect", REAL_TIME)

_AGENCY = re.compile(r"[A-Za-z0-9_-]+")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PATH_FORBIDDEN = re.compile(r"""[\\:*?"<>|'{}]|^/|^\.|\.$|///|\.\.\.""")
_PERIOD = re.compile(r"([01]\d|2[0-3]):00 GMT[+-](0\d|1[0-4]):[0-5]\d")


def change(
    endpoint: str, state: SimulatedCloud, cluster: SimulatedCluster, request: RawRequest
) -> RawReply:
    """Execute open, close, settings_update, policy_update, policy_close or connectivity.

    Raises:
        AbortRequest: 400 for an invalid parameter; 415 CSS.0004 if log backup is not in the
            required state; 400 CSS.5090 or 409 CSS.0011 if the cluster is not in it.
    """
    try:
        body = request.json_object()
    except ValueError as error:
        raise _bad(str(error)) from error
    action = request.query.get("action", "")
    if action not in ACTIONS:
        raise _bad(f"action {action[:40]}")
    now = state.clock.now_ms()
    if endpoint == "connectivity":
        _known_cluster(state, body.get("target_cluster_id"))
        return RawReply(200)
    if cluster.status != "200":
        raise AbortRequest(PRESETS["not_allowed"](""))
    if cluster.actions:
        raise AbortRequest(PRESETS["busy"](""))
    if endpoint == "policy_update":
        log = _enabled(cluster)
        log.period, log.auto_enabled, log.updated_ms = _period(body.get("period")), True, now
    elif endpoint == "policy_close":
        log = _enabled(cluster)
        log.period, log.auto_enabled, log.updated_ms = "", False, now
    elif action == REAL_TIME:
        _change_real_time(endpoint, state, cluster, body, now)
    elif endpoint == "close":
        _enabled(cluster)
        state.switch_log_backup_off(cluster)
    else:
        if endpoint == "open" and cluster.log is not None and cluster.log.enabled:
            raise _illegal("Log backup is enabled already")
        if endpoint == "settings_update":
            _enabled(cluster)
        cluster.log = _configuration(cluster, body, now)
    return RawReply(200)


def _configuration(cluster: SimulatedCluster, body: dict[str, Any], now: int) -> LogConfiguration:
    agency = body.get("agency")
    if not isinstance(agency, str) or not _AGENCY.fullmatch(agency):
        raise AbortRequest(css_error(400, "CSS.5130", "Invalid agency name."))
    bucket = _first(body, "log_bucket", "log_Bucket", "logBucket")
    path = _first(body, "log_base_path", "log_Base_Path", "logBasePath")
    if not _BUCKET.fullmatch(bucket):  # no bucket can have such a name
        raise AbortRequest(PRESETS["bucket"](""))
    if not path or len(path) > 512 or _PATH_FORBIDDEN.search(path):
        raise _bad("log_base_path")
    automatic = body.get("auto_enable", False)  # off by default, as documented
    if not isinstance(automatic, bool):
        raise _bad("auto_enable")
    return LogConfiguration(
        id=cluster.log.id if cluster.log else str(uuid.uuid4()),
        bucket=bucket,
        agency=agency,
        base_path=path,
        auto_enabled=automatic,
        period=_period(body.get("period")) if automatic else "",
        updated_ms=now,
    )


def _change_real_time(
    endpoint: str, state: SimulatedCloud, cluster: SimulatedCluster, body: dict[str, Any], now: int
) -> None:
    current = cluster.real_time
    if (current is None) != (endpoint == "open"):
        raise _illegal("Real-time collection is " + ("off" if current is None else "on already"))
    if endpoint == "close":
        cluster.real_time = None
        return
    prefix, days = body.get("index_prefix"), body.get("keep_days")
    if not isinstance(prefix, str) or not prefix:
        raise _bad("index_prefix")
    if not isinstance(days, int) or isinstance(days, bool) or not 1 <= days <= 3650:
        raise _bad("keep_days")
    cluster.real_time = RealTimeCollection(
        id=current.id if current else str(uuid.uuid4()),
        index_prefix=prefix,
        keep_days=days,
        target_cluster_id=_known_cluster(state, body.get("target_cluster_id")),
        created_ms=current.created_ms if current else now,
        updated_ms=now,
    )


def _enabled(cluster: SimulatedCluster) -> LogConfiguration:
    if cluster.log is None or not cluster.log.enabled:
        raise _illegal("Illegal operation")
    return cluster.log


def _known_cluster(state: SimulatedCloud, cluster_id: object) -> str:
    try:
        return state.find(str(cluster_id)).id
    except KeyError:
        raise _bad("target_cluster_id") from None


def _period(value: object) -> str:
    if not isinstance(value, str) or not _PERIOD.fullmatch(value):
        raise AbortRequest(
            css_error(400, "CSS.5018", "Invalid backup period: on the hour, with zone.")
        )
    return value


def _first(body: dict[str, Any], *names: str) -> str:
    # The documentation, the SDKs and Terraform use three spellings of these names.
    for name in names:
        if isinstance(body.get(name), str):
            return str(body[name])
    return ""


def _bad(detail: str) -> AbortRequest:
    return AbortRequest(css_error(400, "CSS.0001", "Incorrect parameters.", detail))


def _illegal(detail: str) -> AbortRequest:
    return AbortRequest(css_error(415, "CSS.0004", "Invalid operation.", detail))


LOG_TYPES = ("deprecation", "indexingSlow", "searchSlow", "instance")
LEVELS = ("DEBUG", "INFO", "WARN", "ERROR")
WRITTEN = (*LEVELS, "TRACE")  # ALL includes a level that cannot be asked for by itself
MAX_LINES = 10_000
SPACING = timedelta(seconds=7)
LOGSTASH = "logstash"
_LOGSTASH = "[logstash.outputs.elasticsearch] [simulated] {number} events were sent"
# The names that were documented until 2025-12, and which current one each became.
_OLD_NAMES = {"instanceName": "instance_name", "logType": "log_type", "level": "level"}

_KEYWORD = re.compile(r"[A-Za-z0-9_\-. \[\]]{0,64}")
_LINES = {
    "deprecation": ("[o.e.d.c.m.IndexNameExpressionResolver] [simulated] this request accesses "
                    "system indices"),
    "indexingSlow": "[i.i.s.index] [simulated] [orders/0] took[1.2s], took_millis[1200]",
    "searchSlow": "[i.s.s.query] [simulated] [orders][0] took[2.4s], total_shards[6]",
    "instance": "[o.e.c.s.ClusterApplierService] [simulated] state version {number} applied",
}  # fmt: skip


_TRACE = (
    "\njava.lang.IllegalStateException: [simulated] the state could not be applied"
    "\n\tat org.elasticsearch.cluster.service.ClusterApplierService.apply(Simulated.java:1)"
)


def node_names(cluster: SimulatedCluster) -> list[str]:
    """Return the names of a cluster's nodes."""
    kind = "lgs-lgs" if cluster.engine == LOGSTASH else "ess-esn"
    return [f"{cluster.name}-{kind}-{number}-1" for number in range(1, cluster.nodes + 1)]


def _new_names(body: dict[str, Any], cluster: SimulatedCluster) -> dict[str, Any]:
    """Return the body with the current names of its parameters.

    Raises:
        AbortRequest: 400, it has names of the other era than the cluster's.
    """
    if cluster.search_names != "old":
        return body
    if set(body) != set(_OLD_NAMES) or body["level"] == "ALL":
        raise _bad(f"required: {', '.join(_OLD_NAMES)}")
    return {_OLD_NAMES[name]: value for name, value in body.items()}


def search(cluster: SimulatedCluster, request: RawRequest, clock: CloudClock) -> RawReply:
    """Return lines of one node's log, newest first.

    Raises:
        AbortRequest: 400, a parameter is invalid.
    """
    try:
        body = request.json_object()
    except ValueError as error:
        raise _bad(str(error)) from error
    body = _new_names(body, cluster)
    if body.get("instance_name") not in node_names(cluster):
        raise _bad("instance_name")
    if body.get("log_type") not in LOG_TYPES:
        raise _bad("log_type")
    level = body.get("level") or "ALL"
    wanted = WRITTEN if level == "ALL" else tuple(str(level).split("|"))
    if level != "ALL" and not set(wanted) <= set(LEVELS):
        raise _bad("level")
    if body["log_type"] == "deprecation" and not set(wanted) >= set(LEVELS):
        raise _bad("level: deprecation logs can be queried only when all levels are selected")
    limit = body.get("limit", 100)
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_LINES:
        raise _bad("limit")
    keyword = body.get("keyword") or ""
    if not isinstance(keyword, str) or not _KEYWORD.fullmatch(keyword):
        raise _bad("keyword")
    moment = _before(body.get("time_index"), clock)
    if cluster.engine == LOGSTASH:  # one text, and neither kind nor level count
        texts = [_LOGSTASH.format(number=10_000 - number) for number in range(limit)]
        found = "\n".join(text for text in texts if keyword in text)
        return json_reply({"instanceLog": found, "type": "", "logList": None})
    deprecation = body["log_type"] == "deprecation"
    lines: list[dict[str, str]] = []
    for number in range(limit * len(WRITTEN)):
        word = WRITTEN[(moment.minute + number) % len(WRITTEN)]
        content = _LINES[body["log_type"]].format(number=10_000 - number)
        if word == "ERROR" and body["log_type"] == "instance":
            content += _TRACE
        if word in wanted and keyword in content:
            word = "DEPRECATION" if deprecation else word
            stamp = (moment - number * SPACING).strftime("%Y-%m-%dT%H:%M:%S,%f")[:-3]
            lines.append({"content": content, "date": stamp, "level": word})
        if len(lines) == limit:
            break
    return json_reply({"logList": lines, "type": body["log_type"], "completed": len(lines) < limit})


def _before(value: object, clock: CloudClock) -> datetime:
    if not value:
        return datetime.fromtimestamp(clock.now(), UTC).replace(second=0, microsecond=0)
    try:
        return datetime.strptime(str(value), "%Y-%m-%dT%H:%M:%S,%f").replace(tzinfo=UTC)
    except ValueError:
        raise _bad("time_index") from None
