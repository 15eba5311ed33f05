"""Image storage in a bucket of an object storage that speaks S3."""

from __future__ import annotations

import base64
import hashlib
import os
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final, Self
from urllib.parse import urlsplit

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from django.core.files.base import File
from django.utils import timezone
from storages.backends.s3 import S3Storage

from generation.core.storage import AssetStorage, BucketError, BucketFault, StoredFile

# Seconds and attempts: a bucket that hangs holds a thread of the web server for 15 s at most.
CONNECT_TIMEOUT, READ_TIMEOUT, ATTEMPTS = 2, 5, 3
# Seconds in which requests fail at once after one that got no answer; then a single one tries.
PAUSE = 5.0
CONNECTIONS: Final = 32  # kept open per process; more threads than that wait for none
# Above this size a file is sent in parts of this size, each with its own checksum.
PART_BYTES: Final = 16 * 1024 * 1024
PIECE: Final = 64 * 1024
PROBE: Final = "tmp/probe"
URL_SECONDS: Final = 60  # lifetime of a presigned URL
CONTENT_TYPES: Final = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
}
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, and MinIO's own.
_FAULTS: Final = {
    "NoSuchBucket": BucketFault.NO_BUCKET,
    "PermanentRedirect": BucketFault.NO_BUCKET,
    "AuthorizationHeaderMalformed": BucketFault.NO_BUCKET,  # another region
    "IllegalLocationConstraintException": BucketFault.NO_BUCKET,
    "ExpiredToken": BucketFault.REFUSED,
    "InvalidToken": BucketFault.REFUSED,
    "QuotaExceeded": BucketFault.FULL,
    "XMinioStorageFull": BucketFault.FULL,
    "BadDigest": BucketFault.DAMAGED,
    "InvalidDigest": BucketFault.DAMAGED,
    "XAmzContentChecksumMismatch": BucketFault.DAMAGED,
    "RequestTimeout": BucketFault.BUSY,
    "SlowDown": BucketFault.BUSY,
}
_STATUSES: Final = {
    301: BucketFault.NO_BUCKET,
    401: BucketFault.REFUSED,
    403: BucketFault.REFUSED,
    429: BucketFault.BUSY,
    507: BucketFault.FULL,
}


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise the client's errors as BucketError, and a missing object as FileNotFoundError."""
    try:
        yield
    except ClientError as error:
        raise _translate_response(error) from error
    except (CredentialRetrievalError, NoCredentialsError, PartialCredentialsError) as error:
        raise BucketError(BucketFault.NO_CREDENTIALS, str(error)) from error
    except (FlexibleChecksumError, IncompleteReadError) as error:
        raise BucketError(BucketFault.DAMAGED, str(error)) from error
    except (BotoConnectionError, HTTPClientError) as error:
        raise BucketError(BucketFault.UNREACHABLE, type(error).__name__) from error
    except (BotoCoreError, Boto3Error) as error:
        raise BucketError(BucketFault.OTHER, type(error).__name__) from error


def _translate_response(error: ClientError) -> OSError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    fault = _FAULTS.get(code) or _STATUSES.get(status)
    if fault is None and status == 404:
        return FileNotFoundError(f"{code}: no such object")
    if fault is None:
        fault = BucketFault.BUSY if status >= 500 else BucketFault.OTHER
    return BucketError(fault, f"{code or 'no code'}, status {status}")


class BucketFile(File[bytes]):
    """An object that is read as it arrives.

    The client compares the content with the object's checksum, if the storage sends one.
    """

    def __init__(self, storage: BucketStorage, body: Any, name: str, size: int) -> None:
        super().__init__(body, name)
        self._storage = storage
        self._body = body
        self.size = size

    def open(self, mode: str | None = None, *args: Any, **kwargs: Any) -> Self:
        """Read the object from its start again: a field opens the file that it has."""
        self.close()
        again = self._storage._open(str(self.name), mode or "rb")
        self.file = self._body = again._body
        self.size = again.size
        return self

    def read(self, size: int = -1) -> bytes:
        with translate_errors():
            return bytes(self._body.read(None if size < 0 else size))

    def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
        while piece := self.read(chunk_size or PIECE):
            yield piece


