"""The description of the operator's listener (OpenAPI 3.1), made of the table that routes its requests."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final

import msgspec

from .bodies import Refused
from .contract import JSON
from .requests import NDJSON
from .routes import Parameter, Route

__all__ = ["describe"]

_REFERENCE: Final = "#/components/schemas/{name}"
_REFUSALS: Final = {
    400: "The request is wrong; `message` says what.",
    401: "The key is missing, or another one.",
    403: "A page of another site asks.",
    421: "Without a key, another name than the loopback's.",
}
"""What every route may say that is not open to anybody."""


def describe(routes: tuple[Route, ...]) -> bytes:
    """Return the description of a table as JSON."""
    types = [Refused, *(route.gives for route in routes if route.gives is not None)]
    types += [taken for route in routes for taken in route.takes.values()]
    schemas, named = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    of_type = {repr(one): schema for one, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, of_type)
    said = {
        "openapi": "3.1.0",
        "info": {
            "title": "Triolet: the operator's listener",
            "version": version("triolet"),
            "description": "Publishes events, and shows how the clients of all workers do.",
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}, {}],
        "paths": paths,
        "components": {
            "schemas": named,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "Of --admin-key-file or TRIOLET_ADMIN_KEY."}
            },
        },
    }
    return msgspec.json.encode(said)


def _operation(route: Route, of_type: dict[str, Any]) -> dict[str, Any]:
    refusals = dict(route.may_say) if route.is_open else {**_REFUSALS, **route.may_say}
    gives = {"type": "string"} if route.gives is None else of_type[repr(route.gives)]
    no = gives if route.gives is None and route.is_open else of_type[repr(Refused)]
    kind = route.kind if route.is_open else JSON
    said: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.about,
        "responses": {
            "200": {"description": "It is so.", "content": {route.kind: {"schema": gives}}},
            **{
                str(status): {"description": why, "content": {kind: {"schema": no}}}
                for status, why in sorted(refusals.items())
            },
        },
    }
    if route.is_open:
        said["security"] = []
    if route.parameters:
        said["parameters"] = [_parameter(route, parameter) for parameter in route.parameters]
    if route.takes:
        content = {kind: {"schema": _body(kind, of_type[repr(form)])} for kind, form in route.takes.items()}
        said["requestBody"] = {"required": True, "content": content}
    return said


def _body(kind: str, schema: Any) -> Any:
    """Of many lines the schema is that of each, which OpenAPI 3.1 cannot say otherwise than in words."""
    return {"type": "string", "description": f"Lines, each of them {schema['$ref']}."} if kind == NDJSON else schema


def _parameter(route: Route, parameter: Parameter) -> dict[str, Any]:
    number = {"type": "integer", "minimum": 1, "maximum": parameter.most}
    return {
        "name": parameter.name,
        "in": "path" if f"{{{parameter.name}}}" in route.path else "query",
        "required": parameter.needed,
        "description": parameter.about,
        "schema": {"type": "string"} if parameter.most is None else number,
    }
