"""The description of the listener: valid, whole, and true of what is answered."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # its types are a package of others
from openapi_spec_validator import OpenAPIV31SpecValidator
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS, make_shop
from triolet.admin.openapi import describe
from triolet.admin.table import ROUTES
from triolet.app.desk import _OPERATIONS
from triolet.testing.server import serve

from .asking import Told, ask, get, office

SAID: Any = json.loads(describe(ROUTES))


def test_it_is_openapi_3_1() -> None:
    assert not list(OpenAPIV31SpecValidator(SAID).iter_errors())


def test_every_route_is_described_and_nothing_else() -> None:
    described = {(method.upper(), path) for path, methods in SAID["paths"].items() for method in methods}
    assert described == {(route.method, route.path) for route in ROUTES}
    names = [route.operation for route in ROUTES]
    assert len(set(names)) == len(names)


def test_every_operation_that_a_desk_is_asked_has_a_route() -> None:
    assert set(_OPERATIONS) - {"revoke_here"} <= {route.operation for route in ROUTES}


def schema_of(operation: Any, status: int) -> Any:
    return operation["responses"][str(status)]["content"]["application/json"]["schema"]


def check(told: Told, path: str, method: str = "get", status: int = 200) -> None:
    """Hold an answer to what the description says of it."""
    assert told.status == status, told
    schema = schema_of(SAID["paths"][path][method], status)
    Draft202012Validator({**schema, "components": SAID["components"]}).validate(told.json)


async def test_what_is_answered_is_what_is_described(autojump_clock: MockClock) -> None:
    app, live = make_shop()

    @live.channel("/room/events", member=lambda: "ann")
    async def room() -> str:
        return "room"

    async with serve(app) as server, server.sse(ORDERS) as client, server.events("/room/events") as stream:
        await client.until("live")
        await stream.own("live")
        asked = office(server.worker)
        event = {"channel": ORDER, "data": [1], "key": "k", "fold": "concat"}
        check(await ask(asked, "POST", "/publish", event), "/publish", "post")
        check(await ask(asked, "POST", "/publish", {"data": 1}), "/publish", "post", 400)
        check(await ask(asked, "POST", "/publish", b"x=1", "text/plain"), "/publish", "post", 415)
        check(await get(asked, f"/history?channel={ORDER}&after=old.1"), "/history")
        check(await get(asked, "/history"), "/history", status=400)
        check(await get(asked, "/presence?channel=room"), "/presence")
        found = await get(asked, "/connections")
        check(found, "/connections")
        check(await get(asked, f"/explain/{found.json['connections'][0]['id']}"), "/explain/{id}")
        check(await get(asked, "/explain/99999999"), "/explain/{id}", status=404)
        check(await get(asked, "/connections", sec_fetch_site="cross-site"), "/connections", status=403)
        check(await get(asked, "/connections", host="x.example"), "/connections", status=421)
        check(await ask(asked, "POST", "/revoke", {"subject": "ann"}), "/revoke", "post")
        told = await get(asked, "/openapi.json")
        assert told.json == SAID


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_a_route_says_what_it_does_in_sentences(route: Any) -> None:
    for text in (route.about, *(one.about for one in route.parameters), *route.may_say.values()):
        assert text[0].isupper() or text[0].isdigit()
        assert text.endswith(".")
