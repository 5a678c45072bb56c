"""The endpoints that change a cluster's log settings, with the documented validation (§1, §1a)."""

from __future__ import annotations

import re
import uuid
from typing import Any

from .presets import PRESETS
from .state import CloudState, Cluster, LogConfiguration, RealTimeCollection
from .wire import Refusal, Reply, Request, css_error

REAL_TIME = "real_time_log_collect"
ACTIONS = ("", "base_log_collect", REAL_TIME)

_AGENCY = re.compile(r"[A-Za-z0-9_-]+")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PATH_FORBIDDEN = re.compile(r"""[\\:*?"<>|'{}]|^/|^\.|\.$|///|\.\.\.""")
_PERIOD = re.compile(r"([01]\d|2[0-3]):00 GMT[+-](0\d|1[0-4]):[0-5]\d")


def change(endpoint: str, state: CloudState, cluster: Cluster, request: Request) -> Reply:
    """Carry out open, close, settings_update, policy_update, policy_close or connectivity.

    Raises:
        Refusal: 400 for a parameter that breaks a rule, 415 CSS.0004 where log backup is not in
            the state for it, 400 CSS.5090 or 409 CSS.0011 where the cluster is not.
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
        return Reply(200)
    if cluster.status != "200":
        raise Refusal(PRESETS["not_allowed"](""))
    if cluster.actions:
        raise Refusal(PRESETS["busy"](""))
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
    return Reply(200)


def _configuration(cluster: Cluster, body: dict[str, Any], now: int) -> LogConfiguration:
    agency = body.get("agency")
    if not isinstance(agency, str) or not _AGENCY.fullmatch(agency):
        raise Refusal(css_error(400, "CSS.5130", "Invalid agency name."))
    bucket = _first(body, "log_bucket", "log_Bucket", "logBucket")
    path = _first(body, "log_base_path", "log_Base_Path", "logBasePath")
    if not _BUCKET.fullmatch(bucket):  # a bucket of such a name cannot exist
        raise Refusal(PRESETS["bucket"](""))
    if not path or len(path) > 512 or _PATH_FORBIDDEN.search(path):
        raise _bad("log_base_path")
    automatic = body.get("auto_enable", False)  # by the documents left out is off, here too
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
    endpoint: str, state: CloudState, cluster: Cluster, body: dict[str, Any], now: int
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


def _enabled(cluster: Cluster) -> LogConfiguration:
    if cluster.log is None or not cluster.log.enabled:
        raise _illegal("Illegal operation")
    return cluster.log


def _known_cluster(state: CloudState, cluster_id: object) -> str:
    try:
        return state.find(str(cluster_id)).id
    except KeyError:
        raise _bad("target_cluster_id") from None


def _period(value: object) -> str:
    if not isinstance(value, str) or not _PERIOD.fullmatch(value):
        raise Refusal(css_error(400, "CSS.5018", "Invalid backup period: on the hour, with zone."))
    return value


def _first(body: dict[str, Any], *names: str) -> str:
    # Documents, SDKs and Terraform spell these names in three ways.
    for name in names:
        if isinstance(body.get(name), str):
            return str(body[name])
    return ""


def _bad(detail: str) -> Refusal:
    return Refusal(css_error(400, "CSS.0001", "Incorrect parameters.", detail))


def _illegal(detail: str) -> Refusal:
    return Refusal(css_error(415, "CSS.0004", "Invalid operation.", detail))
