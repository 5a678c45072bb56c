"""Answers of the API compared with its OpenAPI description, whichever test asks."""

from __future__ import annotations

import re
from copy import deepcopy
from functools import cache
from typing import Any

import jsonschema_rs


@cache
def described() -> dict[str, Any]:
    """The description, in which objects have no members beside those that it names."""
    from backups.api.urls import description

    found = deepcopy(description())
    for schema in found["components"]["schemas"].values():
        # problems have further members, by their type
        if "properties" in schema and not schema.get("title", "").endswith("Problem"):
            schema["additionalProperties"] = False
    return found


@cache
def validator(path: str, method: str, status: int) -> Any:
    """Of an answer; None where the description has none."""
    operation = described()["paths"][path].get(method.lower())
    answer = operation and operation["responses"].get(str(status))
    if not answer:
        return None
    if "$ref" in answer:
        answer = described()["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    if "content" not in answer:
        return None
    schema = next(iter(answer["content"].values()))["schema"]
    return jsonschema_rs.validator_for({**schema, "components": described()["components"]})


def check_described(method: str, url: str, status: int, body: Any) -> None:
    """Fail if an answer is not as described. `body` is None for what is no JSON."""
    asked = url.partition("?")[0]
    for path in described()["paths"]:
        if re.fullmatch(path.replace("{id}", r"\d+"), asked):
            operation = described()["paths"][path].get(method.lower())
            if operation is None:
                assert status in (401, 405, 406, 411, 413, 415), f"{method} {url}: {status}"
                return
            assert str(status) in operation["responses"], f"{method} {url}: {status} is unknown"
            found = validator(path, method, status)
            if found is not None and body is not None:
                problems = [
                    f"{'/'.join(map(str, each.instance_path))}: {each.message[:200]}"
                    for each in found.iter_errors(body)
                ]
                assert not problems, f"{method} {url}: {problems[:5]}"
            return
