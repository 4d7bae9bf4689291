"""One server of each kind for all tests that do it no harm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .servers import Cluster, RedisServer, SecureServer, Watched, kept, running, running_cluster, running_watched


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that keeps running."""
    with running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureServer]:
    """A server with TLS."""
    server = SecureServer(tmp_path_factory.mktemp("secure"))
    with kept(server):
        yield server


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that keeps running."""
    with running_cluster(tmp_path_factory.mktemp("cluster")) as servers:
        yield servers


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A server with a replica and a sentinel, of which nobody fails."""
    with running_watched(tmp_path_factory.mktemp("watched"), 60_000) as servers:
        yield servers


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own, which forgets everything at its end."""
    with running(tmp_path / "redis") as alone:
        yield alone


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own that loses nothing it has acknowledged."""
    with running(tmp_path / "redis", "--appendonly", "yes", "--appendfsync", "always") as alone:
        yield alone
