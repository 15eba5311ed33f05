"""The image storage in a bucket, at a real server."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.files.base import ContentFile

from generation.core import bucket
from generation.core.bucket import BucketStorage
from generation.core.storage import BucketError, BucketFault, asset_name, thumbnail_name
from tests import buckets
from tests.buckets import BUCKET, FaultyProxy, Moto

NAME = asset_name("ab" + "0" * 62, "png")


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    with Moto() as server:
        yield server


@pytest.fixture
def files(moto: Moto) -> BucketStorage:
    return buckets.make_storage(moto.url)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up on a hanging server sooner."""
    monkeypatch.setattr(bucket, "READ_TIMEOUT", 1.0)
    monkeypatch.setattr(bucket, "ATTEMPTS", 2)
    monkeypatch.setattr(bucket, "PAUSE", 0.0)


@pytest.fixture
def proxy(moto: Moto, quick: None) -> Iterator[FaultyProxy]:
    with FaultyProxy(moto.port) as server:
        yield server


def head(moto: Moto, files: BucketStorage, name: str) -> dict[str, Any]:
    client = buckets.connect(moto.url)
    key = f"{files.location}/{name}"
    return dict(client.head_object(Bucket=BUCKET, Key=key, ChecksumMode="ENABLED"))


def test_file_is_saved_under_its_own_name_with_type_and_checksum(
    moto: Moto, files: BucketStorage
) -> None:
    assert files.save(NAME, ContentFile(b"pixels")) == NAME

    stored = head(moto, files, NAME)
    assert (stored["ContentType"], stored["ContentLength"]) == ("image/png", 6)
    assert stored["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(b"pixels").digest()).decode()
    with files.open(NAME) as file:
        assert (file.size, file.read()) == (6, b"pixels")
    assert (files.exists(NAME), files.size(NAME)) == (True, 6)
    files.delete(NAME)
    files.delete(NAME)  # a second time is no error
    assert not files.exists(NAME)


def test_missing_file_is_file_not_found(files: BucketStorage) -> None:
    for call in (files.open, files.size):
        with pytest.raises(FileNotFoundError):
            call(NAME)


def test_large_file_is_sent_in_parts_and_read_in_pieces(moto: Moto, files: BucketStorage) -> None:
    content = os.urandom(bucket.PART_BYTES + 5)

    files.save(NAME, ContentFile(content))

    assert head(moto, files, NAME)["ETag"].endswith('-2"')
    digest = hashlib.sha256()
    with files.open(NAME) as file:
        for piece in file.chunks():
            digest.update(piece)
    assert digest.digest() == hashlib.sha256(content).digest()


def test_files_of_a_folder_are_listed_without_the_prefix(files: BucketStorage) -> None:
    files.save(NAME, ContentFile(b"12"))
    files.save(thumbnail_name("cd" + "0" * 62), ContentFile(b"1"))

    assert [(file.name, file.size) for file in files.iter_files("renditions")] == [(NAME, 2)]
    assert files.listdir("renditions") == (["ab"], [])


def test_file_can_be_read_again(files: BucketStorage) -> None:
    files.save(NAME, ContentFile(b"pixels"))
    file = files.open(NAME)
    for _ in range(2):
        with file.open("rb") as opened:
            assert opened.read() == b"pixels"


def test_storages_with_different_prefixes_do_not_see_each_other(
    moto: Moto, files: BucketStorage
) -> None:
    other = buckets.make_storage(moto.url)
    files.save(NAME, ContentFile(b"x"))

    assert not other.exists(NAME)
    assert list(other.iter_files("renditions")) == []


def test_interrupted_uploads_are_aborted(moto: Moto, files: BucketStorage) -> None:
    client = buckets.connect(moto.url)
    key = f"{files.location}/{NAME}"
    client.create_multipart_upload(Bucket=BUCKET, Key=key)
    neighbour = f"{files.location}-2/{NAME}"  # of another installation in the same bucket
    client.create_multipart_upload(Bucket=BUCKET, Key=neighbour)

    assert files.sweep_temporary(40 * 365 * 86400) == 0  # moto says that all are from 2010
    assert files.sweep_temporary(3600) == 1
    left = client.list_multipart_uploads(Bucket=BUCKET, Prefix=files.location)["Uploads"]
    assert [upload["Key"] for upload in left] == [neighbour]


def test_unused_file_is_deleted_only_after_its_time(files: BucketStorage) -> None:
    files.save(NAME, ContentFile(b"x"))

    assert not files.delete_unused(NAME, 3600)
    assert files.delete_unused(NAME, -5)
    assert not files.delete_unused(NAME, -5)


def test_encryption_is_asked_for_with_each_file(moto: Moto) -> None:
    files = buckets.make_storage(moto.url, S3_ENCRYPTION="aws:kms", S3_KMS_KEY_ID="alias/loupe")

    files.save(NAME, ContentFile(b"x"))

    stored = head(moto, files, NAME)
    assert (stored["ServerSideEncryption"], stored["SSEKMSKeyId"]) == ("aws:kms", "alias/loupe")


def test_forked_process_opens_its_own_connection(files: BucketStorage) -> None:
    files.save(NAME, ContentFile(b"x"))
    opened = files.connection
    child = os.fork()
    if child == 0:
        is_new = files.connection is not opened and files.exists(NAME)
        os._exit(0 if is_new else 1)

    assert os.waitpid(child, 0)[1] == 0
    assert files.connection is opened


# --- Faults ---
def use_all(files: BucketStorage) -> list[OSError]:
    """Call every method and return the errors."""
    errors = []
    calls: tuple[Callable[[], object], ...] = (
        lambda: files.save(NAME, ContentFile(b"x")),
        lambda: files.open(NAME),
        lambda: files.exists(NAME),
        lambda: files.size(NAME),
        lambda: files.delete(NAME),
        lambda: files.probe(),
        lambda: list(files.iter_files("renditions")),
        lambda: files.sweep_temporary(0),
    )
    for call in calls:
        try:
            call()
        except OSError as error:
            errors.append(error)
        else:
            pytest.fail("The call reported no fault of the bucket.")
    return errors


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("busy", BucketFault.BUSY),
        ("throttled", BucketFault.BUSY),
        ("refused", BucketFault.REFUSED),
        ("expired", BucketFault.REFUSED),
        ("damaged", BucketFault.DAMAGED),
        ("full", BucketFault.FULL),
        ("reset", BucketFault.UNREACHABLE),
        ("hang", BucketFault.UNREACHABLE),
    ],
)
def test_failing_server_is_a_fault_of_the_bucket_and_ends_by_itself(
    proxy: FaultyProxy, fault: str, expected: BucketFault
) -> None:
    files = buckets.make_storage(proxy.url)
    files.save(NAME, ContentFile(b"x"))

    with proxy.failing(fault):
        for error in use_all(files):
            assert isinstance(error, BucketError)
            # The answer to HEAD has no code.
            by_status = BucketFault.OTHER if fault in ("damaged", "expired") else expected
            assert error.fault in (expected, by_status)

    with files.open(NAME) as file:
        assert file.read() == b"x"


