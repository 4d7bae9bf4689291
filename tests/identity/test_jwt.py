"""A JWT says who a client is by a token: what it takes, and what it does not."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from triolet import JWT, BadToken, Identity
from triolet.clock import wall_time

from .issuer import (
    EDWARDS,
    KEYS,
    OTHER_EDWARDS,
    SECRET,
    Absent,
    base64url,
    claims,
    jwk,
    pem,
    private_pem,
    rsa_key,
    signed,
    signed_parts,
    token,
)

SHOP: dict[str, Any] = {"audience": "shop", "issuer": "https://login.example"}


def shop(**settings: Any) -> JWT:
    """What takes the tokens of the issuer, by default those of its Ed25519 key."""
    return JWT(**{"keys": pem(EDWARDS), **SHOP, **settings})


async def kind_of(jwt: JWT, text: Any) -> str:
    """What is wrong with a token; ``"ok"`` where nothing is."""
    try:
        await jwt(text)
    except BadToken as error:
        return error.kind
    return "ok"


@pytest.mark.parametrize("algorithm", KEYS)
async def test_a_token_says_who_its_client_is(algorithm: str) -> None:
    keys = SECRET if algorithm == "HS256" else pem(KEYS[algorithm]())
    given = claims(scope="read", roles=["packer", {"of": "north"}])
    identity = await shop(keys=keys)(signed(json.dumps(given), algorithm))
    assert identity == Identity("ada", "s1", given["exp"] + 60, given)


@pytest.mark.parametrize("algorithm", KEYS)
async def test_a_jwks_checks_as_its_key_does(algorithm: str) -> None:
    jwt = shop(keys={"keys": [jwk(algorithm, kid="one")]})
    assert await kind_of(jwt, token(algorithm, head={"kid": "one"})) == "ok"
    assert await kind_of(jwt, token(algorithm)) == "ok"


async def test_no_token_is_nobody() -> None:
    assert await shop()(None) is None


async def test_a_connection_ends_when_its_token_would_no_longer_be_accepted() -> None:
    exp = wall_time() - 30
    identity = await shop(leeway=60)(token(exp=exp))
    assert identity is not None
    assert identity.expires_at == exp + 60


def forged_with_the_public_key(text: str) -> Callable[[], str]:
    return lambda: token("HS256", text, {"alg": "HS256"})


EMBEDDED = {"jku": "https://evil.example/jwks", "x5u": "https://evil.example/x", "jwk": jwk("EdDSA", OTHER_EDWARDS)}

BAD: dict[str, tuple[Any, str]] = {
    # --- the algorithm
    "none": (lambda: signed_parts('{"alg":"none"}', json.dumps(claims())), "algorithm"),
    "None": (lambda: signed_parts('{"alg":"None"}', json.dumps(claims())), "algorithm"),
    "nOnE": (lambda: signed_parts('{"alg":"nOnE"}', json.dumps(claims())), "algorithm"),
    "none, unsigned": (lambda: unsigned(signed_parts('{"alg":"none"}', json.dumps(claims()))), "malformed"),
    "no alg": (lambda: token(head={"alg": Absent}), "algorithm"),
    "an empty alg": (lambda: token(head={"alg": ""}), "algorithm"),
    "alg is null": (lambda: token(head={"alg": None}), "algorithm"),
    "alg is a list": (lambda: token(head={"alg": ["EdDSA"]}), "algorithm"),
    "alg in other letters": (lambda: token(head={"alg": "eddsa"}), "algorithm"),
    "alg of another key": (lambda: token("RS256"), "algorithm"),
    "alg that nobody has": (lambda: token(head={"alg": "HS512"}), "algorithm"),
    "the public key for a secret": (forged_with_the_public_key(pem(EDWARDS)), "algorithm"),
    "the public key for a secret, stripped": (forged_with_the_public_key(pem(EDWARDS).strip()), "algorithm"),
    "an empty secret": (forged_with_the_public_key(""), "algorithm"),
    # --- the signature
    "another's signature": (lambda: token(key=OTHER_EDWARDS), "signature"),
    "a short signature": (lambda: token()[:-10], "signature"),
    "other claims": (lambda: swapped(token(), token(sub="eve")), "signature"),
    "a key in its head": (lambda: token(key=OTHER_EDWARDS, head=EMBEDDED), "signature"),
    # --- the form
    "no text": (lambda: token().encode(), "malformed"),
    "empty": (lambda: "", "malformed"),
    "one part": (lambda: "e30", "malformed"),
    "two parts": (lambda: token().rpartition(".")[0], "malformed"),
    "four parts": (lambda: token() + ".e30", "malformed"),
    "five parts, as of JWE": (lambda: token() + ".e30.e30", "malformed"),
    "an empty head": (lambda: "." + token().partition(".")[2], "malformed"),
    "no claims, as where they are detached": (lambda: signed_parts('{"alg":"EdDSA"}', ""), "malformed"),
    "an empty signature": (lambda: unsigned(token()), "malformed"),
    "a blank before it": (lambda: " " + token(), "malformed"),
    "a line end behind it": (lambda: token() + "\n", "malformed"),
    "padding": (lambda: padded(token()), "malformed"),
    "bits that nobody reads": (lambda: token()[:-1] + "B", "malformed"),
    "letters of other base64": (lambda: token().replace(".", ".+", 1), "malformed"),
    "not ASCII": (lambda: token() + "é", "malformed"),
    "other digits": (lambda: token() + "٣", "malformed"),
    "half a letter": (lambda: token() + "\ud800", "malformed"),
    "10 kB": (lambda: token(more="x" * 10_000), "malformed"),
    "10 kB of dots": (lambda: "." * 10_000, "malformed"),
    "a long head": (lambda: token(head={"x5c": "x" * 4_000}), "malformed"),
    # --- the head
    "a head that is no JSON": (lambda: signed_parts("nonsense", "{}"), "malformed"),
    "a head that is a list": (lambda: signed_parts('["alg"]', "{}"), "malformed"),
    "a head that is no UTF-8": (lambda: signed_parts(b'{"alg":"\xff"}', "{}"), "malformed"),
    "a deep head": (lambda: signed_parts('{"alg":"EdDSA","x":' + "[" * 900 + "]" * 900 + "}", "{}"), "malformed"),
    "a deep head without an end": (lambda: signed_parts("[" * 3_000, "{}"), "malformed"),
    "alg twice": (lambda: signed_parts('{"alg":"none","alg":"EdDSA"}', json.dumps(claims())), "malformed"),
    "crit": (lambda: token(head={"crit": ["exp"], "exp": 1}), "malformed"),
    "an empty crit": (lambda: token(head={"crit": []}), "malformed"),
    "b64": (lambda: token(head={"b64": False, "crit": ["b64"]}), "malformed"),
    "b64 as it is anyway": (lambda: token(head={"b64": True}), "malformed"),
    "a logout token": (lambda: token(head={"typ": "logout+jwt"}), "malformed"),
    "typ is a number": (lambda: token(head={"typ": 1}), "malformed"),
    "kid is a number": (lambda: token(head={"kid": 1}), "malformed"),
    # --- the claims' form
    "claims that are no JSON": (lambda: signed("nonsense"), "malformed"),
    "claims that are a list": (lambda: signed("[]"), "malformed"),
    "claims that are no UTF-8": (lambda: signed(b'{"sub":"\xff"}'), "malformed"),
    "claims in UTF-16": (lambda: signed(json.dumps(claims()).encode("utf-16")), "malformed"),
    "a mark of the order of bytes": (lambda: signed(b"\xef\xbb\xbf" + json.dumps(claims()).encode()), "malformed"),
    "deep claims": (lambda: signed('{"x":' + "[" * 2_000 + "]" * 2_000 + "}"), "malformed"),
    "sub twice": (lambda: signed(json.dumps(claims())[:-1] + ',"sub":"eve"}'), "malformed"),
    "sub twice, once in escapes": (lambda: signed(json.dumps(claims())[:-1] + ',"s\\u0075b":"eve"}'), "malformed"),
    "exp is NaN": (lambda: token(exp=float("nan")), "malformed"),
    "exp is infinite": (lambda: token(exp=float("inf")), "malformed"),
    "exp is 1e999": (lambda: signed(json.dumps(claims()).replace('"exp": ', '"exp": 1e999, "x": ')), "malformed"),
    # --- times
    "no exp": (lambda: token(exp=Absent), "claims"),
    "exp is null": (lambda: token(exp=None), "claims"),
    "exp is a text": (lambda: token(exp=str(wall_time() + 600)), "claims"),
    "exp is true": (lambda: token(exp=True), "claims"),
    "exp is a list": (lambda: token(exp=[wall_time() + 600]), "claims"),
    "exp in milliseconds": (lambda: token(exp=(wall_time() + 600) * 1000 + 1e12), "claims"),
    "exp is 1e308": (lambda: token(exp=1e308), "claims"),
    "exp has a hundred digits": (lambda: token(exp=10**100), "claims"),
    "exp is negative": (lambda: token(exp=-1), "claims"),
    "exp is 0": (lambda: token(exp=0), "expired"),
    "expired": (lambda: token(exp=wall_time() - 60), "expired"),
    "nbf to come": (lambda: token(nbf=wall_time() + 61), "claims"),
    "nbf is a text": (lambda: token(nbf="now"), "claims"),
    "iat to come": (lambda: token(iat=wall_time() + 61), "claims"),
    "iat is a text": (lambda: token(iat="now"), "claims"),
    # --- for whom, and of whom
    "no aud": (lambda: token(aud=Absent), "audience"),
    "aud of another": (lambda: token(aud="mail"), "audience"),
    "aud that begins like ours": (lambda: token(aud="shop2"), "audience"),
    "aud in other letters": (lambda: token(aud="Shop"), "audience"),
    "aud of others": (lambda: token(aud=["mail", "news"]), "audience"),
    "aud of nobody": (lambda: token(aud=[]), "audience"),
    "aud with what is no text": (lambda: token(aud=["shop", 1]), "audience"),
    "aud is an object": (lambda: token(aud={"shop": 1}), "audience"),
    "no iss": (lambda: token(iss=Absent), "issuer"),
    "another's iss": (lambda: token(iss="https://evil.example"), "issuer"),
    "iss with a slash more": (lambda: token(iss="https://login.example/"), "issuer"),
    "iss is a list": (lambda: token(iss=["https://login.example"]), "issuer"),
    # --- who
    "no sub": (lambda: token(sub=Absent), "claims"),
    "sub is null": (lambda: token(sub=None), "claims"),
    "sub is a number": (lambda: token(sub=1), "claims"),
    "sub is empty": (lambda: token(sub=""), "claims"),
    "sub with a control character": (lambda: token(sub="ada\n"), "claims"),
    "sub with a NUL": (lambda: token(sub="ada\0"), "claims"),
    "sub is too long": (lambda: token(sub="é" * 128), "claims"),
    "sub with half a letter": (lambda: token(sub="\ud800"), "malformed"),
    "sid is a number": (lambda: token(sid=1), "claims"),
    "sid is null": (lambda: token(sid=None), "claims"),
    "sid is a list": (lambda: token(sid=["s1"]), "claims"),
    "sid is empty": (lambda: token(sid=""), "claims"),
}


def unsigned(text: str) -> str:
    return text.rpartition(".")[0] + "."


def swapped(one: str, other: str) -> str:
    """The second token with the first one's signature."""
    return other.rpartition(".")[0] + "." + one.rpartition(".")[2]


