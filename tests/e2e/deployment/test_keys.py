"""TLS with an encrypted key: its password comes from a file or the environment, and the terminal is not asked."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.e2e.needs import needs, program
from tests.e2e.ports import free_port

from .serving import started

HERE = str(Path(__file__).parent)
pytestmark = needs("openssl")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A certificate and its encrypted key, as arguments."""
    folder = tmp_path_factory.mktemp("keys")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = [program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-passout", "pass:secret", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return ["--certfile", str(certificate), "--keyfile", str(key)]


def serving(files: list[str], *more: str) -> list[str]:
    return ["serve", "who_app:app", "--app-dir", HERE, "--bind", str(free_port()), *files, *more]


def test_a_password_stands_in_a_file(files: list[str], tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\nand a second line\n")
    with started(tmp_path, *serving(files, "--keyfile-password-file", str(tmp_path / "password"))) as server:
        server.says("serving on https://")
        server.signal(signal.SIGTERM)
        assert server.ends() == 0


def test_a_password_stands_in_the_environment(files: list[str], tmp_path: Path) -> None:
    with started(tmp_path, *serving(files), environment={"TRIOLET_KEYFILE_PASSWORD": "secret"}) as server:
        server.says("serving on https://")
        server.signal(signal.SIGTERM)
        assert server.ends() == 0


@pytest.mark.parametrize("workers", [[], ["--workers", "2"]], ids=["alone", "two workers"])
def test_a_certificate_that_ends_soon_is_told_of_once_at_the_start_and_at_each_sighup(
    workers: list[str], files: list[str], tmp_path: Path
) -> None:
    password = {"TRIOLET_KEYFILE_PASSWORD": "secret", "E2E_LOG": f"sqlite:///{tmp_path}/events.db"}
    with started(tmp_path, *serving(files, *workers), environment=password) as server:
        server.says("serving on https://")
        assert server.said.count(f"WARNING triolet.server the certificate in {files[1]!r} expires within a week") == 1
        server.signal(signal.SIGHUP)
        server.says("the old ones drain" if workers else "the app serves on as it is")
        assert server.said.count("expires within a week") == 2


@pytest.mark.parametrize(("password", "says"), [("", "is encrypted: give"), ("wrong", "of a wrong password perhaps")])
def test_without_the_right_one_it_says_so(files: list[str], password: str, says: str, tmp_path: Path) -> None:
    with started(tmp_path, *serving(files), environment={"TRIOLET_KEYFILE_PASSWORD": password}) as server:
        assert server.ends() == 1
        assert says in server.said
        assert len(server.said.splitlines()) == 1
