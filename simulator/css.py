"""The CSS endpoints (docs/css-api.md §1 to §4)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from . import log_search, log_settings
from .paging import page
from .presets import PRESETS
from .render import cluster_json, record_json, settings_json
from .state import CloudState, Cluster, JobScript
from .tokens import TokenChecker, Verdict
from .wire import Refusal, Reply, Request, css_error, gateway_error, json_reply

_PATH = re.compile(r"/v1\.0/([^/]+)/clusters(?:/([^/]+)(?:/logs/([a-z/]+))?)?/?")
_LOG_ENDPOINTS = {
    ("POST", "collect"): "collect",
    ("GET", "records"): "records",
    ("GET", "settings"): "settings",
    ("POST", "settings"): "settings_update",
    ("POST", "open"): "open",
    ("PUT", "close"): "close",
    ("POST", "policy/update"): "policy_update",
    ("PUT", "policy/close"): "policy_close",
    ("POST", "search"): "search",
    ("POST", "connectivity"): "connectivity",
}


@dataclass(frozen=True, slots=True)
class CssRoute:
    """What a path of CSS names."""

    endpoint: str
    project_id: str
    cluster_id: str = ""


def route(method: str, path: str) -> CssRoute | None:
    """The CSS endpoint of a request, None when there is none."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    project_id, cluster_id, log = match.groups()
    if log is not None:
        endpoint = _LOG_ENDPOINTS.get((method, log.rstrip("/")), "")
    else:
        endpoint = ("detail" if cluster_id else "list") if method == "GET" else ""
    return CssRoute(endpoint, project_id, cluster_id or "") if endpoint else None


class CssService:
    """Answers CSS requests out of the state."""

    def __init__(self, state: CloudState, tokens: TokenChecker, *, foreign_projects: bool) -> None:
        """`foreign_projects`: project ids come from another identity service, so each stands for
        the first project of this simulator."""
        self._state = state
        self._tokens = tokens
        self._foreign_projects = foreign_projects

    def refuse_token(self, where: CssRoute, request: Request) -> Reply | None:
        """The gateway's answer when the token does not open the project, None when it does."""
        verdict = self._tokens.check(request.headers.get("x-auth-token", ""), where.project_id)
        if verdict is Verdict.OK:
            return None
        if verdict is Verdict.OTHER_PROJECT:
            return gateway_error(
                403, "APIGW.0302", "The IAM user is not allowed to access", request.request_id
            )
        if verdict is Verdict.UNKNOWN:
            return gateway_error(500, "APIGW.0601", "Internal server error", request.request_id)
        return PRESETS["unauthorized"](request.request_id)

    def handle(self, where: CssRoute, request: Request, script: JobScript) -> Reply:
        """Answer a request whose token is good; `script` is for the job a collect may create."""
        try:
            if where.endpoint == "list":
                return self._list(where, request)
            cluster = self._cluster(where)
            if where.endpoint == "detail":
                return json_reply({**cluster_json(cluster), "vpcepIp": None, "supportVpcep": False})
            if where.endpoint == "settings":
                real_time = request.query.get("action") == log_settings.REAL_TIME
                return json_reply(settings_json(cluster, real_time=real_time))
            if where.endpoint == "records":
                return self._records(cluster, request)
            if where.endpoint == "collect":
                return self._collect(cluster, script)
            if where.endpoint == "search":
                return log_search.search(cluster, request, self._state.clock)
            with self._state.lock:
                return log_settings.change(where.endpoint, self._state, cluster, request)
        except Refusal as refusal:
            return refusal.reply

    def _project_id(self, where: CssRoute) -> str:
        return self._state.first_project.id if self._foreign_projects else where.project_id

    def _cluster(self, where: CssRoute) -> Cluster:
        try:
            return self._state.find(where.cluster_id, self._project_id(where))
        except KeyError:
            raise Refusal(PRESETS["vanished"]("")) from None

    def _list(self, where: CssRoute, request: Request) -> Reply:
        clusters = self._state.clusters(self._project_id(where))
        engine = request.query.get("datastoreType")
        if engine:
            clusters = [cluster for cluster in clusters if cluster.engine == engine]
        shown = [
            {**cluster_json(cluster), "snapshotPolicy": None}
            for cluster in page(clusters, request.query)
        ]
        return json_reply({"totalSize": len(clusters), "clusters": shown})

    def _records(self, cluster: Cluster, request: Request) -> Reply:
        status = request.query.get("status", "")
        if status not in ("", "FAIL", "NOT_FAIL"):
            raise Refusal(
                css_error(400, "CSS.5038", "The parameter value is out of range.", status)
            )
        records = self._state.records(cluster, status)
        shown = [record_json(cluster, job, word) for job, word in page(records, request.query)]
        return json_reply({"clusterLogRecord": shown, "totalSize": len(records)})

    def _collect(self, cluster: Cluster, script: JobScript) -> Reply:
        with self._state.lock:
            if cluster.status != "200":
                raise Refusal(PRESETS["not_allowed"](""))
            if cluster.log is None or not cluster.log.enabled:
                raise Refusal(PRESETS["precondition"](""))
            if self._state.running_job(cluster):
                raise Refusal(PRESETS["backup_running"](""))
            if cluster.actions:
                raise Refusal(PRESETS["busy"](""))
            job = self._state.start_job(cluster, "Manual", script)
        return replace(Reply(200), job_id=job.job_id)
