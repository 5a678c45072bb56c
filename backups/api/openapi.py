"""The OpenAPI description: what ninja derives from the operations, with problems and examples.

docs/openapi.json is the same description, written by `manage.py openapi`.
"""

from __future__ import annotations

import re
from typing import Any

from ninja import NinjaAPI

from backups.models import ExportAs

from . import answers
from .problems import CONTENT_TYPE, EVERYWHERE

Schema = dict[str, Any]

_AT = "2030-01-31T12:00:00Z"
# of properties, by name; others get one of their type
EXAMPLES: dict[str, Any] = {
    "action": "cluster_labelled",
    "agency": "css_obs_agency",
    "api": "v1",
    "base_path": "css/log",
    "bucket": "css-log-backups",
    "cloud": "otc",
    "cluster": "orders-prod",
    "cron": "30 2 * * *",
    "cluster_id": "5f7b1c3a-0d9e-4c61-a8f4-2b7d6c9e1a20",
    "detail": "Unknown token.",
    "engine": "OpenSearch",
    "error_code": "",
    "field": "reasons",
    "filter": "show=present&project=1",
    "hour": 3,
    "hours": 24,
    "idempotency_key": "nightly-2030-01-31",
    "labels": {"team": "shop"},
    "limit": 50,
    "lookup": "0123456789ab",
    "name": "nightly",
    "next": "/api/v1/clusters?cursor=eyJ&limit=50",
    "objective_hours": 24,
    "offset": "+01:00",
    "period": "03:00 GMT+01:00",
    "problem": "Extra inputs are not permitted",
    "project_id": "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
    "reason": "before the upgrade",
    "region": "eu-de",
    "request_id": "8f0c2a7de1b34f5f9a6b7c8d9e0f1a2b",
    "requested_by": "anna",
    "ruling": "started",
    "state": "succeeded",
    "status": "200",
    "title": "Not authenticated",
    "type": "urn:css-log-backup:not-authenticated",
    "version": "2.11.0",
    "window": "30d",
    "work": "backup",
    "zone": "Europe/Berlin",
}


def describe(api: NinjaAPI, path_prefix: str) -> Schema:
    """The description of the API.

    Args:
        api: with all routers.
        path_prefix: of every path, such as "/api/v1/".
    """
    schema: Schema = dict(NinjaAPI.get_openapi_schema(api, path_prefix=path_prefix))
    components = schema["components"]
    for model in (answers.Problem, answers.InvalidProblem):
        own = model.model_json_schema(ref_template="#/components/schemas/{model}")
        components["schemas"] |= {**own.pop("$defs", {}), model.__name__: own}
    components["responses"] = {
        f"Problem{status}": _problem(status, text) for status, text in EVERYWHERE.items()
    }
    schema["paths"] = {
        path.replace("{pk}", "{id}"): {
            method: _operation(method, each) for method, each in operations.items()
        }
        for path, operations in schema["paths"].items()
    }
    for name, each in components["schemas"].items():
        if each.get("type") == "object":
            each["examples"] = [_example(each, name, components["schemas"])]
    return schema


def _problem(status: int, text: str) -> Schema:
    name = "InvalidProblem" if status == 400 else "Problem"
    media = {CONTENT_TYPE: {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    found: Schema = {"description": text, "content": media}
    header = {401: "WWW-Authenticate", 429: "Retry-After"}.get(status)
    if header:
        found["headers"] = {header: {"schema": {"type": "string"}}}
    return found


def _operation(method: str, operation: Schema) -> Schema:
    for parameter in operation["parameters"]:
        if parameter["name"] == "pk":
            parameter |= {"name": "id", "description": "The number in the dashboard."}
            parameter["schema"] |= {"minimum": 1, "maximum": 2**63 - 1}
    responses = {str(status): each for status, each in operation["responses"].items()}
    for status in EVERYWHERE:
        responses.setdefault(str(status), {"$ref": f"#/components/responses/Problem{status}"})
    if method == "get":
        tag = {"schema": {"type": "string"}, "description": "For If-None-Match."}
        responses["200"].setdefault("headers", {})["ETag"] = tag
        responses["304"] = {"description": "Nothing has changed.", "headers": {"ETag": tag}}
    if operation["operationId"] == "export_runs":
        types = dict.fromkeys(re.sub(";.*", "", kind.content_type) for kind in ExportAs)
        content = {kind: {"schema": {"type": "string"}} for kind in types}
        responses["200"] = {"description": "The runs, a line each.", "content": content}
    return {**operation, "responses": dict(sorted(responses.items()))}


def _example(schema: Schema, name: str, schemas: dict[str, Schema]) -> Any:
    """A value that the schema allows."""
    if "$ref" in schema:
        return _example(schemas[schema["$ref"].rpartition("/")[2]], name, schemas)
    kinds = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    if kinds:
        return _example(kinds[0], name, schemas)
    if "properties" in schema:
        return {key: _example(each, key, schemas) for key, each in schema["properties"].items()}
    if "enum" in schema:
        known = EXAMPLES.get(name)
        return known if known in schema["enum"] else next(filter(None, schema["enum"]))
    if schema.get("type") == "array":
        return [_example(schema["items"], name, schemas)] if schema["items"] else []
    usual = {
        "integer": 1,
        "number": 1.5,
        "boolean": False,
        "object": {},
        "string": _AT if schema.get("format") == "date-time" else "",
    }.get(schema.get("type", ""))
    known = EXAMPLES.get(name, usual)
    return known if isinstance(known, type(usual)) else usual
