"""An issuer of tokens: its keys, and what it signs, also what no issuer should."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from triolet.clock import wall_time

SECRET: Final = "SECRET0123456789abcdef0123456789"
ELLIPTIC: Final = ec.derive_private_key(7, ec.SECP256R1())
EDWARDS: Final = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_EDWARDS: Final = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))

Changes = Mapping[str, Any]


class Absent:
    """In place of a claim's value: it is not there."""


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


KEYS: Final[dict[str, Callable[[], Any]]] = {
    "HS256": lambda: SECRET,
    "RS256": rsa_key,
    "ES256": lambda: ELLIPTIC,
    "EdDSA": lambda: EDWARDS,
}
"""What this issuer signs with, by algorithm."""


def pem(key: Any) -> str:
    """The public half, as PEM."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()  # type: ignore[no-any-return]  # untyped


def private_pem(key: Any) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()  # type: ignore[no-any-return]  # untyped


def jwk(algorithm: str, key: Any = None, **members: Any) -> dict[str, Any]:
    """The public half of a key as a JWK; of HS256 the secret."""
    key = KEYS[algorithm]() if key is None else key
    public = key if algorithm == "HS256" else key.public_key()
    found: dict[str, Any] = jwt.get_algorithm_by_name(algorithm).to_jwk(public, as_dict=True)
    found.pop("key_ops", None)
    return {**found, **members}


def jwks(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def claims(**changes: Any) -> dict[str, Any]:
    """Those of a good token, but for the changes."""
    now = wall_time()
    good = {"sub": "ada", "sid": "s1", "aud": "shop", "iss": "https://login.example", "iat": now, "exp": now + 600}
    return {name: value for name, value in {**good, **changes}.items() if value is not Absent}


def token(algorithm: str = "EdDSA", key: Any = None, head: Changes | None = None, **changes: Any) -> str:
    """A good token, but for the changes of its claims and of its head."""
    return signed(json.dumps(claims(**changes)), algorithm, key, head)


def signed(payload: str | bytes, algorithm: str = "EdDSA", key: Any = None, head: Changes | None = None) -> str:
    """A token of whatever text as its claims."""
    fields = {"alg": algorithm, "typ": "JWT", **(head or {})}
    present = {name: value for name, value in fields.items() if value is not Absent}
    return signed_parts(json.dumps(present), payload, algorithm, key)


def signed_parts(head: str | bytes, payload: str | bytes, algorithm: str = "EdDSA", key: Any = None) -> str:
    """A token of two texts, signed for what they are, whatever they say."""
    start = f"{base64url(head)}.{base64url(payload)}"
    key = KEYS[algorithm]() if key is None else key
    if isinstance(key, str):
        signature = hmac.digest(key.encode(), start.encode(), "sha256")
    else:
        signature = jwt.get_algorithm_by_name(algorithm).sign(start.encode(), key)
    return f"{start}.{base64url(signature)}"


def base64url(text: str | bytes) -> str:
    return urlsafe_b64encode(text.encode() if isinstance(text, str) else text).rstrip(b"=").decode()
