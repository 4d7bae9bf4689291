"""Keys that tokens are checked with: read from a secret, from PEM, or from a JWKS (RFC 7517).

Each key has one algorithm, which follows from its type and never from a token: ``oct`` is HS256, ``RSA`` is RS256,
``EC`` on P-256 is ES256, ``OKP`` on Ed25519 is EdDSA. So a public key cannot be taken for a secret, whatever a token
says (the key confusion of RFC 8725, section 2.1).
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from ..errors import BadToken
from .bounds import JWKS_KEYS, RSA_KEY_BITS, SECRET_BYTES, TOKEN_KEYS_TRIED
from .token import object_of

__all__ = [
    "ALGORITHMS",
    "BadKeys",
    "Key",
    "KeySet",
    "read_file",
    "read_given",
    "read_set",
    "reason_of",
    "told_of",
]

ALGORITHMS: Final = ("EdDSA", "ES256", "HS256", "RS256")

_BY_TYPE: Final = {"EC": "ES256", "OKP": "EdDSA", "RSA": "RS256", "oct": "HS256"}
_CURVES: Final = {"EC": "P-256", "OKP": "Ed25519"}
_PEM: Final = b"-----BEGIN "
_SSH: Final = (b"ssh-", b"ecdsa-sha2-", b"sk-ssh-", b"sk-ecdsa-")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/=\s]+")


class BadKeys(Exception):
    """What should be keys is none. The message says why; it quotes nothing of what was read."""


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """One key, and the one algorithm that it is for.

    Attributes:
        algorithm: one of :data:`ALGORITHMS`.
        kid: its name in the set that it comes from; None fits tokens of every name.
    """

    algorithm: str
    kid: str | None
    _material: Any = field(compare=False)

    def __repr__(self) -> str:
        return f"Key({self.algorithm})"

    def verifies(self, signed: bytes, signature: bytes) -> bool:
        """Tell whether this key made the signature (RFC 7515, section 5.2). Comparing takes the same time for each."""
        return jwt.get_algorithm_by_name(self.algorithm).verify(signed, self._material, signature)

    @classmethod
    def of_secret(cls, secret: bytes, kid: str | None = None) -> Key:
        """A secret that both sides know, for HS256.

        Raises:
            BadKeys: it is shorter than ``SECRET_BYTES``, or is a public key, which everybody knows.
        """
        if len(secret) < SECRET_BYTES:
            raise BadKeys(f"a secret for HS256 has at least {SECRET_BYTES} bytes, and this one has {len(secret)}")
        if secret.startswith(_SSH) or _is_der(secret):
            raise BadKeys("this is a public key, and no secret: give it as PEM (-----BEGIN PUBLIC KEY-----)")
        return cls("HS256", kid, secret)

    @classmethod
    def of_public(cls, key: Any, kid: str | None = None) -> Key:
        """A public key, as ``cryptography`` has it.

        Raises:
            BadKeys: its type, curve or length is none of ours.
        """
        match key:
            case RSAPublicKey():
                if not RSA_KEY_BITS[0] <= key.key_size <= RSA_KEY_BITS[1]:
                    raise BadKeys(f"an RSA key has {RSA_KEY_BITS[0]} to {RSA_KEY_BITS[1]} bits, not {key.key_size}")
                return cls("RS256", kid, key)
            case EllipticCurvePublicKey(curve=SECP256R1()):
                return cls("ES256", kid, key)
            case Ed25519PublicKey():
                return cls("EdDSA", kid, key)
        raise BadKeys("a public key is RSA (RS256), EC on P-256 (ES256) or Ed25519 (EdDSA)")


def _is_der(secret: bytes) -> bool:
    """Whether it is a public key without the lines around it, as bytes or in base64."""
    tried = [secret]
    if _BASE64.fullmatch(secret):
        with suppress(binascii.Error):
            tried.append(b64decode(secret))
    for der in tried:
        try:
            load_der_public_key(der)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            continue
        return True
    return False


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys that there are at one moment.

    Attributes:
        keys: in the order of their source.
        faults: what was wrong with entries that were left out, a sentence's part each. It quotes nothing of them.
    """

    keys: tuple[Key, ...]
    faults: tuple[str, ...] = ()

    @property
    def algorithms(self) -> frozenset[str]:
        """Those of its keys."""
        return frozenset(key.algorithm for key in self.keys)

    def find(self, kid: str | None, algorithm: str) -> Sequence[Key]:
        """Return the keys that a token may have been signed with, by what its head says.

        Those of its name come first; where there is none, those without a name. A token without a name may be of any.

        Raises:
            BadToken: ``algorithm``, where keys are there and none of them is for that; ``key``, where none is there, or
                more than ``TOKEN_KEYS_TRIED``, of which the token has to name one.
        """
        named = [key for key in self.keys if kid is not None and key.kid == kid]
        known = named or [key for key in self.keys if kid is None or key.kid is None]
        found = [key for key in known if key.algorithm == algorithm]
        if known and not found:
            raise BadToken("algorithm")
        if not 1 <= len(found) <= TOKEN_KEYS_TRIED:
            raise BadToken("key")
        return found


