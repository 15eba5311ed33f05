"""STORAGES["assets"] from the settings: a directory, a bucket, or a move between the two."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

PATH, VIRTUAL = "path", "virtual"


def build_entry(
    *, folder: Path, bucket: Mapping[str, Any] | None, move: str | None
) -> dict[str, Any]:
    """Return the entry of STORAGES. ``move``: from-disk, to-disk or None."""
    directory = {
        "BACKEND": "generation.core.storage.DurableFileSystemStorage",
        "OPTIONS": {"location": folder},
    }
    if bucket is None:
        return directory
    remote = {"BACKEND": "generation.core.bucket.BucketStorage", "OPTIONS": bucket}
    if move is None:
        return remote
    source, target = (directory, remote) if move == "from-disk" else (remote, directory)
    return {
        "BACKEND": "generation.core.moving.MovingStorage",
        "OPTIONS": {"source": source, "target": target},
    }


def build_bucket(given: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the options of BucketStorage from the variables S3_*; None without a bucket."""
    name = given["S3_BUCKET"]
    if not name:
        _refuse_leftovers(given)
        return None
    if any(importlib.util.find_spec(package) is None for package in ("storages", "boto3")):
        raise ImproperlyConfigured(
            "S3_BUCKET is set, but the packages for it are missing. Install Loupe's requirements"
            " for production: pip install --require-hashes -r requirements-production.txt"
        )
    endpoint_url = _find_endpoint(given)
    style = given["S3_ADDRESSING_STYLE"]
    if not style:  # a certificate for *.host does not cover a name with a dot
        style = PATH if given["S3_ENDPOINT_URL"] or "." in name else VIRTUAL
    return {
        "bucket_name": name,
        "endpoint_url": endpoint_url,
        "public_endpoint_url": given["S3_PUBLIC_ENDPOINT_URL"] or endpoint_url,
        "region_name": given["S3_REGION"] or "us-east-1",
        "addressing_style": style,
        "location": given["S3_PREFIX"],
        "object_parameters": _build_encryption(given),
        # None: the client looks for the credentials of the instance.
        "access_key": given["S3_ACCESS_KEY_ID"] or None,
        "secret_key": given["S3_SECRET_ACCESS_KEY"] or None,
        "security_token": given["S3_SESSION_TOKEN"] or None,
    }


def _refuse_leftovers(given: Mapping[str, str]) -> None:
    """Refuse variables without the bucket: images would silently go to the disk."""
    for variable, value in given.items():
        if value:
            raise ImproperlyConfigured(
                f"{variable} is set, but S3_BUCKET is not. Set S3_BUCKET to the name of the"
                " bucket, or leave both out to store images in DATA_DIR/assets."
            )


def _find_endpoint(given: Mapping[str, str]) -> str:
    if bool(given["S3_ACCESS_KEY_ID"]) != bool(given["S3_SECRET_ACCESS_KEY"]):
        raise ImproperlyConfigured(
            "S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY belong together: set both, or neither to"
            " use the credentials of the instance."
        )
    if given["S3_ENDPOINT_URL"]:
        return given["S3_ENDPOINT_URL"]
    if not given["S3_REGION"]:
        raise ImproperlyConfigured(
            "S3_BUCKET is set, but not where it is. Set S3_REGION, for example"
            " S3_REGION=eu-west-1, or S3_ENDPOINT_URL for an object storage other than Amazon's."
        )
    return f"https://s3.{given['S3_REGION']}.amazonaws.com"


def _build_encryption(given: Mapping[str, str]) -> dict[str, str]:
    """Return what each request to write says about encryption at rest."""
    kind, key = given["S3_ENCRYPTION"], given["S3_KMS_KEY_ID"]
    if key and kind != "aws:kms":
        raise ImproperlyConfigured("S3_KMS_KEY_ID needs S3_ENCRYPTION=aws:kms.")
    found = {"ServerSideEncryption": kind} if kind else {}
    return {**found, "SSEKMSKeyId": key} if key else found


def find_origin(bucket: Mapping[str, Any]) -> str:
    """Return the origin of presigned URLs, as a Content-Security-Policy names it."""
    parts = urlsplit(bucket["public_endpoint_url"])
    is_virtual = bucket["addressing_style"] == VIRTUAL
    host = f"{bucket['bucket_name']}.{parts.netloc}" if is_virtual else parts.netloc
    return f"{parts.scheme}://{host}"
