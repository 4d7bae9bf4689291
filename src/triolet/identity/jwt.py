"""A ready function for ``live.identify``: clients come with JSON Web Tokens (RFC 7519) that somebody else has signed.

Keys and signatures are PyJWT's and cryptography's. The claims are looked at here, because PyJWT takes the time from the
system's clock, which no test decides, and reads JSON as Python does (NaN, and names that stand twice).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from ..clock import wall_time
from ..errors import BadToken, ConfigError, DataError
from .bounds import TOKEN_LAST_SECOND, TOKEN_LEEWAY_MOST_SECONDS, TOKEN_LEEWAY_SECONDS
from .identity import Identity
from .token import Token

if TYPE_CHECKING:
    from .key_sources import KeySource
    from .url_keys import Fetch

__all__ = ["JWT", "AnyAudience"]


class AnyAudience(Enum):
    """The type of :data:`JWT.ANY`."""

    ANY = "any"


class JWT:
    """Says who a client is by a JSON Web Token: ``live.identify(JWT(keys=…, audience="shop"))``.

    ::

        JWT(keys="https://login.example/jwks.json", audience="shop", issuer="https://login.example")
        JWT(keys=Path("/etc/shop/login.pem"), audience="shop")
        JWT(keys=os.environ["TOKEN_SECRET"], audience="shop")

    What is accepted is a JWS in its compact form (RFC 7515), by one of the keys, with the algorithm that follows from
    the key's type: HS256 for a secret, RS256 for RSA, ES256 for EC on P-256, EdDSA for Ed25519. A public key never
    checks an HS256, and ``none`` is nothing. Of the token's head only ``alg``, ``kid`` and ``typ`` are looked at. What
    would bring a key along (``jku``, ``x5u``, ``jwk``, ``x5c``) is not read. A head with ``crit`` or ``b64`` is
    refused, and one with the ``typ`` of something else, such as ``logout+jwt`` (RFC 8725, section 3.11).

    Of its claims ``exp``, ``nbf`` and ``iat`` are held against the clock, ``aud`` and ``iss`` against what is said
    here, and those of ``require`` have to be there. ``sub`` is the identity's subject, ``sid`` its session. Its
    ``expires_at`` is ``exp`` and the leeway, so that what is accepted late does not end at once, and its ``claims`` are
    all claims of the token.

    Checking takes some 30 µs (HS256), 50 (RS256), 100 (ES256) or 130 (EdDSA), in the event loop: the way to a thread
    and back takes longer.

    Args:
        keys: what tokens are signed with:

            - a secret, as text or bytes of at least ``SECRET_BYTES``: HS256;
            - a public key as PEM, as text or bytes;
            - a JWKS or a JWK (RFC 7517), as a dict or as JSON. The ``use``, ``key_ops``, ``alg`` and ``crv`` of its
              entries are respected, and those that are not usable are left out, with a line in the log;
            - a ``Path`` or ``file:…``: a file with PEM or a JWKS, read again when it changes;
            - a ``https://…`` URL of a JWKS (http from the loopback only). It is fetched at the first token, in the
              background each ``refresh`` seconds, and for a token that names a key not known, at most every 30 s. While
              it cannot be fetched the last keys serve on, for a day. Redirects to another host are not followed. Keys
              of the type ``oct`` are not taken from a URL.
        audience: whom tokens must be for: a text, or several, one of which is the token's ``aud`` or in it. To take
            tokens that are for anybody, also those that were given to another service of the same issuer, say
            ``JWT.ANY``.
        issuer: the ``iss`` that tokens must have, or several; None: any.
        algorithms: fewer than the keys would allow.
        leeway: the seconds by which the issuer's clock may be off, 0 to 300. A connection ends so long after ``exp``.
        require: claims that must be there. Without ``"exp"`` in it, tokens may last for ever.
        session_claim: names the session; None: tokens have none.
        subject_claim: names the subject.
        refresh: the age in seconds at which keys of a URL are fetched again, 30 to a day; by default 600.
        fetch: fetches the keys' URL in another way than with httpx: an async function of the URL that returns the body.

    Raises:
        ConfigError: a setting cannot work; the message says which, and quotes no secret.

    Bounds: a token has at most ``TOKEN_BYTES``, its JSON the depth of an event's. One set of keys, ``JWKS_KEYS`` at
        most, is held for each run of Trio: it may be used in several, in threads and apps of their own.
    """

    __slots__ = (
        "_algorithms",
        "_audiences",
        "_issuers",
        "_leeway",
        "_require",
        "_session_claim",
        "_source",
        "_subject_claim",
    )

    ANY: ClassVar[AnyAudience] = AnyAudience.ANY
    """Tokens for any audience, and for none."""

    def __init__(
        self,
        *,
        keys: str | bytes | os.PathLike[str] | Mapping[str, Any],
        audience: str | Iterable[str] | AnyAudience,
        issuer: str | Iterable[str] | None = None,
        algorithms: Iterable[str] | None = None,
        leeway: float = TOKEN_LEEWAY_SECONDS,
        require: Iterable[str] = ("exp",),
        session_claim: str | None = "sid",
        subject_claim: str = "sub",
        refresh: float | None = None,
        fetch: Fetch | None = None,
    ) -> None:
        if audience is None:
            raise ConfigError(
                "JWT(audience=None): say whom tokens are for, or JWT.ANY to take those as well that are for others"
            )
        self._audiences = None if audience is AnyAudience.ANY else _texts("audience", audience)
        self._issuers = None if issuer is None else _texts("issuer", issuer)
        self._leeway = _number("leeway", leeway, 0, TOKEN_LEEWAY_MOST_SECONDS)
        self._require = _texts("require", require, least=0)
        (self._subject_claim,) = _texts("subject_claim", [subject_claim])
        self._session_claim = session_claim
        if session_claim is not None:
            _texts("session_claim", [session_claim])
        self._source = _source(keys, refresh, fetch)
        self._algorithms = self._source.algorithms if algorithms is None else self._allowed(algorithms)

    def _allowed(self, algorithms: Iterable[str]) -> frozenset[str]:
        named = _texts("algorithms", algorithms)
        if not named <= self._source.algorithms:
            possible = ", ".join(sorted(self._source.algorithms))
            raise ConfigError(f"JWT(algorithms=…) can name what its keys are for, {possible}, and nothing else")
        return named

    def __repr__(self) -> str:
        audience = "JWT.ANY" if self._audiences is None else ", ".join(sorted(self._audiences))
        return f"<JWT keys: {self._source.told}; audience: {audience}; {', '.join(sorted(self._algorithms))}>"

    async def __call__(self, token: str | None) -> Identity | None:
        """Return who a token says that its client is; None for None.

        Raises:
            BadToken: it is not accepted, because of its

                - ``malformed``: form; it is no JWS, is too long, or is something else than a JWT;
                - ``algorithm``: which is none of the keys';
                - ``key``, which is not there, or ``signature``, which it did not make;
                - ``expired``, ``audience``, ``issuer``;
                - ``claims``: one is missing, is of another type or absurd, or it is not good yet.

                With ``keys_away`` nothing may be wrong with it: the keys cannot be had now.

        Cancellation: nothing is lost. A fetch of keys that it waits for goes on, for the others. Where it need not wait
            it is no checkpoint.
        """
        if token is None:
            return None
        parts = Token.parse(token)
        if parts.algorithm not in self._algorithms:
            raise BadToken("algorithm")
        keys = await self._source.find(parts.kid, parts.algorithm)
        if not any(key.verifies(parts.signed, parts.signature) for key in keys):
            raise BadToken("signature")
        return self._identity(parts.claims())

    def _identity(self, claims: dict[str, Any]) -> Identity:
        if not self._require <= claims.keys():
            raise BadToken("claims")
        expires_at = self._check_times(claims)
        if self._audiences is not None and not self._audiences & _audiences_of(claims):
            raise BadToken("audience")
        if self._issuers is not None and not self._issuers & _one(claims.get("iss")):
            raise BadToken("issuer")
        session = claims.get(self._session_claim) if self._session_claim else None
        if session is None and self._session_claim in claims:  # null, which an Identity would take for no session
            raise BadToken("claims")
        try:
            return Identity(claims.get(self._subject_claim), session, expires_at, claims)  # type: ignore[arg-type]  # it looks
        except DataError:
            raise BadToken("claims") from None

    def _check_times(self, claims: dict[str, Any]) -> float | None:
        now = wall_time()
        expires_at, not_before, issued_at = (_time(claims, name) for name in ("exp", "nbf", "iat"))
        if expires_at is not None and now >= expires_at + self._leeway:
            raise BadToken("expired")
        for earliest in (not_before, issued_at):
            if earliest is not None and earliest > now + self._leeway:
                raise BadToken("claims")
        return None if expires_at is None else expires_at + self._leeway


def _time(claims: dict[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519, section 2), whole or not."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= TOKEN_LAST_SECOND:
        raise BadToken("claims")
    return value


def _audiences_of(claims: dict[str, Any]) -> frozenset[str]:
    audience = claims.get("aud")
    if isinstance(audience, list) and all(isinstance(one, str) for one in audience):
        return frozenset(audience)
    return _one(audience)


def _one(text: Any) -> frozenset[str]:
    return frozenset([text] if isinstance(text, str) else [])


def _is_several(given: Any) -> bool:
    return isinstance(given, Iterable) and not isinstance(given, Mapping)  # of which the names would be taken


def _texts(name: str, given: Any, least: int = 1) -> frozenset[str]:
    """A setting that is one text, or several."""
    found = [given] if isinstance(given, str) else list(given) if _is_several(given) else [None]
    if len(found) < least or not all(isinstance(text, str) and text for text in found):
        raise ConfigError(f"JWT({name}=…) must be a text, or several, and none of them empty")
    return frozenset(found)


def _number(name: str, value: Any, least: float, most: float) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not least <= value <= most:
        raise ConfigError(f"JWT({name}=…) must be a number of seconds from {least} to {most}, not {value!r:.60}")
    return float(value)


def _source(keys: Any, refresh: float | None, fetch: Fetch | None) -> KeySource:
    try:
        from .key_sources import source_of  # here, so that Triolet can be imported without the libraries for it
        from .keys import BadKeys
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    try:
        return source_of(keys, refresh, fetch)
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    except BadKeys as error:
        raise ConfigError(f"JWT(keys=…): {error}") from None
    except OSError as error:
        raise ConfigError(f"JWT(keys=…): the file cannot be read: {error}") from None


def _missing(error: ModuleNotFoundError) -> ConfigError:
    return ConfigError(f"JWT needs {(error.name or '').partition('.')[0]}: pip install 'triolet[jwt]'")
