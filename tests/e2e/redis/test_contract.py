"""A log in Redis keeps the contract of EventLog: on one server, by sentinels, in a cluster, with few rights."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from tests.e2e.needs import needs
from tests.pages import text_of
from triolet.app.open_log import open_log
from triolet.errors import LogAway, LogError
from triolet.event import Draft
from triolet.redis.log import RedisLog
from triolet.testing import LOG_CHECKS, LogCheck, LogFactory

from .servers import Cluster, RedisServer, SecureServer, Watched

pytestmark = needs("redis-server", "redis-cli", "openssl")

NAMES = (f"t{number}" for number in count())

RIGHTS = (
    "~{triolet:* resetchannels &{triolet:* -@all +evalsha +eval +subscribe +publish +info +time "
    "+hget +hset +hdel +hscan +get +set +xadd +xrange +xlen +xinfo +xtrim +zadd +zrangebylex +zrem +pexpire +del"
)
"""All that a user needs."""

RIGHTS_IN_A_CLUSTER = ("+cluster|slots", "+ssubscribe", "+spublish")
"""And these in a cluster; the latter two from Redis 7 on."""


def factory_for(url: str, prefix: str = "") -> LogFactory:
    """New logs at a URL: each with keys of its own."""
    mark = "&" if "?" in url else "?"
    return lambda limits, clock: RedisLog(f"{url}{mark}prefix={prefix}{next(NAMES)}", limits, clock)


@pytest.mark.parametrize("check", LOG_CHECKS, ids=lambda check: check.__name__.strip("_"))
@pytest.mark.parametrize("kind", ["single", "socket", "tls", "user", "sentinel", "cluster"])
async def test_a_log_in_redis_keeps_its_promise(kind: str, check: LogCheck, request: pytest.FixtureRequest) -> None:
    await check(FACTORIES[kind](request))


def _single(request: pytest.FixtureRequest) -> LogFactory:
    server: RedisServer = request.getfixturevalue("shared")
    return factory_for(server.url)


def _socket(request: pytest.FixtureRequest) -> LogFactory:
    server: RedisServer = request.getfixturevalue("shared")
    return factory_for(f"unix://{server.socket}?db=1")


def _tls(request: pytest.FixtureRequest) -> LogFactory:
    server: SecureServer = request.getfixturevalue("secure")
    return factory_for(server.secure_url)


def _user(request: pytest.FixtureRequest) -> LogFactory:
    server: RedisServer = request.getfixturevalue("shared")
    server.ask("ACL", "SETUSER", "live", "on", ">s3cret", *RIGHTS.replace("{triolet:", "{triolet-").split())
    return factory_for(f"redis://live:s3cret@127.0.0.1:{server.port}", "triolet-")


def _sentinel(request: pytest.FixtureRequest) -> LogFactory:
    servers: Watched = request.getfixturevalue("watched")
    return factory_for(servers.url)


def _cluster(request: pytest.FixtureRequest) -> LogFactory:
    servers: Cluster = request.getfixturevalue("cluster")
    return factory_for(servers.url)


FACTORIES: dict[str, Callable[[pytest.FixtureRequest], LogFactory]] = {
    "single": _single,
    "socket": _socket,
    "tls": _tls,
    "user": _user,
    "sentinel": _sentinel,
    "cluster": _cluster,
}


def test_the_documentation_lists_these_rights() -> None:
    page = text_of("redis.rst")
    assert f"on >password {RIGHTS}\n" in page
    assert all(f"{right}" in page for right in RIGHTS_IN_A_CLUSTER)


async def test_a_user_with_these_rights_and_no_others_can_use_the_default_prefix(shared: RedisServer) -> None:
    shared.ask("ACL", "SETUSER", "shop", "on", ">pw", *RIGHTS.split())
    async with open_log(f"redis://shop:pw@127.0.0.1:{shared.port}").open() as log:
        assert (await log.append("a", [Draft.of(1, dedupe="k")]))[0].offset == 1


NEEDED = [right for right in RIGHTS.split() if right[0] in "~&+"]


@pytest.mark.parametrize("right", NEEDED)
async def test_a_user_without_one_of_these_rights_is_told_so_at_once(right: str, shared: RedisServer) -> None:
    rights = [each for each in RIGHTS.split() if each != right]
    shared.ask("ACL", "SETUSER", "less", "reset", "on", ">pw", *rights)
    with pytest.raises(LogError, match="does not allow it"):
        async with open_log(f"redis://less:pw@127.0.0.1:{shared.port}").open():
            pass


async def test_a_certificate_that_nobody_vouches_for_is_refused(secure: SecureServer) -> None:
    with pytest.raises(LogAway, match="certificate verify failed"):
        async with open_log(secure.secure_url.partition("?")[0]).open():
            pass


async def test_in_a_cluster_a_user_needs_a_little_more(cluster: Cluster) -> None:
    more = [right for right in RIGHTS_IN_A_CLUSTER if cluster.servers[0].knows(right.strip("+").partition("|")[0])]
    for server in cluster.servers:
        server.ask("ACL", "SETUSER", "shop", "on", ">pw", *RIGHTS.split(), *more)
    async with open_log(cluster.url.replace("://", "://shop:pw@")).open() as log:
        assert (await log.append("a", [Draft.of(1)]))[0].offset == 1


async def test_the_channels_of_a_cluster_are_spread_over_its_servers(cluster: Cluster) -> None:
    async with open_log(f"{cluster.url}?prefix=spread").open() as log:
        for number in range(100):
            await log.append(f"channel {number}", [Draft.of(number)])
    held = [server.ask("--scan", "--pattern", "{spread:*}:events:*").count("\n") + 1 for server in cluster.servers]
    assert sum(held) == 100
    assert min(held) > 5
