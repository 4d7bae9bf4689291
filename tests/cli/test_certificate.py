"""TLS of ``triolet serve``: which of the two files is wrong, and until when the certificate holds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from triolet import ConfigError
from triolet.cli.certificate import load_tls, warn_of_dates

from .test_app import options

NOW = datetime(2049, 12, 30, tzinfo=UTC)  # dates from 2050 on are written in another form
DAY = timedelta(days=1)


def written(key: EllipticCurvePrivateKey | RSAPrivateKey, how: KeySerializationEncryption | None = None) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how or NoEncryption())


def certified(key: EllipticCurvePrivateKey, begin: datetime = NOW, end: datetime = NOW + DAY) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, end)
    return made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate and its key, and what they may be mistaken for."""
    folder = tmp_path_factory.mktemp("certificate")
    key = generate_private_key(SECP256R1())
    certificate = certified(key)
    made = {
        "good.pem": certificate,
        "good.key": written(key),
        "both.pem": certificate + written(key),
        "another.key": written(generate_private_key(SECP256R1())),
        "rsa.key": written(generate_rsa_key(65_537, 2_048)),
        "encrypted.key": written(key, BestAvailableEncryption(b"secret")),
        "damaged.pem": certificate[:60] + b"!" + certificate[61:],
        "damaged.key": written(key).replace(b"MIG", b"AAA"),
        "plain": b"no PEM\n",
        "empty": b"",
    }
    for name, data in made.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize(("certificate", "key"), [("good.pem", "good.key"), ("both.pem", "both.pem")])
def test_a_certificate_and_its_key_are_taken(certificate: str, key: str, files: Path) -> None:
    given = options("a:app", "--certfile", str(files / certificate), "--keyfile", str(files / key))
    assert load_tls(given) is not None


@pytest.mark.parametrize(
    ("certificate", "key", "says"),
    [
        ("none", "good.key", "--certfile '{}/none' cannot be read (No such file or directory): name a file that"),
        ("good.pem", "none", "--keyfile '{}/none' cannot be read (No such file or directory): name a file that"),
        ("", "good.key", "--certfile '{}' cannot be read (Is a directory): name a file"),
        ("good.pem", "", "--keyfile '{}' cannot be read (Is a directory): name a file"),
        ("empty", "good.key", "--certfile '{}/empty' is empty: it is to hold a certificate, in PEM"),
        ("good.pem", "empty", "--keyfile '{}/empty' is empty: it is to hold a private key, in PEM"),
        ("plain", "good.key", "--certfile '{}/plain' holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"),
        (
            "good.key",
            "good.pem",
            "--certfile '{}/good.key' holds no certificate in PEM, but private key: are --",
        ),
        (
            "good.pem",
            "good.pem",
            "--keyfile '{}/good.pem' holds no private key in PEM, but certificate: are --",
        ),
        (
            "good.pem",
            "another.key",
            "--keyfile '{}/another.key' is not the key of --certfile '{}/good.pem' but",
        ),
        ("good.pem", "rsa.key", "--keyfile '{}/rsa.key' is not the key of --certfile '{}/good.pem' but another one's"),
        ("damaged.pem", "good.key", "--certfile '{}/damaged.pem' holds a certificate that cannot be read"),
        ("good.pem", "damaged.key", "--keyfile '{}/damaged.key' holds a key that cannot be read"),
        ("good.pem", "encrypted.key", "the key '{}/encrypted.key' is encrypted: give --keyfile-password-file or"),
    ],
)
def test_the_file_that_is_wrong_is_named_with_the_reason(certificate: str, key: str, says: str, files: Path) -> None:
    given = options("a:app", "--certfile", str(files / certificate), "--keyfile", str(files / key))
    with pytest.raises(ConfigError) as raised:
        load_tls(given)
    assert str(raised.value).startswith(says.replace("{}", str(files)))


@pytest.mark.parametrize(("password", "says"), [("wrong", "cannot be decrypted"), ("x" * 2_000, "cannot be longer")])
def test_a_password_that_is_none_is_said_of_the_key(
    password: str, says: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIOLET_KEYFILE_PASSWORD", password)
    given = options("a:app", "--certfile", str(files / "good.pem"), "--keyfile", str(files / "encrypted.key"))
    with pytest.raises(ConfigError, match=f"--keyfile '.*encrypted.key'.* {says}"):
        load_tls(given)


@pytest.fixture
def told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Callable[[datetime, datetime], str]:
    """What is said of a certificate with such dates."""

    def tell(begin: datetime, end: datetime) -> str:
        file = tmp_path / "x.pem"
        file.write_bytes(certified(generate_private_key(SECP256R1()), begin, end))
        warn_of_dates(str(file), NOW.timestamp)
        assert all(record.levelno == logging.WARNING for record in caplog.records)
        return "\n".join(record.message for record in caplog.records).replace(str(tmp_path), "")

    return tell


@pytest.mark.parametrize(
    ("begin", "end", "says"),
    [
        (-9, 8, ""),
        (-9, 6, "the certificate in '/x.pem' expires within a week, on 2050-01-05 00:00 UTC: renew it"),
        (-9, -1, "the certificate in '/x.pem' has expired, on 2049-12-29 00:00 UTC: clients refuse it, renew it"),
        (3, 9, "the certificate in '/x.pem' is not valid before 2050-01-02 00:00 UTC: clients refuse it"),
    ],
)
def test_a_certificates_dates_are_told_of_where_they_matter(
    begin: int, end: int, says: str, told: Callable[[datetime, datetime], str]
) -> None:
    assert told(NOW + begin * DAY, NOW + end * DAY) == says


@pytest.mark.parametrize("name", ["none", "empty", "plain", "good.key", "damaged.pem", ""])
def test_of_what_is_no_certificate_no_dates_are_told(name: str, files: Path, caplog: pytest.LogCaptureFixture) -> None:
    warn_of_dates(str(files / name), NOW.timestamp)
    warn_of_dates(None, NOW.timestamp)
    assert not caplog.records
