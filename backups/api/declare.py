"""Declaring operations: what each takes, answers and refuses, in one place.

A module of the API makes a `Resource`, and decorates functions with `read` or `act`. These return
documents as from serialize.py. Everything else is the same everywhere: the token's scope, unknown
parameters, entity tags, and the problems in the OpenAPI description.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, TypeVar, get_type_hints

from django.http import HttpResponse, HttpResponseNotModified, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.http import parse_etags
from ninja import Router

from backups.serialize import Json

from .queries import refuse_unknown
from .token import READ, RUN, BearerToken

View = TypeVar("View", bound=Callable[..., Any])
Parameter = dict[str, Any]

IDEMPOTENCY_KEY: Parameter = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "8 to 64 letters, digits, “_” and “-”; instead of the body field.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{8,64}$"},
}
IF_NONE_MATCH: Parameter = {
    "name": "If-None-Match",
    "in": "header",
    "description": "The ETag of an earlier response: 304 if nothing has changed.",
    "schema": {"type": "string"},
}
# the query of each operation, by its function, for the options of commands
QUERIES: dict[Callable[..., Any], list[Parameter]] = {}
# when it was said, which is no change
_MOMENTS = ("at", "now")


def answer(document: Json, status: int = 200, *, location: str = "") -> JsonResponse:
    """A document as a response.

    Args:
        document: as from serialize.py.
        status: HTTP status.
        location: path of the object.
    """
    response = JsonResponse(document, status=status)
    if location:
        response["Location"] = location
    return response


class Resource(Router):
    """A router of the API.

    Args:
        tag: the group of its operations in the description.
    """

    def __init__(self, tag: str) -> None:
        super().__init__(tags=[tag])

    def read(
        self,
        path: str,
        schema: Any,
        *,
        name: str,
        summary: str,
        parameters: Iterable[Parameter] = (),
    ) -> Callable[[View], View]:
        """Declare a GET.

        Args:
            path: below the resource.
            schema: of the answer.
            name: of the URL.
            summary: in a few words.
            parameters: of the query, in OpenAPI; all others are refused.
        """
        return self._operation(
            "GET", path, {200: schema}, READ, name, summary, [*parameters, IF_NONE_MATCH], {}
        )

    def act(
        self,
        path: str,
        schemas: Mapping[int, Any],
        *,
        name: str,
        summary: str,
        method: str = "POST",
        auth: BearerToken = RUN,
        parameters: Iterable[Parameter] = (),
        refusals: Mapping[int, str] | None = None,
    ) -> Callable[[View], View]:
        """Declare an operation that does something.

        Args:
            path: below the resource.
            schemas: of the answer, by status.
            name: of the URL.
            summary: in a few words.
            method: POST, or PUT where sending it again changes nothing.
            auth: the scope that a token needs.
            parameters: of the query and headers, in OpenAPI; all others of a query are refused.
            refusals: descriptions of problems beside those that every operation has, by status.
        """
        described = {
            status: {"description": text, **_PROBLEM} for status, text in (refusals or {}).items()
        }
        return self._operation(
            method, path, schemas, auth, name, summary, list(parameters), described
        )

    def _operation(
        self,
        method: str,
        path: str,
        schemas: Mapping[int, Any],
        auth: BearerToken,
        name: str,
        summary: str,
        parameters: list[Parameter],
        responses: dict[int, Any],
    ) -> Callable[[View], View]:
        query = [each for each in parameters if each["in"] == "query"]
        declare = self.api_operation(
            [method],
            path,
            auth=auth,
            response=dict(schemas),
            url_name=name,
            summary=summary,
            openapi_extra={
                "parameters": parameters,
                "responses": responses,
                "x-token-scope": str(auth.needed),
            },
        )

        def decorate(view: View) -> View:
            QUERIES[view] = query
            declare(_answering(view, [each["name"] for each in query]))
            return view

        return decorate


_PROBLEM = {
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
}


def _answering(view: Callable[..., Any], known: list[str]) -> Callable[..., HttpResponseBase]:
    """The view with what is common to all: parameters are checked, and documents become JSON."""
    # types instead of their names, which ninja would look up in this module
    view.__annotations__ = get_type_hints(view, include_extras=True)

    @wraps(view)
    def answering(request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        refuse_unknown(request, known)
        made = view(request, *args, **kwargs)
        response: HttpResponseBase = made if isinstance(made, HttpResponseBase) else answer(made)
        return _conditional(request, response, made) if request.method == "GET" else response

    return answering


def _conditional(request: Any, response: HttpResponseBase, made: Any) -> HttpResponseBase:
    """Add the entity tag; 304 if the client has this answer."""
    if not isinstance(made, dict) or not isinstance(response, HttpResponse):
        return response
    lasting = {name: value for name, value in made.items() if name not in _MOMENTS}
    text = json.dumps(lasting, sort_keys=True, default=str)
    # weak, because answers are also sent compressed
    tag = f'W/"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
    response["ETag"] = tag
    # only this condition: Django's function answers others with a 412 that is no problem document
    known = parse_etags(request.headers.get("If-None-Match", ""))
    if "*" in known or tag.removeprefix("W/") in [each.removeprefix("W/") for each in known]:
        return HttpResponseNotModified(headers={"ETag": tag})
    return response
