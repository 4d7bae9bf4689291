"""Keys of a URL: fetched once for all, again in the background, and never more often than they may be."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from triolet import JWT, BadToken
from triolet.identity.bounds import JWKS_ASK_SECONDS, JWKS_AWAY_SECONDS, JWKS_BYTES, JWKS_RETRY_SECONDS, JWKS_SECONDS

from .issuer import EDWARDS, OTHER_EDWARDS, jwk, jwks, signed, token
from .test_jwt import EMBEDDED, kind_of, shop

URL = "https://login.example/jwks.json"
REFRESH = 600.0
SOON = 0.001


class Host:
    """What answers at the URL.

    Attributes:
        answer: the body, or what is raised.
        takes: seconds that an answer takes.
        asked: when it was asked, in Trio's time.
    """

    def __init__(self, *kids: str) -> None:
        self.answer: Any = jwks(*[jwk("EdDSA", kid=kid) for kid in kids])
        self.takes = 0.0
        self.asked: list[float] = []

    async def __call__(self, url: str) -> bytes:
        assert url == URL
        self.asked.append(trio.current_time())
        await trio.sleep(self.takes)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer  # type: ignore[no-any-return]  # whatever a test has put there

    def serve(self, *kids: str) -> None:
        self.answer = Host(*kids).answer

    def go_away(self) -> None:
        self.answer = OSError("CANARY: no route")

    def jwt(self, **settings: Any) -> JWT:
        return shop(keys=URL, fetch=self, refresh=REFRESH, **settings)


def of(kid: str, **changes: Any) -> str:
    """A token by a key of this name, good for days."""
    return token(head={"kid": kid}, exp=2e11, **changes)


async def seconds_of(ask: Callable[[], Awaitable[object]]) -> float:
    before = trio.current_time()
    await ask()
    return trio.current_time() - before


async def test_the_first_tokens_wait_for_one_fetch(autojump_clock: MockClock) -> None:
    host, kinds = Host("one"), []
    host.takes = 3
    jwt = host.jwt()

    async def come() -> None:
        kinds.append(await kind_of(jwt, of("one")))

    assert host.asked == []
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(come)
    assert kinds == ["ok"] * 50
    assert len(host.asked) == 1


async def test_keys_are_fetched_again_beside_tokens_that_do_not_wait(autojump_clock: MockClock) -> None:
    host = Host("one")
    jwt = host.jwt()
    await jwt(of("one"))
    await trio.sleep(REFRESH - 1)
    await jwt(of("one"))
    assert len(host.asked) == 1
    host.takes = 3
    await trio.sleep(2)
    for _ in range(3):
        assert await seconds_of(lambda: jwt(of("one"))) == 0
        await trio.sleep(SOON)
    assert len(host.asked) == 2


async def test_a_key_that_is_new_is_fetched_at_once_and_one_that_is_gone_is_gone(autojump_clock: MockClock) -> None:
    host = Host("one")
    jwt = host.jwt()
    assert await kind_of(jwt, of("one")) == "ok"
    await trio.sleep(JWKS_ASK_SECONDS)
    host.serve("two")
    assert await kind_of(jwt, of("two")) == "ok"
    assert await kind_of(jwt, of("one")) == "key"
    assert len(host.asked) == 2


async def test_a_token_that_waits_for_a_new_key_does_not_hold_up_others(autojump_clock: MockClock) -> None:
    host = Host("one")
    jwt = host.jwt()
    await jwt(of("one"))
    await trio.sleep(JWKS_ASK_SECONDS)
    host.takes = 3
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kind_of, jwt, of("two"))
        await trio.sleep(1)
        assert await seconds_of(lambda: jwt(of("one"))) == 0


async def test_made_up_names_of_keys_make_no_more_fetches(autojump_clock: MockClock) -> None:
    host = Host("one")
    jwt = host.jwt()
    await jwt(of("one"))
    for number in range(1_000):
        assert await kind_of(jwt, of(f"made up {number}")) == "key"
        await trio.sleep(0.1)
    gaps = [later - earlier for earlier, later in zip(host.asked, host.asked[1:], strict=False)]
    assert len(host.asked) == 4
    assert min(gaps) >= JWKS_ASK_SECONDS


async def test_nor_do_they_while_the_host_is_away(autojump_clock: MockClock) -> None:
    host = Host("one")
    jwt = host.jwt()
    host.go_away()
    for number in range(1_000):
        assert await kind_of(jwt, of(f"made up {number}")) == "keys_away"
        await trio.sleep(0.1)
    gaps = [later - earlier for earlier, later in zip(host.asked, host.asked[1:], strict=False)]
    assert len(host.asked) <= 100 / JWKS_RETRY_SECONDS + 1
    assert min(gaps) >= JWKS_RETRY_SECONDS


async def test_what_a_token_brings_along_is_not_fetched(autojump_clock: MockClock) -> None:
    host = Host("one")
    assert await kind_of(host.jwt(), token(key=OTHER_EDWARDS, head={"kid": "one", **EMBEDDED})) == "signature"
    assert len(host.asked) == 1  # of its own URL, or the host would say so


async def test_a_bad_form_or_algorithm_makes_no_fetch(autojump_clock: MockClock) -> None:
    host = Host("one")
    assert await kind_of(host.jwt(), "nonsense") == "malformed"
    assert await kind_of(host.jwt(), token("HS256", "x" * 32)) == "algorithm"
    assert host.asked == []


async def test_a_host_that_is_away_at_first_is_asked_again(autojump_clock: MockClock) -> None:
    host = Host("one")
    jwt, good = host.jwt(), host.answer
    host.go_away()
    assert await kind_of(jwt, of("one")) == "keys_away"
    host.answer = good
    assert await kind_of(jwt, of("one")) == "keys_away"
    await trio.sleep(JWKS_RETRY_SECONDS)
    assert await kind_of(jwt, of("one")) == "ok"
    assert len(host.asked) == 2


async def test_a_host_that_does_not_answer_is_waited_for_so_long_and_no_longer(autojump_clock: MockClock) -> None:
    host = Host("one")
    host.takes = 1e6
    jwt = host.jwt()
    assert await seconds_of(lambda: kind_of(jwt, of("one"))) == pytest.approx(JWKS_SECONDS)
    assert await kind_of(jwt, of("one")) == "keys_away"
    assert await seconds_of(lambda: kind_of(jwt, of("one"))) == 0


async def test_the_last_keys_serve_on_for_a_day_while_the_host_is_away(autojump_clock: MockClock) -> None:
    host = Host("one")
    jwt = host.jwt()
    await jwt(of("one"))
    host.go_away()
    host.takes = 3
    for _ in range(int(JWKS_AWAY_SECONDS / REFRESH) - 1):
        await trio.sleep(REFRESH)
        assert await kind_of(jwt, of("one")) == "ok"
    await trio.sleep(REFRESH + SOON)
    assert await kind_of(jwt, of("one")) == "keys_away"
    host.serve("one")
    await trio.sleep(JWKS_RETRY_SECONDS)
    assert await kind_of(jwt, of("one")) == "ok"


async def test_nobody_waits_for_a_host_that_was_away_the_last_time(autojump_clock: MockClock) -> None:
    host = Host("one")
    jwt = host.jwt()
    await jwt(of("one"))
    host.go_away()
    host.takes = 3
    await trio.sleep(REFRESH + 1)
    await jwt(of("one"))
    await trio.sleep(REFRESH * 3)
    assert await seconds_of(lambda: jwt(of("one"))) == 0


async def test_a_key_that_nobody_knows_may_be_new_while_the_host_is_away(autojump_clock: MockClock) -> None:
    """So it is no fault of the client's, who would be sent to log in again for nothing."""
    host = Host("one")
    jwt = host.jwt()
    await jwt(of("one"))
    await trio.sleep(JWKS_ASK_SECONDS)
    host.go_away()
    assert await kind_of(jwt, of("two")) == "keys_away"
    assert await kind_of(jwt, of("one")) == "ok"


