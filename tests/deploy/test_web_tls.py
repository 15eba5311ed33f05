"""TLS between nginx and the web server, with an authority of its own."""

from __future__ import annotations

import ssl
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

from tests.deploy.servers import HOST, Loupe, Nginx
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


@pytest.fixture(scope="module")
def loupe(folder: Path) -> Iterator[Loupe]:
    with Loupe(
        WEB_TLS_CERTIFICATE=str(folder / f"{NAME}.pem"),
        WEB_TLS_KEY=str(folder / f"{NAME}-key.pem"),
    ) as server:
        yield server


def test_nginx_verifies_the_web_server(loupe: Loupe, folder: Path) -> None:
    with Nginx(loupe.port, authority=folder / "authority.pem") as nginx:
        url = f"https://127.0.0.1:{nginx.port}/login/"
        assert httpx.get(url, headers={"Host": HOST}, verify=False, timeout=60).status_code == 200


def test_nginx_refuses_another_authority(loupe: Loupe, folder: Path) -> None:
    with Nginx(loupe.port, authority=folder / "stranger.pem") as nginx:
        url = f"https://127.0.0.1:{nginx.port}/login/"
        assert httpx.get(url, headers={"Host": HOST}, verify=False, timeout=60).status_code == 502


def test_web_server_speaks_no_http(loupe: Loupe, folder: Path) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{loupe.port}/healthz", timeout=60)
    trusted = ssl.create_default_context(cafile=folder / "authority.pem")
    trusted.check_hostname = False  # the name is loupe.internal, the address 127.0.0.1
    probe = httpx.get(f"https://127.0.0.1:{loupe.port}/healthz", verify=trusted, timeout=60)
    assert probe.status_code == 200


@pytest.mark.parametrize("key", ["stranger-key.pem", "no-such-key.pem", f"{NAME}.pem"])
def test_unusable_certificate_is_said_at_the_start(folder: Path, settings: Any, key: str) -> None:
    settings.WEB_TLS_CERTIFICATE, settings.WEB_TLS_KEY = folder / f"{NAME}.pem", folder / key
    with pytest.raises(CommandError, match="the key has no password"):
        call_command("web", port=free_port())