def padded(text: str) -> str:
    return ".".join(part + "=" * (-len(part) % 4) for part in text.split("."))


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_token_is_refused_and_said_why(name: str) -> None:
    build, kind = BAD[name]
    assert await kind_of(shop(), build()) == kind


@pytest.mark.parametrize("algorithm", KEYS)
async def test_a_token_with_any_letter_changed_is_refused(algorithm: str) -> None:
    jwt = shop(keys=jwk(algorithm))
    text = token(algorithm)
    for at, letter in enumerate(text):
        for other in ("A", "_", "."):
            if other != letter:
                assert await kind_of(jwt, text[:at] + other + text[at + 1 :]) != "ok"
    for at in range(len(text)):
        assert await kind_of(jwt, text[:at]) != "ok"
        assert await kind_of(jwt, text[:at] + text[at + 1 :]) != "ok"


GOOD: dict[str, Callable[[], str]] = {
    "as it is": token,
    "aud among others": lambda: token(aud=["mail", "shop"]),
    "no sid": lambda: token(sid=Absent),
    "no typ": lambda: token(head={"typ": Absent}),
    "typ of an access token": lambda: token(head={"typ": "at+JWT"}),
    "expired by less than the leeway": lambda: token(exp=wall_time() - 59),
    "nbf to come by less than the leeway": lambda: token(nbf=wall_time() + 59),
    "iat to come by less than the leeway": lambda: token(iat=wall_time() + 59),
    "times that are whole": lambda: token(exp=int(wall_time()) + 600, iat=int(wall_time())),
    "a kid, where the key has none": lambda: token(head={"kid": "../../etc/passwd' OR 1=1 --"}),
    "keys in its head, which are not read": lambda: token(head=EMBEDDED),
    "lines": lambda: signed(json.dumps(claims(), indent=1).replace("\n", "\r\n")),
    "many claims": lambda: token(roles={f"role {number}": "x" * 40 for number in range(90)}),
    "sub of 255 bytes": lambda: token(sub="x" * 255),
    "a name twice, in two objects": lambda: token(act={"sub": "bob"}),
}


