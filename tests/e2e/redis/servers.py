"""Real redis-servers on free ports: one, a cluster of three, and one with a replica and a sentinel."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.e2e.certificate import make_certificate
from tests.e2e.needs import program
from tests.e2e.ports import OF_REDIS, free_port

__all__ = [
    "Cluster",
    "RedisServer",
    "SecureServer",
    "Watched",
    "kept",
    "running",
    "running_cluster",
    "running_watched",
]

START_SECONDS = 30
"""How long any of them may take to be ready. They need some tenths of a second; the machine may be busy."""


def until(holds: object, what: str) -> None:
    """Wait until something is so."""
    give_up_at = time.monotonic() + START_SECONDS
    while not (callable(holds) and holds()):
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"in {START_SECONDS} s it did not come to be that {what}")
        time.sleep(0.02)


class RedisServer:
    """One redis-server, which may be stopped and started again on its port, with its folder."""

    def __init__(self, folder: Path, *options: str, sentinel: bool = False) -> None:
        self.folder = folder
        self.port = free_port(OF_REDIS)
        self.socket = str(folder / "redis.sock")
        self._options = options
        self._sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        arguments = [program("redis-server")]
        if self._sentinel:
            arguments += [str(self.folder / "sentinel.conf"), "--sentinel"]
        else:
            arguments += ["--dir", str(self.folder), "--save", "", "--unixsocket", self.socket]
        arguments += ["--port", str(self.port), "--bind", "127.0.0.1", *self._options]
        with open(self.folder / "output", "ab") as output:
            self._process = subprocess.Popen(arguments, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        until(lambda: self.ask("PING", check=False).startswith(("PONG", "NOAUTH")), "redis-server answers")

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it; as ``kill -9`` does, unless told otherwise."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGCONT)
            self._process.send_signal(how)
            self._process.wait(START_SECONDS)
            self._process = None

    def freeze(self) -> None:
        """Let it hang: connections stay open, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def knows(self, command: str) -> bool:
        """Whether its version has a command."""
        return command in self.ask("COMMAND", "INFO", command)

    def ask(self, *command: str, check: bool = True, lines: str = "") -> str:
        """What redis-cli prints of a command, or of some lines of them."""
        arguments = [program("redis-cli"), "-p", str(self.port), "--raw", *command]
        done = subprocess.run(arguments, input=lines, capture_output=True, text=True, check=False)
        if check:
            assert done.returncode == 0, f"{done.stdout} {done.stderr}"
            assert not done.stdout.startswith(("ERR", "NOPERM", "WRONG")), done.stdout
        return done.stdout.strip()


@contextmanager
def running(folder: Path, *options: str) -> Iterator[RedisServer]:
    """A server for the time of a block."""
    with kept(RedisServer(folder, *options)) as server:
        yield server


@contextmanager
def kept(server: RedisServer) -> Iterator[RedisServer]:
    """Run a server for the time of a block."""
    try:
        server.start()
        yield server
    finally:
        server.stop()


