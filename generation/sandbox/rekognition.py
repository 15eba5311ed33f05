"""Simulation of Amazon Rekognition's DetectModerationLabels over real HTTP.

It verifies the signature and classifies by the marker in sandbox pictures. A call contains no
prompt, so the access key ID selects the behaviour; docs/sandbox.md lists them. The secret
access key is "sandbox".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.utils import timezone
from PIL import Image
from pydantic import ValidationError

from generation.sandbox import judging
from generation.sandbox.models import SandboxRefusal
from generation.wire import rekognition as wire
from generation.wire.sigv4 import DATE_FORMAT, Scope, compute_signature

SECRET_ACCESS_KEY = "sandbox"
BODY_MAX = 4 * wire.BYTES_MAX // 3 + 10_000  # bytes
CLOCK_SKEW = timedelta(minutes=5)
SIGNED_REQUIRED = {"host", "x-amz-date", "x-amz-target"}
MODEL_VERSION = "7.0"
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[\w-]{1,128})/(?P<date>\d{8})"
    r"/(?P<region>[a-z0-9-]{1,40})/(?P<service>[a-z]{1,40})/aws4_request,"
    r" SignedHeaders=(?P<names>[a-z0-9;-]{1,400}), Signature=(?P<signature>[0-9a-f]{64})"
)
# The names of Rekognition for the categories that sandbox pictures stand for.
NAMES = {
    "explicit": "Explicit",
    "explicit.nudity": "Exposed Female Nipple",
    "explicit.sexual-activity": "Explicit Sexual Activity",
    "explicit.sex-toys": "Sex Toys",
    "non-explicit": "Non-Explicit Nudity of Intimate parts and Kissing",
    "non-explicit.nudity": "Bare Back",
    "non-explicit.obstructed": "Obstructed Intimate Parts",
    "non-explicit.kissing": "Kissing on the Lips",
    "swimwear-underwear": "Swimwear or Underwear",
    "swimwear-underwear.female": "Female Swimwear or Underwear",
    "swimwear-underwear.male": "Male Swimwear or Underwear",
    "violence": "Violence",
    "violence.graphic": "Physical Violence",
    "violence.weapons": "Weapons",
    "visually-disturbing": "Visually Disturbing",
    "visually-disturbing.death": "Corpses",
    "visually-disturbing.crashes": "Crashes",
    "drugs-tobacco": "Drugs & Tobacco",
    "drugs-tobacco.products": "Products",
    "drugs-tobacco.use": "Smoking",
    "alcohol": "Alcohol",
    "alcohol.use": "Drinking",
    "alcohol.beverages": "Alcoholic Beverages",
    "rude-gestures": "Rude Gestures",
    "rude-gestures.middle-finger": "Middle Finger",
    "gambling": "Gambling",
    "hate-symbols": "Hate Symbols",
    "hate-symbols.nazi": "Nazi Party",
    "hate-symbols.white-supremacy": "White Supremacy",
    "hate-symbols.extremist": "Extremist",
}


class RefusedError(Exception):
    """A call that is refused; the message becomes part of the error response."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@judging.serve_program
def call(request: HttpRequest) -> HttpResponse:
    """Handle POST / with the operation in X-Amz-Target."""
    # not request.body, which Loupe's own limit of 1 MiB applies to
    raw = request.read(BODY_MAX + 1)
    try:
        behaviour = judging.read_behaviour(_authenticate(request, raw))
        if behaviour in REFUSALS:
            return REFUSALS[behaviour]()
        if request.headers.get("X-Amz-Target") != wire.TARGET:
            raise RefusedError("UnknownOperationException", "")
        content, lowest = _read_request(raw)
        digest = hashlib.sha256(behaviour.encode() + content).hexdigest()
        if behaviour in BUSY and SandboxRefusal.objects.turns_away(digest):
            return BUSY[behaviour]()
        labels = _detect(content, lowest)
    except RefusedError as error:
        return _error(400, error.code, str(error))
    time.sleep({"slow": judging.SLOW, "hang": judging.HANGING}.get(behaviour, 0.0))
    body: dict[str, Any] = {
        "ModerationLabels": labels,
        "ModerationModelVersion": MODEL_VERSION,
        "ContentTypes": [],
    }
    change = CHANGED.get(behaviour)
    return judging.respond(
        change(body) if change else body, behaviour, content_type=wire.CONTENT_TYPE
    )


def _authenticate(request: HttpRequest, raw: bytes) -> str:
    """Verify the signature; return the access key ID. Raises RefusedError."""
    header = request.headers.get("Authorization", "")
    if request.method != "POST" or not header:
        raise RefusedError("MissingAuthenticationTokenException", "Missing Authentication Token")
    found = _AUTHORIZATION.fullmatch(header)
    names = found["names"].split(";") if found else []
    if found is None or not set(names).issuperset(SIGNED_REQUIRED):
        raise RefusedError("IncompleteSignatureException", "The signature is incomplete.")
    if found["key"] == "invalid":
        raise RefusedError(
            "UnrecognizedClientException", "The security token included in the request is invalid."
        )
    timestamp = request.headers.get("X-Amz-Date", "")
    _check_time(timestamp, found["date"])
    scope = Scope(date=found["date"], region=found["region"], service=found["service"])
    expected = compute_signature(
        SECRET_ACCESS_KEY,
        method="POST",
        path=request.path,
        headers={name: request.headers.get(name, "") for name in names},
        body=raw,
        scope=scope,
        timestamp=timestamp,
    )
    if scope.service != wire.SERVICE or not hmac.compare_digest(expected, found["signature"]):
        raise RefusedError(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check"
            " your AWS Secret Access Key and signing method.",
        )
    return found["key"]