@pytest.mark.parametrize("name", GOOD)
async def test_a_good_token_is_taken(name: str) -> None:
    assert await kind_of(shop(), GOOD[name]()) == "ok"


@pytest.mark.parametrize(("leeway", "kind"), [(60, "expired"), (121, "ok"), (0, "expired"), (300, "ok")])
async def test_a_clock_two_minutes_ahead_is_borne_with_a_leeway_of_more(leeway: float, kind: str) -> None:
    assert await kind_of(shop(leeway=leeway), token(exp=wall_time() - 120)) == kind


@pytest.mark.parametrize(("leeway", "kind"), [(60, "claims"), (121, "ok")])
async def test_so_is_one_that_is_two_minutes_behind(leeway: float, kind: str) -> None:
    assert await kind_of(shop(leeway=leeway), token(iat=wall_time() + 120, nbf=wall_time() + 120)) == kind


async def test_a_token_may_be_for_any_audience_where_the_app_says_so() -> None:
    for audience in ("mail", ["news"], Absent):
        assert await kind_of(shop(audience=JWT.ANY), token(aud=audience)) == "ok"


async def test_a_token_may_be_for_one_of_several_audiences_and_of_one_of_several_issuers() -> None:
    jwt = shop(audience=["shop", "mail"], issuer=["https://a.example", "https://b.example"])
    assert await kind_of(jwt, token(aud="mail", iss="https://b.example")) == "ok"
    assert await kind_of(jwt, token(aud="news", iss="https://b.example")) == "audience"
    assert await kind_of(jwt, token(aud="mail", iss="https://login.example")) == "issuer"