async def test_after_a_quiet_night_keys_are_fetched_before_one_is_believed(autojump_clock: MockClock) -> None:
    host = Host("one")
    jwt = host.jwt()
    await jwt(of("one"))
    host.serve("two")
    await trio.sleep(8 * 3600)
    assert await kind_of(jwt, of("one")) == "key"


async def test_after_a_quiet_night_the_last_keys_serve_on_if_the_host_is_away(autojump_clock: MockClock) -> None:
    host = Host("one")
    jwt = host.jwt()
    await jwt(of("one"))
    host.go_away()
    await trio.sleep(8 * 3600)
    assert await kind_of(jwt, of("one")) == "ok"


async def test_a_set_that_is_empty_now_is_an_answer(autojump_clock: MockClock) -> None:
    host = Host("one")
    jwt = host.jwt()
    await jwt(of("one"))
    host.serve()
    await trio.sleep(8 * 3600)
    assert await kind_of(jwt, of("one")) == "key"


HOSTILE: dict[str, Any] = {
    "nothing": b"",
    "HTML": b"<html>CANARY</html>",
    "a list": b'["CANARY"]',
    "no keys": b'{"CANARY": 1}',
    "keys that are a text": b'{"keys": "CANARY"}',
    "deep": b'{"keys":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "deep without an end": b"[" * 200_000,
    "large": b'{"keys": []}' + b" " * JWKS_BYTES,
    "a text": '{"keys": []}',
    "no UTF-8": b'{"keys": ["\xff"]}',
    "keys twice": b'{"keys": [], "keys": ["CANARY"]}',
    "an error": ValueError("CANARY"),
    "a group of errors": ExceptionGroup("CANARY", [OSError("CANARY")]),
    "a time that is up": TimeoutError("CANARY"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_answer_is_no_set_and_is_not_quoted(
    name: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    host = Host("one")
    jwt, good = host.jwt(), host.answer
    host.answer = HOSTILE[name]
    for _ in range(3):
        assert await kind_of(jwt, of("one")) == "keys_away"
        await trio.sleep(JWKS_RETRY_SECONDS)
    host.answer = good
    assert await kind_of(jwt, of("one")) == "ok"
    warning, back = caplog.records  # once, whatever the number of attempts
    assert (warning.levelno, back.levelno) == (logging.WARNING, logging.INFO)
    assert URL in warning.getMessage()
    assert "CANARY" not in caplog.text


async def test_a_secret_that_anybody_can_fetch_is_none(autojump_clock: MockClock) -> None:
    host = Host()
    host.answer = jwks(jwk("HS256", kid="one"), jwk("EdDSA", kid="two"))
    jwt = host.jwt()
    assert await kind_of(jwt, token("HS256", head={"kid": "one"})) == "algorithm"
    assert await kind_of(jwt, of("one")) == "key"
    assert await kind_of(jwt, of("two")) == "ok"


async def test_bad_entries_are_said_once(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    host = Host()
    host.answer = jwks({"kty": "CANARY"}, jwk("EdDSA", kid="one"))
    jwt = host.jwt()
    for _ in range(5):
        assert await kind_of(jwt, of("one")) == "ok"
        await trio.sleep(REFRESH + 1)
    assert len(host.asked) == 5
    assert len(caplog.records) == 1
    assert "CANARY" not in caplog.text


async def test_a_client_that_goes_does_not_take_the_fetch_along(autojump_clock: MockClock) -> None:
    host, kinds = Host("one"), []
    host.takes = 3
    jwt = host.jwt()

    async def come() -> None:
        kinds.append(await kind_of(jwt, of("one")))

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(1) as scope:
            nursery.start_soon(come)
            await jwt(of("one"))
    assert scope.cancelled_caught
    assert kinds == ["ok"]
    assert len(host.asked) == 1


async def test_a_set_with_nameless_keys_is_good_for_every_name(autojump_clock: MockClock) -> None:
    host = Host()
    host.answer = jwks(jwk("EdDSA"))
    jwt = host.jwt()
    assert await kind_of(jwt, of("one")) == "ok"
    assert await kind_of(jwt, token(key=OTHER_EDWARDS, head={"kid": "one"})) == "signature"


async def test_times_are_looked_at_when_the_keys_are_there(autojump_clock: MockClock) -> None:
    host = Host("one")
    host.takes = 3
    text = token(head={"kid": "one"}, exp=1)
    with pytest.raises(BadToken, match="expired"):
        await host.jwt()(text)


def test_one_jwt_serves_one_run_after_another() -> None:
    """The first ends while it fetches: nothing of it is left in the way of the second."""
    host = Host("one")
    jwt, kinds = host.jwt(), []

    async def first() -> None:
        host.takes = 3
        with trio.move_on_after(1):
            await jwt(of("one"))

    async def second() -> None:
        host.takes = 0
        kinds.append(await kind_of(jwt, of("one")))

    for main in (first, second):
        trio.run(main, clock=MockClock(autojump_threshold=0))
    assert kinds == ["ok"]
    assert len(host.asked) == 2


async def test_a_huge_set_is_read_in_its_bounds(autojump_clock: MockClock) -> None:
    host = Host(*[str(number) for number in range(1_500)])
    assert len(host.answer) < JWKS_BYTES
    assert await kind_of(host.jwt(), of("1")) == "ok"
    assert await kind_of(host.jwt(), signed('{"sub":"ada"}', key=EDWARDS, head={"kid": "1400"})) == "key"