def read_given(keys: str | bytes | Mapping[str, Any]) -> KeySet:
    """Read what an app gives itself: a secret, a public key as PEM, or a JWKS, which JSON is always taken for.

    Raises:
        BadKeys: it is none of them, or is not usable.
    """
    if isinstance(keys, Mapping):
        return read_set(keys)
    try:
        content = keys.encode() if isinstance(keys, str) else keys
    except UnicodeEncodeError:
        raise BadKeys("it is no text that can be encoded") from None
    if content.lstrip().startswith(_PEM) or _is_object(content):
        return read_file(content)
    return KeySet((Key.of_secret(content),))


def _is_object(content: bytes) -> bool:
    try:
        object_of(content)
    except ValueError:
        return False
    return True


def read_file(content: bytes) -> KeySet:
    """Read what a file holds: one public key as PEM, or a JWKS.

    Raises:
        BadKeys: it is neither.
    """
    stripped = content.strip()
    if stripped.startswith(_PEM):
        return _read_pem(stripped)
    return read_set(stripped)


def _read_pem(pem: bytes) -> KeySet:
    """Read one public key as PEM (SubjectPublicKeyInfo, or PKCS #1 for RSA).

    Raises:
        BadKeys: it is none, or a private one, a certificate, or several.
    """
    if b"PRIVATE KEY-----" in pem:
        raise BadKeys("this is a private key, which no server needs that only checks tokens: give the public one")
    if b"CERTIFICATE-----" in pem:
        raise BadKeys("this is a certificate: give its public key (openssl x509 -pubkey -noout)")
    if pem.count(_PEM) > 1:
        raise BadKeys("these are several keys: give them as a JWKS, where each has a name")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadKeys("this is no public key as PEM (-----BEGIN PUBLIC KEY-----)") from None
    return KeySet((Key.of_public(key),))


def read_set(source: bytes | Mapping[str, Any], *, secrets: bool = True) -> KeySet:
    """Read a JWKS, or one JWK (RFC 7517). Entries that are not usable are left out, and said in ``faults``.

    Left out without a word are keys for something else: of another ``use``, or for another ``alg``.

    Args:
        source: JSON, or what it was decoded to.
        secrets: whether keys of the type ``oct`` are taken. What is fetched by URL is no secret.

    Raises:
        BadKeys: it is no JWKS.
    """
    try:
        found = object_of(source) if isinstance(source, bytes) else source
    except ValueError as error:
        raise BadKeys(f"this is no JWKS: {error}") from None
    entries = found.get("keys", [found] if "kty" in found else None)
    if not isinstance(entries, list | tuple):
        raise BadKeys('this is no JWKS: it has no list "keys"')
    keys: list[Key] = []
    faults = [f"only the first {JWKS_KEYS} of {len(entries)} entries are read"] if len(entries) > JWKS_KEYS else []
    for number, entry in enumerate(entries[:JWKS_KEYS], 1):
        try:
            keys.extend(_read_entry(entry, secrets))
        except BadKeys as error:
            faults.append(f"entry {number}: {error}")
    return KeySet(tuple(keys), tuple(faults))


def _read_entry(entry: Any, secrets: bool) -> Iterator[Key]:
    if not isinstance(entry, dict):
        raise BadKeys("it is no object")
    kty, kid = entry.get("kty"), entry.get("kid")
    kty = kty if isinstance(kty, str) else ""
    algorithm = _BY_TYPE.get(kty)
    if entry.get("use") not in (None, "sig") or entry.get("alg") not in (None, algorithm):
        return
    if algorithm is None:
        raise BadKeys(f"its kty is none of {', '.join(_BY_TYPE)}")
    if kid is not None and not isinstance(kid, str):
        raise BadKeys("its kid is no text")
    operations = entry.get("key_ops")
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        raise BadKeys("its key_ops do not say verify")
    if entry.get("crv") != _CURVES.get(kty):
        raise BadKeys(f"its crv is not {_CURVES.get(kty)}")
    if kty == "oct" and not secrets:
        raise BadKeys("it is a secret (oct), which is not to be had by URL")
    if "d" in entry:
        raise BadKeys("it is a private key, which nobody else may know: publish the public one")
    try:
        material = jwt.get_algorithm_by_name(algorithm).from_jwk(entry)
    except Exception:  # what others raise for what is not as it should be is of many types, and quotes it
        raise BadKeys(f"it is no key of the type {kty}") from None
    yield Key.of_secret(material, kid) if kty == "oct" else Key.of_public(material, kid)


def told_of(keys: KeySet) -> str:
    """Say in a line what is wrong with a set; empty where nothing is."""
    if keys.faults:
        return f"{len(keys.keys)} keys are used; {'; '.join(keys.faults)}"
    return "" if keys.keys else "there is no key in it to check tokens with"


def reason_of(error: Exception) -> str:
    """Say why keys are not to be had: of others' errors the type alone, for the message may quote anything."""
    return str(error) if isinstance(error, BadKeys) else type(error).__name__