class SecureServer(RedisServer):
    """One that speaks TLS too, on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self._secure_port = free_port(OF_REDIS)
        folder.mkdir(parents=True, exist_ok=True)
        _, certificate, _, key = make_certificate(folder)
        self._certificate = certificate
        files = ("--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificate)
        super().__init__(folder, "--tls-port", str(self._secure_port), *files, "--tls-auth-clients", "no")

    @property
    def secure_url(self) -> str:
        return f"rediss://localhost:{self._secure_port}/0?ca={self._certificate}"


class Cluster:
    """Three servers that share the slots."""

    def __init__(self, servers: list[RedisServer]) -> None:
        self.servers = servers

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(f'127.0.0.1:{server.port}' for server in self.servers)}"

    def join(self) -> None:
        """Make a cluster of them."""
        for number, server in enumerate(self.servers):
            server.ask("CLUSTER", "ADDSLOTS", *map(str, range(number * 5_500, min((number + 1) * 5_500, 16_384))))
        for server in self.servers[1:]:
            self.servers[0].ask("CLUSTER", "MEET", "127.0.0.1", str(server.port))
        until(lambda: all(self._is_whole(server) for server in self.servers), "the cluster is whole")

    def move(self, slot: int) -> None:
        """Move a slot, with all its keys, to the next server."""
        names = [server.ask("CLUSTER", "MYID") for server in self.servers]
        owner = next(at for at, server in enumerate(self.servers) if self._has(server, slot))
        other = (owner + 1) % len(self.servers)
        source, target = self.servers[owner], self.servers[other]
        target.ask("CLUSTER", "SETSLOT", str(slot), "IMPORTING", names[owner])
        source.ask("CLUSTER", "SETSLOT", str(slot), "MIGRATING", names[other])
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", str(slot), "100").splitlines():
            source.ask("MIGRATE", "127.0.0.1", str(target.port), "", "0", "5000", "KEYS", *keys)
        for server in (target, source, *self.servers):
            server.ask("CLUSTER", "SETSLOT", str(slot), "NODE", names[other])

    def _has(self, server: RedisServer, slot: int) -> bool:
        own = next(line for line in server.ask("CLUSTER", "NODES").splitlines() if "myself" in line).split()[8:]
        ranges = [part.partition("-") for part in own if not part.startswith("[")]
        return any(int(first) <= slot <= int(last or first) for first, _, last in ranges)

    def _is_whole(self, server: RedisServer) -> bool:
        return (
            "cluster_state:ok" in server.ask("CLUSTER", "INFO") and server.ask("CLUSTER", "NODES").count("master") == 3
        )


@contextmanager
def running_cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster for the time of a block."""
    patient = ("--cluster-node-timeout", "60000")  # a busy machine must not look like a dead server
    with ExitStack() as stack:
        cluster = Cluster(
            [
                stack.enter_context(running(folder / str(number), "--cluster-enabled", "yes", *patient))
                for number in range(3)
            ]
        )
        cluster.join()
        yield cluster


class Watched:
    """A server, its replica, and a sentinel that promotes it."""

    def __init__(self, master: RedisServer, replica: RedisServer, sentinel: RedisServer) -> None:
        self.master = master
        self.replica = replica
        self.sentinel = sentinel

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.sentinel.port}/mine/0"

    def let_the_replica_catch_up(self) -> None:
        """Wait until the replica has all that the master has. (WAIT would wait for what its own connection has written,
        and that is nothing.)"""
        wanted = _offset(self.master, "master_repl_offset")
        until(lambda: _offset(self.replica, "slave_repl_offset") >= wanted, "the replica has all")

    def cut_off_the_replica(self) -> None:
        """What the master is given from now on the replica does not get: it is not let in any more."""
        self.master.ask(lines="CONFIG SET requirepass secret\nCLIENT KILL TYPE replica\n")


def _offset(server: RedisServer, field: str) -> int:
    lines = server.ask("INFO", "replication").splitlines()
    return next(int(line.partition(":")[2]) for line in lines if line.startswith(f"{field}:"))


@contextmanager
def running_watched(folder: Path, patience_ms: int) -> Iterator[Watched]:
    """Such a set for the time of a block. The sentinel waits so long for a server that is silent."""
    with running(folder / "master", "--repl-diskless-sync-delay", "0") as master, ExitStack() as stack:
        options = ("--replicaof", "127.0.0.1", str(master.port), "--repl-diskless-sync-delay", "0")
        replica = stack.enter_context(running(folder / "replica", *options))
        until(lambda: "master_link_status:up" in replica.ask("INFO", "replication"), "the replica follows")
        sentinel = RedisServer(folder / "sentinel", sentinel=True)
        (sentinel.folder / "sentinel.conf").write_text(
            f"sentinel monitor mine 127.0.0.1 {master.port} 1\n"
            f"sentinel down-after-milliseconds mine {patience_ms}\nsentinel failover-timeout mine 2000\n"
        )
        stack.callback(sentinel.stop)
        sentinel.start()
        until(lambda: str(replica.port) in sentinel.ask("SENTINEL", "REPLICAS", "mine"), "the sentinel knows both")
        yield Watched(master, replica, sentinel)