async def test_any_issuer_is_good_where_none_is_named() -> None:
    assert await kind_of(shop(issuer=None), token(iss="https://evil.example")) == "ok"


async def test_what_an_app_requires_has_to_be_there() -> None:
    jwt = shop(require=("exp", "jti"))
    assert await kind_of(jwt, token()) == "claims"
    assert await kind_of(jwt, token(jti="1")) == "ok"


async def test_tokens_may_last_for_ever_where_the_app_says_so() -> None:
    identity = await shop(require=())(token(exp=Absent))
    assert identity is not None
    assert identity.expires_at is None


async def test_subject_and_session_may_be_other_claims() -> None:
    identity = await shop(subject_claim="email", session_claim="jti")(token(email="ada@example", jti="7", sub=1, sid=1))
    assert identity is not None
    assert (identity.subject, identity.session) == ("ada@example", "7")


async def test_there_may_be_no_session() -> None:
    identity = await shop(session_claim=None)(token(sid=1))
    assert identity is not None
    assert identity.session is None


async def test_algorithms_may_be_fewer_than_the_keys_would_allow() -> None:
    jwt = shop(keys={"keys": [jwk("EdDSA", kid="e"), jwk("ES256", kid="p")]}, algorithms=["ES256"])
    assert await kind_of(jwt, token("ES256", head={"kid": "p"})) == "ok"
    assert await kind_of(jwt, token(head={"kid": "e"})) == "algorithm"


