"""RFC 3161 time stamps of published heads: an authority signs when it saw a statement."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from django.conf import settings
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    VerificationError,
    Verifier,
    VerifierBuilder,
    decode_timestamp_response,
)

from generation import fetching

TIMEOUT = 10.0  # seconds
ANSWER_MAX = 64 * 1024


class StampError(Exception):
    """A time stamp that was not given, or is not valid. ``str(error)`` is a message for people."""


def request_stamp(statement: bytes) -> str:
    """Return the authority's answer about a statement, in Base64. Raises StampError."""
    url = settings.HEAD_TIMESTAMP_URL
    if not url:
        raise StampError("HEAD_TIMESTAMP_URL is no longer set.")
    request = TimestampRequestBuilder().data(statement).hash_algorithm(HashAlgorithm.SHA256).build()
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        answer = fetching.send(
            "POST",
            url,
            content=request.as_bytes(),
            headers={"content-type": "application/timestamp-query"},
            # Named by the settings, so it may be in the private network.
            allow=[f"{parts.hostname}:{port}"],
            max_bytes=ANSWER_MAX,
            deadline=TIMEOUT,
        )
    except (fetching.BlockedAddressError, fetching.FetchError) as error:
        raise StampError(str(error)) from error
    if answer.status != 200:
        raise StampError(f"The authority answered {answer.status}.")
    receipt = base64.b64encode(answer.content).decode()
    verify_stamp(statement, receipt, nonce=request.nonce)
    return receipt


def verify_stamp(statement: bytes, receipt: str, *, nonce: int | None = None) -> datetime:
    """Return when the authority saw a statement. Raises StampError."""
    try:
        response = decode_timestamp_response(base64.b64decode(receipt, validate=True))
        _build_verifier(nonce).verify_message(response, statement)
        time: datetime = response.tst_info.gen_time
    except VerificationError as error:
        raise StampError(f"The time stamp is not valid: {error}.") from error
    except (ValueError, binascii.Error) as error:
        raise StampError("The authority gave no time stamp that can be read.") from error
    return time


def _build_verifier(nonce: int | None) -> Verifier:
    """Return a verifier with the certificates of the setting: roots sign themselves."""
    builder = VerifierBuilder()
    path: Path | None = settings.HEAD_TIMESTAMP_CERTIFICATES
    if path is None:
        raise StampError("HEAD_TIMESTAMP_CERTIFICATES is no longer set.")
    try:
        certificates = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StampError(
            "HEAD_TIMESTAMP_CERTIFICATES is no file of certificates in PEM that can be read."
        ) from error
    for certificate in certificates:
        if certificate.issuer == certificate.subject:
            builder = builder.add_root_certificate(certificate)
        else:
            builder = builder.add_intermediate_certificate(certificate)
    if nonce is not None:
        builder = builder.nonce(nonce)
    try:
        return builder.build()
    except ValueError as error:
        raise StampError("HEAD_TIMESTAMP_CERTIFICATES has no root certificate.") from error
