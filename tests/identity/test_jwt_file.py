"""Keys of a file: read again when it changes; the last good ones serve on while it is no good."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from triolet import clock
from triolet.identity.bounds import JWKS_AWAY_SECONDS, JWKS_BYTES

from .issuer import EDWARDS, ELLIPTIC, SECRET, jwk, jwks, pem, token
from .test_jwt import kind_of, shop

ONE, TWO = jwks(jwk("EdDSA", kid="one")), jwks(jwk("EdDSA", kid="two"))


def put(path: Path, content: bytes | str) -> Path:
    """As a deployment does it: in one step."""
    new = path.with_suffix(".new")
    new.write_bytes(content.encode() if isinstance(content, str) else content)
    return new.replace(path)


async def named(jwt: object, kid: str) -> str:
    return await kind_of(jwt, token(head={"kid": kid}, exp=2e11))  # type: ignore[arg-type]  # the mistake is meant


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return put(tmp_path / "keys", ONE)


async def test_a_file_is_named_by_a_path_or_a_url(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    put(file.parent / "a key", ONE)
    for keys in (file, file.as_uri(), f"file:{file}", "file:keys", "file://localhost" + str(file), "FILE:a%20key"):
        assert await named(shop(keys=keys), "one") == "ok"


async def test_a_file_that_changes_is_read_again(file: Path) -> None:
    jwt = shop(keys=file)
    assert [await named(jwt, kid) for kid in ("one", "two")] == ["ok", "key"]
    put(file, TWO)
    assert [await named(jwt, kid) for kid in ("one", "two")] == ["key", "ok"]


async def test_its_type_may_change(file: Path) -> None:
    jwt = shop(keys=file)
    for content, algorithm in ((pem(EDWARDS), "EdDSA"), (pem(ELLIPTIC), "ES256"), (jwks(jwk("HS256")), "HS256")):
        put(file, content)
        assert await kind_of(jwt, token(algorithm)) == "ok"
        assert await kind_of(jwt, token("RS256")) == "algorithm"
    assert await kind_of(jwt, token("HS256", SECRET)) == "ok"


async def test_a_public_key_in_a_file_is_no_secret(file: Path) -> None:
    text = pem(ELLIPTIC)
    assert await kind_of(shop(keys=put(file, text)), token("HS256", text)) == "algorithm"


async def test_a_file_that_stays_is_not_read_again(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    jwt = shop(keys=file)
    for _ in range(3):
        await named(jwt, "one")
    assert not caplog.records


@pytest.mark.parametrize("content", [b"", b"{", b"CANARY", TWO + b" " * JWKS_BYTES, b"-----BEGIN CANARY-----"])
async def test_the_last_keys_serve_on_while_a_file_is_no_good(
    content: bytes, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    jwt = shop(keys=file)
    put(file, content)
    assert [await named(jwt, "one") for _ in range(3)] == ["ok"] * 3
    (record,) = caplog.records
    assert str(file) in record.getMessage()
    assert "CANARY" not in caplog.text
    put(file, TWO)
    assert await named(jwt, "two") == "ok"


async def test_so_they_do_for_a_day_while_it_is_gone(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jwt, now = shop(keys=file), clock.wall_time()
    monkeypatch.setattr(clock, "source", lambda: now)
    os.unlink(file)
    assert await named(jwt, "one") == "ok"
    now += JWKS_AWAY_SECONDS
    assert await named(jwt, "one") == "ok"
    now += 1
    assert await named(jwt, "one") == "keys_away"
    put(file, ONE)
    assert await named(jwt, "one") == "ok"


async def test_a_pipe_in_its_place_is_not_waited_for(file: Path) -> None:
    jwt = shop(keys=file)
    os.unlink(file)
    os.mkfifo(file)
    assert await named(jwt, "one") == "ok"


async def test_a_file_may_take_all_keys_back(file: Path) -> None:
    jwt = shop(keys=file)
    put(file, jwks())
    assert await named(jwt, "one") == "key"
