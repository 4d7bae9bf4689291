"""A certificate for the loopback, made anew for each test run."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .needs import program


def make_certificate(folder: Path) -> list[str]:
    """Make a key and a certificate in a folder, and return the arguments by which they are served."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *(program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "30", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return ["--certfile", str(certificate), "--keyfile", str(key)]