class BucketStorage(AssetStorage, S3Storage):
    """A storage in which the name determines the content, in a bucket.

    Writing takes one request, because replacing a file by the same content changes nothing. The
    storage compares each file with its SHA-256 before it accepts it.
    """

    is_shared = True

    def __init__(self, *, addressing_style: str, **options: Any) -> None:
        config = Config(
            s3={"addressing_style": addressing_style},
            signature_version="s3v4",
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            max_pool_connections=CONNECTIONS,
            # Loupe sends its own; storages of other makers refuse the client's.
            request_checksum_calculation="when_required",
        )
        super().__init__(addressing_style=addressing_style, client_config=config, **options)
        self._opened: tuple[int, Any] | None = None
        self._public_opened: tuple[int, Any] | None = None
        self._silent_until = 0.0

    def get_default_settings(self) -> dict[str, Any]:
        transfer = TransferConfig(
            multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, use_threads=False
        )
        return {
            **super().get_default_settings(),
            "transfer_config": transfer,
            "public_endpoint_url": "",
        }

    @property
    def connection(self) -> Any:
        """Return one connection per process: its client may be used by all threads."""
        self._opened = self._connect(self._opened, self.endpoint_url)
        return self._opened[1]

    @property
    def _client(self) -> Any:
        return self.connection.meta.client

    @property
    def _public_client(self) -> Any:
        url = self.public_endpoint_url or self.endpoint_url
        self._public_opened = self._connect(self._public_opened, url)
        return self._public_opened[1].meta.client

    def _connect(self, opened: tuple[int, Any] | None, endpoint_url: str) -> tuple[int, Any]:
        """Return the connection and its process: a fork must not use its parent's sockets."""
        if opened is not None and opened[0] == os.getpid():
            return opened
        resource = self._create_session().resource(
            "s3",
            region_name=self.region_name,
            endpoint_url=endpoint_url,
            config=self.client_config,
        )
        weakref.finalize(self, resource.meta.client.close)
        return os.getpid(), resource

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Translate errors; fail at once while the bucket does not answer."""
        now = time.monotonic()
        if now < self._silent_until:
            raise BucketError(BucketFault.UNREACHABLE, "gave no answer a moment ago")
        if self._silent_until:
            self._silent_until = now + PAUSE  # this request tries, the others need not wait
        try:
            with translate_errors():
                yield
        except OSError as error:  # a missing object, too, is an answer
            is_silent = isinstance(error, BucketError) and error.fault is BucketFault.UNREACHABLE
            self._silent_until = time.monotonic() + PAUSE if is_silent else 0.0
            raise
        self._silent_until = 0.0

    def _key(self, name: str) -> dict[str, str]:
        return {"Bucket": self.bucket_name, "Key": self._normalize_name(name)}

    # --- Django's interface ---
    def get_object_parameters(self, name: str) -> dict[str, Any]:
        suffix = name.rpartition(".")[2]
        content_type = CONTENT_TYPES.get(suffix, self.default_content_type)
        return {**super().get_object_parameters(name), "ContentType": content_type}

    def exists(self, name: str) -> bool:
        with self._asking():
            return bool(super().exists(name))

    def size(self, name: str) -> int:
        with self._asking():
            return int(self._client.head_object(**self._key(name))["ContentLength"])

    def delete(self, name: str) -> None:
        with self._asking():
            self._client.delete_object(**self._key(name))

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        with self._asking():
            folders, files = super().listdir(path)
        return folders, files

    def _open(self, name: str, mode: str = "rb") -> BucketFile:
        if mode != "rb":
            raise ValueError("Files of the bucket are opened for reading only.")
        with self._asking():
            answer = self._client.get_object(**self._key(name))
        return BucketFile(self, answer["Body"], name, answer["ContentLength"])

    def _save(self, name: str, content: File[bytes]) -> str:
        with self._asking():
            if content.size > PART_BYTES:
                self._save_in_parts(name, content)
            else:
                content.seek(0)
                self._put(name, content.read())
        return name

    def _put(self, name: str, content: bytes) -> None:
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        self._client.put_object(
            **self._key(name),
            **self.get_object_parameters(name),
            Body=content,
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=digest,
        )

    def _save_in_parts(self, name: str, content: File[bytes]) -> None:
        content.seek(0)
        self._client.upload_fileobj(
            content,
            **self._key(name),
            ExtraArgs={**self.get_object_parameters(name), "ChecksumAlgorithm": "SHA256"},
            Config=self.transfer_config,
        )

    # --- AssetStorage ---
    def count_free_bytes(self) -> None:
        return None

    def probe(self) -> None:
        """Write a small file, always the same one."""
        with self._asking():
            self._put(PROBE, timezone.now().isoformat().encode())

    def sweep_temporary(self, older_than_seconds: float) -> int:
        """Abort interrupted multipart uploads, whose parts are billed; return their number."""
        limit = timezone.now() - timedelta(seconds=older_than_seconds)
        swept = 0
        with self._asking():
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.bucket_name, Prefix=f"{self.location}/" if self.location else ""
            )
            for upload in (row for page in pages for row in page.get("Uploads", ())):
                if upload["Initiated"] <= limit:
                    self._client.abort_multipart_upload(
                        Bucket=self.bucket_name, Key=upload["Key"], UploadId=upload["UploadId"]
                    )
                    swept += 1
        return swept

    def iter_files(self, folder: str) -> Iterator[StoredFile]:
        prefix = f"{self._normalize_name(folder)}/"
        root = len(prefix) - len(f"{folder}/")
        with self._asking():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket_name, Prefix=prefix
            )
            for row in (row for page in pages for row in page.get("Contents", ())):
                yield StoredFile(
                    name=row["Key"][root:], size=row["Size"], modified_at=row["LastModified"]
                )

    def delete_unused(self, name: str, older_than_seconds: float) -> bool:
        """Delete a file that was last written this long ago; return whether it was deleted.

        A write of the same content between the two requests is lost, so choose a long time.
        """
        limit = timezone.now() - timedelta(seconds=older_than_seconds)
        try:
            with self._asking():
                found = self._client.head_object(**self._key(name))
        except FileNotFoundError:
            return False
        if found["LastModified"] > limit:
            return False
        self.delete(name)
        return True

    # --- Delivery ---
    def sign_public_url(self, name: str, *, method: str, headers: dict[str, str]) -> str:
        """Return a presigned URL for browsers and programs."""
        return self._sign(self._public_client, name, method, headers)

    def find_internal_path(self, name: str, *, headers: dict[str, str]) -> str:
        """Return path and query of a presigned URL below a location that adds the host."""
        parts = urlsplit(self._sign(self._client, name, "GET", headers))
        return f"/internal/bucket{parts.path}?{parts.query}"

    def _sign(self, client: Any, name: str, method: str, headers: dict[str, str]) -> str:
        with translate_errors():  # no request is sent, so this says nothing about silence
            url = client.generate_presigned_url(
                "head_object" if method == "HEAD" else "get_object",
                Params={**self._key(name), **headers},
                ExpiresIn=URL_SECONDS,
            )
        return str(url)