def _check_time(timestamp: str, date: str) -> None:
    """Refuse a signature that is not of now. Raises RefusedError."""
    try:
        made_at = datetime.strptime(timestamp, DATE_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        raise RefusedError("IncompleteSignatureException", "X-Amz-Date is missing.") from None
    if abs(timezone.now() - made_at) > CLOCK_SKEW or not timestamp.startswith(date):
        raise RefusedError(
            "InvalidSignatureException", f"Signature expired: {timestamp} is not now."
        )


def _read_request(raw: bytes) -> tuple[bytes, float]:
    """Return the image and the lowest confidence. Raises RefusedError."""
    try:
        request = wire.ModerationRequest.model_validate_json(raw)
        content = base64.b64decode(request.Image.Bytes, validate=True)
    except (ValidationError, binascii.Error):
        raise RefusedError("SerializationException", "") from None
    if len(content) > wire.BYTES_MAX:
        raise RefusedError("ImageTooLargeException", "Image size is too large")
    return content, request.MinConfidence


def _detect(content: bytes, lowest: float) -> list[dict[str, Any]]:
    """Return the labels of a picture with their ancestors. Raises RefusedError."""
    try:
        found = judging.read_labels(content, formats=("PNG", "JPEG"))
    except (ValueError, OSError, Image.DecompressionBombError):
        raise RefusedError(
            "InvalidImageFormatException", "Request has invalid image format"
        ) from None
    confidences: dict[str, float] = {}
    for slug, percent in found:
        name = NAMES[slug]
        for label in (name, *wire.find_parents(name)):
            confidences[label] = max(float(percent), confidences.get(label, 0.0))
    return [
        wire.ModerationLabel(
            Name=name,
            ParentName=next(iter(wire.find_parents(name)), ""),
            Confidence=confidence,
            TaxonomyLevel=1 + len(wire.find_parents(name)),
        ).to_wire()
        for name, confidence in confidences.items()
        if confidence >= lowest
    ]


# --- Behaviours selected by access key IDs ---
def _error(status: int, code: str, message: str) -> HttpResponse:
    body = {"__type": code} | ({"message": message} if message else {})
    return JsonResponse(body, status=status, content_type=wire.CONTENT_TYPE)


# Refused for any call.
REFUSALS: dict[str, Callable[[], HttpResponse]] = {
    "redirect": lambda: HttpResponseRedirect("https://rekognition.example/"),
    "denied": lambda: JsonResponse(
        {
            "__type": "AccessDeniedException",
            "Message": "User: arn:aws:iam::000000000000:user/sandbox is not authorized to perform:"
            " rekognition:DetectModerationLabels because no identity-based policy allows the"
            " rekognition:DetectModerationLabels action",
        },
        status=400,
        content_type=wire.CONTENT_TYPE,
    ),
    "expired": lambda: _error(
        400, "ExpiredTokenException", "The security token included in the request is expired"
    ),
    "format": lambda: _error(
        400, "InvalidImageFormatException", "Request has invalid image format"
    ),
    "too-large": lambda: _error(400, "ImageTooLargeException", "Image size is too large"),
    "parameter": lambda: _error(400, "InvalidParameterException", "Request has invalid parameters"),
    "throttled-always": lambda: _error(400, "ThrottlingException", "Rate exceeded"),
    "500": lambda: _error(500, "InternalServerError", "Internal server error"),
    "502": lambda: HttpResponse(judging.WEB_PAGE, status=502),
    "503": lambda: _error(503, "ServiceUnavailableException", "Service is unavailable"),
}
# Refused twice, accepted the third time.
BUSY: dict[str, Callable[[], HttpResponse]] = {
    "throttled": lambda: _error(
        400,
        "ProvisionedThroughputExceededException",
        "Provisioned rate exceeded. You can use the AWS Support Center to request a limit"
        " increase.",
    ),
    "throttled-500": lambda: _error(500, "ThrottlingException", "Rate exceeded"),
    "flaky": REFUSALS["500"],
}


def _change_labels(**changes: object) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a change of every label; None removes a field."""

    def change(body: dict[str, Any]) -> dict[str, Any]:
        changed = [label | changes for label in body["ModerationLabels"]]
        kept = [{name: v for name, v in label.items() if v is not None} for label in changed]
        return body | {"ModerationLabels": kept}

    return change


def _add_label(name: str, parent: str, level: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    label = {"Name": name, "ParentName": parent, "Confidence": 21.5, "TaxonomyLevel": level}
    return lambda body: body | {"ModerationLabels": [*body["ModerationLabels"], label]}


# Modifications of the correct response.
CHANGED: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "empty": lambda body: {},
    "nulls": lambda body: body | {"ModerationLabels": None},
    "unversioned": lambda body: {k: v for k, v in body.items() if k != "ModerationModelVersion"},
    "zeros": _change_labels(Confidence=0.0),
    "above": _change_labels(Confidence=100.5),
    "words": _change_labels(Confidence="high"),
    "nameless": _change_labels(Name=None),
    "twice": lambda body: body | {"ModerationLabels": body["ModerationLabels"] * 2},
    "unknown": _add_label("Jaywalking", "", 1),
    "unknown-child": _add_label("Catapults", "Violence", 2),
    "illustrated": lambda body: (
        body | {"ContentTypes": [{"Name": "Illustrated", "Confidence": 97.2}]}
    ),
    "version-8": lambda body: body | {"ModerationModelVersion": "8.0"},
}
