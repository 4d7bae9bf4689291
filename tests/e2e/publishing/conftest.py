"""One Redis, and one server that follows it, for all that publish from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.redis.servers import RedisServer, running
from tests.e2e.server import Server, serving


@pytest.fixture(scope="package")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that keeps running."""
    with running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="package")
def by_redis(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The shop's server, with its log there."""
    with serving(tmp_path_factory.mktemp("served"), "publishing.app:app", log=redis.url) as server:
        yield server


@pytest.fixture(scope="package")
def by_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same, with its log in a file."""
    folder = tmp_path_factory.mktemp("served")
    with serving(folder, "publishing.app:app", log="sqlite:///events.db") as server:
        yield server