def test_request_that_fails_once_is_repeated(proxy: FaultyProxy) -> None:
    files = buckets.make_storage(proxy.url)
    proxy.fault, before = "busy", proxy.requests

    def end_fault(**_: Any) -> None:
        proxy.fault = ""

    files.connection.meta.client.meta.events.register("needs-retry.s3.PutObject", end_fault)
    files.save(NAME, ContentFile(b"x"))

    assert proxy.requests == before + 2
    assert files.exists(NAME)


def test_content_that_is_cut_off_is_no_shorter_file(proxy: FaultyProxy) -> None:
    files = buckets.make_storage(proxy.url)
    files.save(NAME, ContentFile(os.urandom(8 * 1024 * 1024)))

    with files.open(NAME) as file:
        file.read(1000)
        with proxy.failing("reset"), pytest.raises(BucketError):
            file.read()


def test_missing_bucket_is_not_a_missing_file(moto: Moto) -> None:
    files = buckets.make_storage(moto.url, S3_BUCKET="another-bucket")
    with pytest.raises(BucketError) as caught:
        files.open(NAME)
    assert caught.value.fault == BucketFault.NO_BUCKET
    with pytest.raises(BucketError) as caught:
        files.save(NAME, ContentFile(b"x"))
    assert caught.value.fault == BucketFault.NO_BUCKET


@pytest.fixture
def silent(proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> BucketStorage:
    """Return a storage whose server did not respond, and responds again."""
    monkeypatch.setattr(bucket, "PAUSE", 1000.0)
    files = buckets.make_storage(proxy.url)
    with proxy.failing("hang"), pytest.raises(BucketError):
        files.probe()
    return files


def test_after_silence_requests_fail_at_once_until_one_succeeds(
    silent: BucketStorage, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = proxy.requests

    with pytest.raises(BucketError):
        silent.probe()
    assert proxy.requests == asked

    monkeypatch.setattr(bucket.time, "monotonic", lambda: silent._silent_until)
    silent.probe()
    silent.probe()
    assert proxy.requests > asked


def test_signing_a_url_does_not_end_a_silence_and_a_missing_object_does(
    silent: BucketStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert silent.sign_public_url(NAME, method="GET", headers={})
    with pytest.raises(BucketError):
        silent.probe()

    later = bucket.time.monotonic() + 2000
    monkeypatch.setattr(bucket.time, "monotonic", lambda: later)
    with pytest.raises(FileNotFoundError):
        silent.size(NAME)
    silent.probe()


def test_server_that_is_away_is_unreachable_and_comes_back(quick: None) -> None:
    with Moto() as server:
        files = buckets.make_storage(server.url)
        files.probe()
        server.stop()
        with pytest.raises(BucketError) as caught:
            files.probe()
        assert caught.value.fault == BucketFault.UNREACHABLE
        server.start()
        files.probe()


def test_presigned_url_names_the_public_host_and_ends_within_a_minute(moto: Moto) -> None:
    files = buckets.make_storage(moto.url, S3_PUBLIC_ENDPOINT_URL="https://images.example.org")

    url = files.sign_public_url(NAME, method="GET", headers={"ResponseContentType": "image/png"})
    path = files.find_internal_path(NAME, headers={})

    assert url.startswith(f"https://images.example.org/{BUCKET}/{files.location}/{NAME}?")
    assert "X-Amz-Expires=60" in url
    assert "response-content-type=image%2Fpng" in url
    assert path.startswith(f"/internal/bucket/{BUCKET}/{files.location}/{NAME}?")
