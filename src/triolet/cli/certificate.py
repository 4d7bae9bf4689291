"""TLS of ``triolet serve``: its certificate and key, which of the two is wrong and why, and until when it holds."""

from __future__ import annotations

import argparse
import logging
import os
import re
import ssl
import time
from calendar import timegm
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ..bounds import CERTIFICATE_BYTES, CERTIFICATE_WARNING_SECONDS
from ..errors import ConfigError

__all__ = ["load_tls", "warn_of_dates"]

logger = logging.getLogger("triolet.server")

PASSWORD_VARIABLE: Final = "TRIOLET_KEYFILE_PASSWORD"

_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")
_CERTIFICATE: Final = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_ANOTHERS: Final = {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}
"""What OpenSSL says of a key of another certificate; the last one of a key of another type."""
_LONG_FORM: Final = 0x80
_VERSION: Final = 0xA0
_SHORT_YEAR: Final = 0x17
_FIRST_OF_1900: Final = 50
"""Tags and forms of DER (X.690), and the year from which two digits are of the 20th century (RFC 5280, 4.1.2.5.1)."""


def load_tls(options: argparse.Namespace) -> ssl.SSLContext | None:
    """Return how TLS is spoken; None where it is not.

    Raises:
        ConfigError: the files cannot be used; the message names the one that is wrong.
    """
    if options.certfile is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["h2", "http/1.1"] if options.http2 else ["http/1.1"])
    try:
        context.load_cert_chain(options.certfile, options.keyfile, lambda: _password(options))
    except ConfigError:
        raise
    except (OSError, ValueError) as error:
        raise ConfigError(_why(error, options.certfile, options.keyfile)) from None
    return context


def warn_of_dates(file: str | None, clock: Callable[[], float] = time.time) -> None:
    """Say it in one line of the log, if a certificate has expired, is not valid yet, or expires within a week."""
    dates = None if file is None else _dates(file)
    if dates is None:
        return
    begin, end, now = *dates, clock()
    if now >= end:
        logger.warning("the certificate in %r has expired, on %s: clients refuse it, renew it", file, _written(end))
    elif now < begin:
        logger.warning("the certificate in %r is not valid before %s: clients refuse it", file, _written(begin))
    elif end - now < CERTIFICATE_WARNING_SECONDS:
        logger.warning("the certificate in %r expires within a week, on %s: renew it", file, _written(end))


def _password(options: argparse.Namespace) -> str:
    """Of an encrypted key. It is asked for nowhere else: OpenSSL itself would ask the terminal."""
    file = options.keyfile_password_file
    if file is None:
        password = os.environ.get(PASSWORD_VARIABLE, "")
    else:
        try:
            with open(file, encoding="utf-8") as lines:
                password = lines.readline().rstrip("\r\n")
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"cannot read the key's password from {file!r}: {error}") from None
    if not password:
        raise ConfigError(
            f"the key {options.keyfile!r} is encrypted: give --keyfile-password-file or {PASSWORD_VARIABLE}"
        )
    return password


# --- what is wrong: OpenSSL says only that something is


def _why(error: Exception, certfile: str, keyfile: str) -> str:
    """Look at both files again, and say which one is wrong."""
    try:
        certificate = _read("--certfile", certfile)
        key = _read("--keyfile", keyfile)
    except ConfigError as unreadable:
        return str(unreadable)
    if not any(kind.endswith(b"CERTIFICATE") for kind in certificate[1]):
        return _none("--certfile", certfile, "certificate", "CERTIFICATE", *certificate)
    if not any(kind.endswith(b"PRIVATE KEY") for kind in key[1]):
        return _none("--keyfile", keyfile, "private key", "PRIVATE KEY", *key)
    reason = (isinstance(error, ssl.SSLError) and error.reason) or "it is damaged"
    if reason in _ANOTHERS:
        return (
            f"--keyfile {keyfile!r} is not the key of --certfile {certfile!r} but another one's: give two files that "
            "belong together"
        )
    if reason.startswith(("EE_", "CA_")):  # too weak for OpenSSL's security level
        return f"--certfile {certfile!r} is not taken by OpenSSL ({reason}): make one with a longer key"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificate[0].decode("ascii", "replace"))
    except (ssl.SSLError, ValueError):
        return f"--certfile {certfile!r} holds a certificate that cannot be read ({reason}): copy it anew"
    if not isinstance(error, ssl.SSLError):
        return f"the password of --keyfile {keyfile!r} cannot be taken: {error}"
    if b"ENCRYPTED" in key[0]:
        return (
            f"--keyfile {keyfile!r} cannot be decrypted, of a wrong password perhaps: it is taken from "
            f"--keyfile-password-file, or else {PASSWORD_VARIABLE}"
        )
    return f"--keyfile {keyfile!r} holds a key that cannot be read ({reason}): copy it anew"


def _read(option: str, file: str) -> tuple[bytes, list[bytes]]:
    """What is in a file, and which blocks of PEM."""
    try:
        with open(file, "rb") as opened:
            data = opened.read(CERTIFICATE_BYTES)
    except (OSError, ValueError) as error:
        said = (isinstance(error, OSError) and error.strerror) or error
        raise ConfigError(
            f"{option} {file!r} cannot be read ({said}): name a file that this process may read"
        ) from None
    return data, _BLOCK.findall(data)


def _none(option: str, file: str, what: str, label: str, data: bytes, found: list[bytes]) -> str:
    if not data:
        return f"{option} {file!r} is empty: it is to hold a {what}, in PEM"
    kinds = ", ".join(sorted({kind.decode().lower() for kind in found}))
    if found:
        return f"{option} {file!r} holds no {what} in PEM, but {kinds}: are --certfile and --keyfile swapped?"
    return f"{option} {file!r} holds no {what} in PEM (-----BEGIN {label}-----): convert it"


# --- dates


def _written(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _dates(file: str) -> tuple[float, float] | None:
    """From when to when the first certificate in a file is valid, which is the server's; None if there is none."""
    with suppress(OSError, ValueError, IndexError, OverflowError):
        if os.path.isfile(file):  # a pipe can be read once only, and was
            data, _ = _read("--certfile", file)
            if (found := _CERTIFICATE.search(data.decode("ascii", "replace"))) is not None:
                return _validity(ssl.PEM_cert_to_DER_cert(found[0]))
    return None


def _validity(der: bytes) -> tuple[float, float]:
    """The dates of a certificate (RFC 5280, 4.1): ``SEQUENCE { SEQUENCE { [0] version, serial number, algorithm,
    issuer, SEQUENCE { from, to } …``."""
    at = _element(der, _element(der, 0)[1])[1]
    for _ in range(4 if der[at] == _VERSION else 3):
        at = _element(der, at)[2]
    begin = _element(der, at)[1]
    return _time(der, begin), _time(der, _element(der, begin)[2])


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """The tag of an element of DER, and where its content begins and ends."""
    tag, length, at = der[at], der[at + 1], at + 2
    if length & _LONG_FORM:
        more = length - _LONG_FORM
        length, at = int.from_bytes(der[at : at + more]), at + more
    return tag, at, at + length


def _time(der: bytes, at: int) -> float:
    tag, begin, end = _element(der, at)
    text = der[begin:end].decode("ascii")
    if tag == _SHORT_YEAR:
        text = ("19" if int(text[:2]) >= _FIRST_OF_1900 else "20") + text
    return timegm(time.strptime(text, "%Y%m%d%H%M%SZ"))
