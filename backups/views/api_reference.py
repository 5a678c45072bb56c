"""The reference of the API, from its OpenAPI description."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import get_script_prefix
from django.views.decorators.http import require_safe

from backups.api.urls import BASE, description

from .common import PageRequest

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter, or a field of a body."""

    name: str
    type: str
    text: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """An operation as the page shows it.

    Attributes:
        tag: its group.
        answers: pairs of status and what it means, without the problems that all have.
        problems: the statuses of these.
        example: a command line.
    """

    tag: str
    name: str
    method: str
    path: str
    scope: str
    summary: str
    text: str
    parameters: list[Field]
    fields: list[Field]
    answers: list[tuple[str, str]]
    problems: str
    example: str


@require_safe
def api_reference(request: PageRequest) -> HttpResponse:
    """All operations, by group."""
    base = request.build_absolute_uri(f"{get_script_prefix()}{BASE}").rstrip("/")
    variables = f"export CSS={base}\nexport TOKEN=csslb_…"
    context = {"groups": _groups(), "variables": variables}
    return render(request, "backups/api_reference.html", context)


@cache
def _groups() -> list[tuple[str, list[Shown]]]:
    schema = description()
    found = [
        _shown(method.upper(), path.partition(f"/{BASE}")[2], each, schema["components"])
        for path, operations in schema["paths"].items()
        for method, each in operations.items()
    ]
    found.sort(key=lambda each: (each.tag, each.path, each.method))
    return [(tag, list(each)) for tag, each in groupby(found, key=lambda each: each.tag)]


def _shown(method: str, path: str, operation: Schema, components: Schema) -> Shown:
    body = _resolved(_body_of(operation), components)
    required = body.get("required", [])
    fields = [
        Field(name, _type(each), each.get("description", ""), name in required)
        for name, each in body.get("properties", {}).items()
    ]
    example = body.get("examples", [{}])[0]
    sent = required or ("filter", "reason")
    wanted = {name: value for name, value in example.items() if name in sent}
    answers = operation["responses"].items()
    return Shown(
        operation["tags"][0],
        operation["operationId"],
        method,
        f"/{path}",
        operation["x-token-scope"],
        operation["summary"],
        operation["description"],
        [
            Field(each["name"], _type(each["schema"]), each.get("description", ""))
            for each in operation["parameters"]
            if each["in"] != "path"
        ],
        fields,
        [
            (status, each["description"] if each["description"] != "OK" else "")
            for status, each in answers
            if "$ref" not in each
        ],
        ", ".join(status for status, each in answers if "$ref" in each),
        _curl(method, f"/{path}", wanted),
    )


def _body_of(operation: Schema) -> Schema:
    content = operation.get("requestBody", {}).get("content", {})
    schema: Schema = content.get("application/json", {}).get("schema", {})
    return schema


def _resolved(schema: Schema, components: Schema) -> Schema:
    for each in (schema, *schema.get("anyOf", ())):
        if "$ref" in each:
            found: Schema = components["schemas"][each["$ref"].rpartition("/")[2]]
            return found
    return schema


def _type(schema: Schema) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    return str(schema.get("format") or schema.get("type") or schema["$ref"].rpartition("/")[2])


def _curl(method: str, path: str, body: Schema) -> str:
    parts = ["curl"]
    if method != "GET":
        parts.append(f"-X {method}")
    parts.append('-H "Authorization: Bearer $TOKEN"')
    if body:
        parts.append('-H "Content-Type: application/json" \\\n ')
        parts.append(f"-d '{json.dumps(body)}'")
    return " ".join([*parts, "$CSS" + path.replace("{id}", "1")])
