"""Hostile requests, one connection each: the same process afterwards, nothing leaked, and bystanders miss nothing."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from ..needs import needs
from ..raw import Wire
from ..server import Server
from . import frames, handshakes, http1, smuggling
from .house import LIMITS, House
from .probe import Probe
from .proxies import proxy

DIRECT = [*http1.PROBES, *smuggling.PROBES, *handshakes.PROBES, *frames.PROBES, *frames.QUART_PROBES]
PROXIED = [
    *(probe for probe in http1.PROBES if probe not in http1.CURSORS),
    *smuggling.PROBES,
    *(probe for probe in handshakes.PROBES if not probe.name.startswith("channel")),
    *(probe for probe in frames.PROBES if not probe.name.startswith(("raw", "channel"))),
]
"""Those that a proxy may turn into something else."""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(Server(tmp_path_factory.mktemp("hostile"), limits=LIMITS))
    yield house
    house.close()


@pytest.fixture(scope="module", params=["nginx", "haproxy"])
def proxied(
    request: pytest.FixtureRequest, house: House, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, int]]:
    with proxy(request.param, house.server.port, tmp_path_factory.mktemp(request.param)) as address:
        yield address


@pytest.mark.parametrize("probe", DIRECT, ids=str)
def test_a_hostile_request_harms_nobody(house: House, probe: Probe) -> None:
    house.attack(probe, partial(Wire, house.server.address))


@needs("nginx", "haproxy")
@pytest.mark.parametrize("probe", PROXIED, ids=str)
def test_a_hostile_request_through_a_proxy_harms_nobody(house: House, proxied: tuple[str, int], probe: Probe) -> None:
    house.attack(probe, partial(Wire, proxied), proxied=True)
