"""What a JWT is made of, and what it cannot be made of: a ConfigError that says so in one sentence."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from triolet import JWT, ConfigError
from triolet.identity.bounds import JWKS_KEYS

from .issuer import EDWARDS, ELLIPTIC, SECRET, base64url, jwk, pem, private_pem, rsa_key, token
from .test_jwt import kind_of, shop

URL = "https://login.example/jwks.json"


def der(key: Any) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[no-any-return]  # untyped


def ssh(key: Any) -> bytes:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)  # type: ignore[no-any-return]  # untyped


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a short secret": ({"keys": "x" * 31}, "at least 32 bytes"),
    "an empty secret": ({"keys": ""}, "at least 32 bytes"),
    "a short secret in a JWK": ({"keys": jwk("HS256", "x" * 31)}, "at least 32 bytes"),
    "no keys": ({"keys": None}, "NoneType"),
    "a number": ({"keys": 7}, "int"),
    "a text with half a letter": ({"keys": "\ud800" * 32}, "no text"),
    "a private key": ({"keys": private_pem(EDWARDS)}, "private key"),
    "a certificate": ({"keys": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"}, "certificate"),
    "PEM that is none": ({"keys": "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----"}, "no public key"),
    "two keys as PEM": ({"keys": pem(EDWARDS) + pem(ELLIPTIC)}, "several keys"),
    "a key as DER": ({"keys": der(EDWARDS)}, "public key, and no secret"),
    "a key as base64": ({"keys": "".join(pem(EDWARDS).splitlines()[1:-1])}, "public key, and no secret"),
    "a key of SSH": ({"keys": ssh(EDWARDS)}, "public key, and no secret"),
    "a curve that is none of ours": ({"keys": pem(ec.derive_private_key(7, ec.SECP384R1()))}, "P-256"),
    "another Edwards curve": ({"keys": pem(ed448.Ed448PrivateKey.from_private_bytes(bytes(57)))}, "Ed25519"),
    "a short RSA key": ({"keys": pem(rsa_key(1024))}, "2048"),
    "an empty JWKS": ({"keys": {"keys": []}}, "no key"),
    "JSON that is no JWKS": ({"keys": '{"client_secret": "0123456789abcdef0123456789abcdef"}'}, "no JWKS"),
    "a dict that is no JWKS": ({"keys": {"keys": "x"}}, "no JWKS"),
    "the name of a file": ({"keys": "/etc/shop/keys/production/public.pem"}, "name of a file"),
    "the name of a file that is there": ({"keys": os.__file__}, "name of a file"),
    "a file that is not there": ({"keys": Path("/not/there.pem")}, "cannot be read"),
    "a folder": ({"keys": Path("/")}, "no file"),
    "a device that never ends": ({"keys": Path("/dev/zero")}, "no file"),
    "a file of another host": ({"keys": "file://host/keys.pem"}, "three slashes"),
    "a URL without TLS": ({"keys": "http://login.example/jwks.json"}, "https"),
    "a URL that only looks like the loopback": ({"keys": "http://127.0.0.1.evil.example/"}, "https"),
    "another scheme": ({"keys": "ftp://login.example/jwks.json"}, "https"),
    "a URL without a host": ({"keys": "https:///jwks.json"}, "no URL"),
    "a URL with a bad port": ({"keys": "https://login.example:x/"}, "no URL"),
    "a URL with a blank": ({"keys": "https://login.example/a b"}, "no URL"),
    "a URL with a password": ({"keys": "https://me:CANARY@login.example/"}, "password"),
    "no audience": ({"audience": None}, "JWT.ANY"),
    "an empty audience": ({"audience": ""}, "audience"),
    "audiences of none": ({"audience": []}, "audience"),
    "an audience that is a number": ({"audience": 1}, "audience"),
    "an empty issuer": ({"issuer": ""}, "issuer"),
    "a negative leeway": ({"leeway": -1}, "leeway"),
    "a long leeway": ({"leeway": 301}, "leeway"),
    "a leeway of 400 digits": ({"leeway": 10**400}, "leeway"),
    "a leeway of NaN": ({"leeway": math.nan}, "leeway"),
    "a leeway of true": ({"leeway": True}, "leeway"),
    "a leeway that is a text": ({"leeway": "60"}, "leeway"),
    "to require a number": ({"require": [1]}, "require"),
    "to require None": ({"require": None}, "require"),
    "an empty claim": ({"subject_claim": ""}, "subject_claim"),
    "no claim for the subject": ({"subject_claim": None}, "subject_claim"),
    "an empty claim for the session": ({"session_claim": ""}, "session_claim"),
    "none": ({"algorithms": ["none"]}, "algorithms"),
    "no algorithms": ({"algorithms": []}, "algorithms"),
    "HS256 for a public key": ({"algorithms": ["HS256", "EdDSA"]}, "EdDSA"),
    "HS256 for a URL": ({"keys": URL, "algorithms": ["HS256"]}, "RS256"),
    "RS256 for a secret": ({"keys": SECRET, "algorithms": ["RS256"]}, "HS256"),
    "a refresh of what is no URL": ({"refresh": 600}, "refresh"),
    "a refresh too often": ({"keys": URL, "refresh": 29}, "refresh"),
    "a refresh too seldom": ({"keys": URL, "refresh": 86_401}, "refresh"),
    "a refresh that is a text": ({"keys": URL, "refresh": "600"}, "refresh"),
    "a fetch of what is no URL": ({"fetch": print}, "fetch"),
    "a fetch that is none": ({"keys": URL, "fetch": "curl"}, "fetch"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_setting_that_cannot_work_is_refused_in_one_sentence(name: str) -> None:
    settings, said = WRONG[name]
    with pytest.raises(ConfigError) as caught:
        shop(**settings)
    message = str(caught.value)
    assert message.startswith("JWT(")
    assert said in message
    assert "\n" not in message
    assert "CANARY" not in message


def test_keys_and_audience_have_to_be_said() -> None:
    with pytest.raises(TypeError, match="audience"):
        JWT(keys=SECRET)  # type: ignore[call-arg]  # the mistake is meant
    with pytest.raises(TypeError, match="keys"):
        JWT(audience="shop")  # type: ignore[call-arg]  # the mistake is meant


def test_a_repr_says_what_it_is_and_no_secret() -> None:
    assert repr(shop(keys=SECRET)) == "<JWT keys: 1 for HS256; audience: shop; HS256>"
    assert repr(shop(audience=JWT.ANY)) == "<JWT keys: 1 for EdDSA; audience: JWT.ANY; EdDSA>"
    told = repr(shop(keys=f"{URL}?secret=CANARY"))
    assert URL in told
    assert "CANARY" not in told


def test_one_is_made_where_no_loop_runs() -> None:
    """In a module, before any server is started."""
    assert shop(keys=URL)
    assert shop(keys="http://[::1]:8000/jwks.json")
    assert shop(keys="http://localhost/jwks.json")


@pytest.mark.parametrize(
    ("absent", "importers"),
    [
        ("jwt", ["keys", "url_keys", "key_sources"]),
        ("cryptography.exceptions", ["keys", "key_sources"]),
        ("httpx", ["fetch"]),
    ],
)
def test_a_library_that_is_not_there_is_asked_for(
    absent: str, importers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in importers:
        monkeypatch.delitem(sys.modules, f"triolet.identity.{name}", raising=False)
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(ConfigError, match=rf"^JWT needs {absent.partition('.')[0]}: pip install 'triolet\[jwt\]'"):
        shop(keys=URL)


BAD_ENTRIES: dict[str, tuple[Any, str]] = {
    "no object": ("CANARY", "no object"),
    "no kty": ({"kid": "CANARY"}, "kty"),
    "a kty that nobody knows": ({"kty": "CANARY"}, "kty"),
    "a kty that is a list": ({"kty": ["OKP"]}, "kty"),
    "a kid that is a number": (jwk("EdDSA", kid=7), "kid"),
    "a private key": (jwk("EdDSA", d="CANARY"), "private key"),
    "a key to sign with": (jwk("EdDSA", key_ops=["sign"]), "key_ops"),
    "key_ops that are a text": (jwk("EdDSA", key_ops="verify"), "key_ops"),
    "another curve": (jwk("EdDSA", crv="Ed448"), "crv is not Ed25519"),
    "an EC key without a curve": ({**jwk("ES256"), "crv": None}, "crv is not P-256"),
    "a curve of another type": (jwk("ES256", crv="Ed25519"), "crv is not P-256"),
    "a short x": (jwk("EdDSA", x=base64url(b"CANARY")), "no key of the type OKP"),
    "an x that is a number": (jwk("EdDSA", x=7), "no key of the type OKP"),
    "a point beside the curve": (jwk("ES256", y=jwk("ES256")["x"]), "no key of the type EC"),
    "no n": ({"kty": "RSA", "e": "AQAB"}, "no key of the type RSA"),
    "an even n": ({"kty": "RSA", "e": "AQAA", "n": jwk("RS256")["n"]}, "no key of the type RSA"),
    "a huge n": ({"kty": "RSA", "e": "AQAB", "n": base64url(b"\xff" * 10_000)}, "8192"),
    "a short secret": ({"kty": "oct", "k": base64url(b"CANARY")}, "32 bytes"),
    "no secret": ({"kty": "oct"}, "no key of the type oct"),
}


@pytest.mark.parametrize("name", BAD_ENTRIES)
async def test_a_bad_entry_of_a_set_is_left_out_and_said(name: str, caplog: pytest.LogCaptureFixture) -> None:
    entry, said = BAD_ENTRIES[name]
    jwt = shop(keys={"keys": [entry, jwk("EdDSA", kid="good")]})
    assert await kind_of(jwt, token(head={"kid": "good"})) == "ok"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("keys of a JWT: 1 keys are used; entry 1: ")
    assert said in record.getMessage()
    assert "CANARY" not in caplog.text


@pytest.mark.parametrize(
    "entry",
    [
        jwk("EdDSA", use="enc"),
        jwk("RS256", alg="RSA-OAEP"),
        jwk("RS256", alg="RS512"),
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "x"},
    ],
    ids=["use", "RSA-OAEP", "RS512", "a type to come"],
)
async def test_keys_for_something_else_are_left_out_without_a_word(
    entry: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    jwt = shop(keys={"keys": [{**entry, "kid": "other"}, jwk("ES256", kid="good")]})
    assert await kind_of(jwt, token("ES256", head={"kid": "good"})) == "ok"
    assert await kind_of(jwt, token(head={"kid": "other"})) == "algorithm"
    assert await kind_of(jwt, token("ES256", head={"kid": "other"})) == "key"
    assert not caplog.records


async def test_members_that_are_null_are_absent() -> None:
    assert await kind_of(shop(keys=jwk("EdDSA", use=None, alg=None, key_ops=None, kid=None)), token()) == "ok"


async def test_a_set_is_read_up_to_its_bound(caplog: pytest.LogCaptureFixture) -> None:
    jwt = shop(keys={"keys": [jwk("EdDSA", kid=str(number)) for number in range(JWKS_KEYS + 1)]})
    assert await kind_of(jwt, token(head={"kid": str(JWKS_KEYS - 1)})) == "ok"
    assert await kind_of(jwt, token(head={"kid": str(JWKS_KEYS)})) == "key"
    assert f"only the first {JWKS_KEYS}" in caplog.text


@pytest.mark.parametrize("form", ["text", "bytes", "a dict", "one JWK", "one JWK as text", "PEM as bytes"])
async def test_keys_come_in_many_forms(form: str) -> None:
    one = jwk("EdDSA", kid="one")
    forms: dict[str, Any] = {
        "text": json.dumps({"keys": [one]}, indent=2),
        "bytes": json.dumps({"keys": [one]}).encode(),
        "a dict": {"keys": [one]},
        "one JWK": one,
        "one JWK as text": json.dumps(one),
        "PEM as bytes": b"\n" + pem(EDWARDS).encode(),
    }
    assert await kind_of(shop(keys=forms[form]), token(head={"kid": "one"})) == "ok"


async def test_a_secret_may_be_text_or_bytes() -> None:
    for secret in (SECRET, SECRET.encode()):
        assert await kind_of(shop(keys=secret), token("HS256")) == "ok"


async def test_an_rsa_key_may_be_pem_of_its_own_form() -> None:
    text = rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1)
    assert await kind_of(shop(keys=text), token("RS256")) == "ok"