@pytest.mark.parametrize("kid", ["", "two", "ONE", "../../etc/passwd", "one' OR '1'='1", "x" * 2_000, "one\0"])
async def test_a_key_that_is_not_there_is_no_key(kid: str) -> None:
    assert await kind_of(shop(keys={"keys": [jwk("EdDSA", kid="one")]}), token(head={"kid": kid})) == "key"


async def test_a_public_key_of_a_set_is_no_secret_beside_one_that_is() -> None:
    """The confusion of keys, where HS256 is allowed for another key of the same set."""
    rsa = rsa_key()
    jwt = shop(keys={"keys": [jwk("HS256", kid="secret"), jwk("RS256", kid="rsa")]})
    for text in (pem(rsa), pem(rsa).strip(), json.dumps(jwk("RS256", kid="rsa")), jwk("RS256")["n"]):
        assert await kind_of(jwt, token("HS256", text, {"kid": "rsa"})) == "algorithm"
        assert await kind_of(jwt, token("HS256", text, {"kid": "secret"})) == "signature"
        assert await kind_of(jwt, token("HS256", text)) == "signature"


async def test_a_token_that_names_no_key_is_tried_with_a_few() -> None:
    others, ours = [jwk("EdDSA", OTHER_EDWARDS, kid=str(number)) for number in range(4)], jwk("EdDSA", kid="ours")
    few, many = shop(keys={"keys": [*others[:3], ours]}), shop(keys={"keys": [*others, ours]})
    assert await kind_of(few, token()) == "ok"
    assert await kind_of(many, token()) == "key"
    assert await kind_of(many, token(head={"kid": "ours"})) == "ok"


async def test_no_token_and_no_key_is_in_a_repr_an_error_or_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    canary, told = "CANARY0123456789abcdefghijklmnopqrstuvwxyz", []
    private = {**jwk("EdDSA", kid=canary), "d": canary}
    jwt = shop(keys={"keys": [jwk("HS256", canary, kid="s"), private, {"kty": canary}, {"kty": "RSA", "n": canary}]})
    told += [repr(jwt), str(jwt)]
    for build, _ in BAD.values():
        with pytest.raises(BadToken) as caught:
            await jwt(build())
        told += [str(caught.value), repr(caught.value)]
    head = {"kid": canary, "alg": "HS256"}
    for text in (token("HS256", canary, head), token("HS256", SECRET, {"kid": "s"}, sub=canary), f"{canary}.{canary}"):
        with pytest.raises(BadToken) as caught:
            await jwt(text)
        told += [str(caught.value), repr(caught.value), repr(caught.value.__cause__)]
    identity = await jwt(token("HS256", canary, {"kid": "s"}, more=canary))
    told += [repr(identity), caplog.text]
    parts = {canary, base64url(canary), *token().split(".")}
    assert not [part for part in parts for text in told if part in text]
    assert caplog.records  # the entries that were left out
    assert private_pem(EDWARDS) not in caplog.text
