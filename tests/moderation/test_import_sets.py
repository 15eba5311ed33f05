"""Import in the browser: files, archives, faults, and the queue of a set."""

from __future__ import annotations

import errno
import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from generation import imaging
from generation.models import Asset
from moderation.models import ImportedFile, ImportSet, Review
from moderation.services import import_sets
from tests.conftest import picture
from tests.generation.faults import failing_writes
from tests.moderation.page_helpers import ClientOf
from tests.stored import use_directory

pytestmark = pytest.mark.django_db
JSON = {"Accept": "application/json"}


@pytest.fixture
def browser(senior: User, client_of: ClientOf, settings: Any) -> Client:
    settings.CLASSIFIERS = []
    return client_of(senior)


@pytest.fixture
def import_set(senior: User) -> ImportSet:
    return import_sets.create(user=senior, name="Harbour")


def make_zip(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def send(client: Client, import_set: ImportSet, content: bytes, path: str = "a.png") -> Any:
    file = SimpleUploadedFile(path.rpartition("/")[2], content)
    data = {"files": file, "paths": path}
    return client.post(f"{import_set.get_absolute_url()}files/", data, headers=JSON)


def outcomes(response: Any) -> list[tuple[str, str]]:
    assert response.status_code == 200, response.content
    return [(file["outcome"], file.get("reason", "")) for file in response.json()["files"]]


def count(import_set: ImportSet) -> tuple[int, int, int]:
    import_set.refresh_from_db()
    return import_set.stored, import_set.known, import_set.refused


def test_uploaded_files_become_assets_and_a_queue_of_their_own(
    browser: Client, make_review: Callable[..., Review]
) -> None:
    make_review()  # of another set
    files = [SimpleUploadedFile(f"{seed}.png", picture(seed)) for seed in (901, 902)]

    page = browser.post("/imports/", {"name": "Harbour", "files": files}, follow=True)

    import_set = ImportSet.objects.get()
    assert count(import_set) == (2, 0, 0)
    assert "Harbour" in page.content.decode()
    assert "colleagues decide them" in page.content.decode()
    queue = browser.get(f"/queues/waiting/?import_set={import_set.uuid}")
    assert {review.asset.original_name for review in queue.context["page"]} == {
        "901.png",
        "902.png",
    }
    assert "Import “Harbour”" in queue.content.decode()
    assert set(Asset.objects.values_list("stored_by__username", flat=True)) == {"senior", None}


def test_unknown_import_set_is_an_empty_queue(
    browser: Client, make_review: Callable[..., Review]
) -> None:
    make_review()
    queue = browser.get(f"/queues/waiting/?import_set={uuid4()}")
    assert queue.context["page"] == []
    assert len(browser.get("/queues/waiting/?import_set=nonsense").context["page"]) == 1


def test_repeated_file_is_recognised_and_counted_once(
    browser: Client, import_set: ImportSet, senior: User
) -> None:
    first = send(browser, import_set, picture(903))
    again = send(browser, import_set, picture(903), "b/other name.png")
    other = import_sets.create(user=senior, name="Other")
    elsewhere = send(browser, other, picture(903))

    assert [outcomes(one)[0][0] for one in (first, again, elsewhere)] == [
        "stored",
        "stored",
        "known",
    ]
    assert count(import_set) == (1, 0, 0)
    assert count(other) == (0, 1, 0)
    assert Asset.objects.count() == 1


def test_refused_files_are_listed_with_their_reasons(
    browser: Client, import_set: ImportSet
) -> None:
    assert outcomes(send(browser, import_set, b"no image", "folder/note.png"))[0][0] == "refused"
    large = outcomes(send(browser, import_set, bytes(imaging.MAX_BYTES + 1), "large.png"))

    assert large == [("refused", "The file is larger than 20 MiB.")]
    text = browser.get(import_set.get_absolute_url()).content.decode()
    assert "folder/note.png" in text
    assert "The file is larger than 20 MiB." in text
    assert count(import_set) == (0, 0, 2)


def test_storage_fault_records_nothing_and_names_the_file(
    browser: Client,
    import_set: ImportSet,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    use_directory(monkeypatch, settings, tmp_path)  # the fault is that of a disk
    with failing_writes(errno.ENOSPC):
        answer = send(browser, import_set, picture(904))
        plain = browser.post(
            f"{import_set.get_absolute_url()}files/",
            {"files": [SimpleUploadedFile("dawn.png", picture(904))]},
            follow=True,
        )

    assert answer.status_code == 503
    assert answer["Retry-After"]
    assert "Images cannot be stored" in answer.json()["error"]
    assert "Stopped at dawn.png" in plain.content.decode()
    assert count(import_set) == (0, 0, 0)
    assert outcomes(send(browser, import_set, picture(904))) == [("stored", "")]


def test_archive_stores_its_images_and_uses_no_name_as_a_path(
    browser: Client, import_set: ImportSet
) -> None:
    content = make_zip(
        {
            "../../etc/dawn.png": picture(905),
            "/deep/dusk.PNG": picture(906),
            "notes.txt": b"none",
            "__MACOSX/dawn.png": b"fork",
            "more.zip": make_zip({"a.png": picture(907)}),
        }
    )

    answer = send(browser, import_set, content, "set.zip").json()["files"]

    assert [file["outcome"] for file in answer] == ["stored", "stored", "refused", "archive"]
    assert answer[-1] == {"name": "set.zip", "outcome": "archive", "skipped": 2, "left": 0}
    assert set(Asset.objects.values_list("original_name", flat=True)) == {"dawn.png", "dusk.PNG"}
    refused = ImportedFile.objects.get(outcome="refused")
    assert refused.reason == "An archive inside an archive is not opened."


def test_archive_that_takes_too_long_is_finished_by_repetition(
    import_set: ImportSet, senior: User, settings: Any
) -> None:
    settings.CLASSIFIERS = []
    content = make_zip({f"{seed}.png": picture(seed) for seed in range(910, 914)})
    seconds = iter([0.0, 0.0, import_sets.ARCHIVE_SECONDS])

    def add(clock: Callable[[], float]) -> import_sets.ArchiveReport:
        return import_sets.add_archive(
            import_set=import_set,
            file=io.BytesIO(content),
            size=len(content),
            user=senior,
            clock=clock,
        )

    assert add(lambda: next(seconds)).left == 3
    assert add(lambda: 0.0).left == 0
    assert count(import_set) == (4, 0, 0)


def test_bombs_are_refused_without_unpacking_them(
    browser: Client, import_set: ImportSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    zeros = bytes(imaging.MAX_BYTES - 1)
    ratio = outcomes(send(browser, import_set, make_zip({"zeros.png": zeros}), "ratio.zip"))
    size = outcomes(send(browser, import_set, make_zip({"big.png": zeros + b"12"}), "size.zip"))
    monkeypatch.setattr(import_sets, "ARCHIVE_CONTENT", 10)
    total = outcomes(send(browser, import_set, make_zip({"a.png": picture(1)}), "total.zip"))
    monkeypatch.setattr(import_sets, "ARCHIVE_MEMBERS", 1)
    many = make_zip({"a.png": b"", "b.png": b""})
    number = outcomes(send(browser, import_set, many, "many.zip"))
    # The end states one entry, while the directory has two.
    lying = many[:-14] + struct.pack("<2H", 1, 1) + many[-10:]
    stated = outcomes(send(browser, import_set, lying, "lying.zip"))

    assert "grows more than 100 times" in ratio[0][1]
    assert "larger than 20 MiB" in size[0][1]
    assert "together" in total[0][1]
    assert "more than 1 files" in number[0][1]
    assert "more than 1 files" in stated[0][1]
    assert Asset.objects.count() == 0


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04 cut off",
        make_zip({"a.png": picture(1)})[:-30],
        make_zip({"a.png": picture(1)}).replace(
            b"PK\x05\x06", b"PK\x06\x07" + bytes(16) + b"PK\x05\x06"
        ),
        make_zip({"a.png": picture(1)}, zipfile.ZIP_LZMA),
        make_zip({"a.png": picture(1)}).replace(picture(1)[:20], bytes(20)),
    ],
    ids=["cut off", "no end", "ZIP64", "another method", "damaged"],
)
def test_archive_that_cannot_be_read_is_refused_with_a_reason(
    browser: Client, import_set: ImportSet, content: bytes
) -> None:
    answers = outcomes(send(browser, import_set, content, "set.zip"))
    assert answers[0][0] == "refused"
    assert answers[0][1]
    assert Asset.objects.count() == 0


def test_body_over_the_limit_returns_413_before_it_is_read(
    browser: Client, import_set: ImportSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moderation.views.import_sets.BODY_MAX", 100)
    assert send(browser, import_set, picture(1)).status_code == 413
    assert count(import_set) == (0, 0, 0)


def test_upload_without_a_token_is_refused(senior: User, import_set: ImportSet) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(senior)
    assert send(client, import_set, picture(1)).status_code == 403
    assert count(import_set) == (0, 0, 0)


def test_full_set_names_the_limit(
    browser: Client, import_set: ImportSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_sets, "FILES_MAX", 1)
    send(browser, import_set, picture(908))
    answer = send(browser, import_set, picture(909))
    assert answer.status_code == 409
    assert "at most 1 files" in answer.json()["error"]


def test_pages_of_imports_need_few_queries(
    browser: Client, import_set: ImportSet, django_assert_max_num_queries: Any
) -> None:
    for seed in range(920, 925):
        send(browser, import_set, picture(seed))
    send(browser, import_set, b"no image", "note.png")
    with django_assert_max_num_queries(10):
        browser.get("/imports/")
    with django_assert_max_num_queries(10):
        browser.get(import_set.get_absolute_url())
