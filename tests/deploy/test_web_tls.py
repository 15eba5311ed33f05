"""TLS between nginx and the web server, with an authority of its own."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from django.core.management import CommandError, call_command

from tests.deploy.servers import HOST, SECRET_KEY, Nginx, Server
from tests.ports import free_port

pytestmark = pytest.mark.slow
NAME = "loupe.internal"  # as in the shipped nginx.conf

Issuer = tuple[x509.Name, ec.EllipticCurvePrivateKey]


def issue(folder: Path, name: str, issuer: Issuer | None) -> Issuer:
    """Write a certificate and its key; without an issuer it is an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    by, signing_key = issuer or (subject, key)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(signing_key, SHA256())
    )
    (folder / f"{name}.pem").write_bytes(built.public_bytes(Encoding.PEM))
    (folder / f"{name}-key.pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return subject, key


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("certificates")
    issue(made, NAME, issue(made, "authority", None))
    issue(made, "stranger", None)
    return made


class TlsWeb(Server):
    """The web server with a certificate; it needs no database for probes."""

    name = "web-tls"

    def __init__(self, certificate: Path, key: Path) -> None:
        super().__init__()
        self.pair = {"WEB_TLS_CERTIFICATE": str(certificate), "WEB_TLS_KEY": str(key)}

    def environment(self) -> dict[str, str]:
        return {
            **super().environment(),
            **self.pair,
            "DATA_DIR": str(self.folder),
            "SECRET_KEY": SECRET_KEY,
            "PUBLIC_URL": f"https://{HOST}",
            "WEB_PROCESSES": "1",
        }

    def command(self) -> list[str]:
        return [sys.executable, "manage.py", "web", "--port", str(self.port)]


@pytest.fixture(scope="module")
def web(folder: Path) -> Iterator[TlsWeb]:
    with TlsWeb(folder / f"{NAME}.pem", folder / f"{NAME}-key.pem") as server:
        yield server


@pytest.mark.parametrize(("authority", "status"), [("authority", 200), ("stranger", 502)])
def test_nginx_accepts_one_authority(
    web: TlsWeb, folder: Path, authority: str, status: int
) -> None:
    with Nginx(web.port, authority=folder / f"{authority}.pem") as nginx:
        url = f"https://127.0.0.1:{nginx.port}/healthz"
        answer = httpx.get(url, headers={"Host": HOST}, verify=False, timeout=60)
    assert answer.status_code == status


def test_web_server_speaks_no_http(web: TlsWeb, folder: Path) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{web.port}/healthz", timeout=60)
    trusted = ssl.create_default_context(cafile=folder / "authority.pem")
    trusted.check_hostname = False  # the name is loupe.internal, the address 127.0.0.1
    probe = httpx.get(f"https://127.0.0.1:{web.port}/healthz", verify=trusted, timeout=60)
    assert probe.status_code == 200


@pytest.mark.parametrize("key", ["stranger-key.pem", "no-such-key.pem", f"{NAME}.pem"])
def test_unusable_certificate_is_said_at_the_start(folder: Path, settings: Any, key: str) -> None:
    settings.WEB_TLS_CERTIFICATE, settings.WEB_TLS_KEY = folder / f"{NAME}.pem", folder / key
    with pytest.raises(CommandError, match="the key has no password"):
        call_command("web", port=free_port())
