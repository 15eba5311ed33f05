"""Imports in the browser: files and archives of one import set.

Repeating an upload is safe: a file is recognised by the hash of its content. A fault of this host
records nothing, so the same file can be sent again.
"""

from __future__ import annotations

import hashlib
import struct
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.db.models import F

from generation import imaging
from generation.core.storage import StorageUnavailableError
from generation.models import Asset, Source
from generation.services import storage_checks
from generation.services.storing import AlreadyStoredError, import_file
from moderation.models import ImportedFile, ImportSet

if TYPE_CHECKING:
    from django.contrib.auth.models import User

FILES_MAX = 10_000  # in one set
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif"})
ARCHIVE_SUFFIXES = frozenset({".zip", ".rar", ".7z", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".cbz"})
ARCHIVE_BYTES = 200 * 1024 * 1024
ARCHIVE_MEMBERS = 2000
ARCHIVE_CONTENT = 1024 * 1024 * 1024  # bytes of all members together
# Images hardly compress. Members below RATIO_FROM may: an empty picture is a few hundred bytes.
RATIO_MAX = 100
RATIO_FROM = 1024 * 1024
# Less than the 60 seconds that proxies usually wait for a response. The rest needs a repetition.
ARCHIVE_SECONDS = 40.0
COPIES = "__MACOSX/"  # folder of resource forks that macOS adds to archives

# https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.15 and 4.3.16
_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE, _LOCATOR_SIGNATURE = b"PK\x05\x06", b"PK\x06\x07"
_LOCATOR_LENGTH, _COMMENT_MAX = 20, 65_535
_DIRECTORY_BYTES = ARCHIVE_MEMBERS * 1024
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_IS_ENCRYPTED = 1

Outcome = ImportedFile.Outcome
# Faults of this host: nothing is known about the file, and it can be sent again.
FAULTS = (StorageUnavailableError, imaging.DecoderUnavailableError)


class ArchiveRefusedError(Exception):
    """An archive that is not opened; ``str(error)`` says why."""


class ImportSetFullError(Exception):
    """The set has as many files as one may have."""


@dataclass(slots=True)
class ArchiveReport:
    """The outcome of one pass over an archive."""

    files: list[ImportedFile] = field(default_factory=list)
    skipped: int = 0  # members that are no images by their names
    left: int = 0  # members that the time did not suffice for


def create(*, user: User, name: str) -> ImportSet:
    return ImportSet.objects.create(created_by=user, name=name)


def is_archive(head: bytes) -> bool:
    """Return whether a file that begins with these bytes is a ZIP archive."""
    return head[:4] in (b"PK\x03\x04", _END_SIGNATURE)


def add_file(*, import_set: ImportSet, content: bytes, name: str, user: User) -> ImportedFile:
    """Store one file and record the outcome.

    Raises ImportSetFullError, and one of FAULTS after reporting it; then nothing is recorded.
    """
    digest = hashlib.sha256(content).hexdigest()
    before = import_set.files.filter(digest=digest).first()
    if before is not None:
        return before
    outcome, reason, asset = _store(content, digest, name, user)
    return _record(import_set, digest, name, outcome, reason=reason, asset=asset)


def refuse_file(*, import_set: ImportSet, name: str, reason: str) -> ImportedFile:
    """Record a file that is refused without reading it."""
    digest = hashlib.sha256(f"unread\n{name}".encode()).hexdigest()
    return _record(import_set, digest, name, Outcome.REFUSED, reason=reason)


def _store(content: bytes, digest: str, name: str, user: User) -> tuple[Outcome, str, Asset | None]:
    known = Asset.objects.filter(source=Source.UPLOAD, source_sha256=digest).first()
    if known is not None:  # not decoded again, so that a repetition is quick
        return Outcome.KNOWN, "", known
    try:
        asset = import_file(content=content, name=PurePosixPath(name).name, user_id=user.pk)
    except AlreadyStoredError as stored:
        return Outcome.KNOWN, "", stored.asset
    except StorageUnavailableError as error:
        storage_checks.record_failure(error)
        raise
    except imaging.UnreadableImageError as error:
        return Outcome.REFUSED, str(error), None
    return Outcome.STORED, "", asset


def _record(
    import_set: ImportSet,
    digest: str,
    name: str,
    outcome: Outcome,
    *,
    reason: str = "",
    asset: Asset | None = None,
) -> ImportedFile:
    """Add the file's row and count it; return the present row if another request added it."""
    if import_set.total >= FILES_MAX:
        raise ImportSetFullError(f"One import has at most {FILES_MAX:,} files. Begin another one.")
    try:
        with transaction.atomic():
            row = ImportedFile.objects.create(
                import_set=import_set,
                digest=digest,
                name=name[:255],
                outcome=outcome,
                reason=reason[:300],
                asset=asset,
            )
            ImportSet.objects.filter(pk=import_set.pk).update(
                **{outcome.value: F(outcome.value) + 1}
            )
    except IntegrityError:
        return ImportedFile.objects.get(import_set=import_set, digest=digest)
    setattr(import_set, outcome.value, getattr(import_set, outcome.value) + 1)
    return row


# --- Archives ---
def add_archive(
    *,
    import_set: ImportSet,
    file: IO[bytes],
    size: int,
    user: User,
    clock: Callable[[], float] = time.monotonic,
) -> ArchiveReport:
    """Store the images of a ZIP archive, one in memory at a time; nothing is unpacked to disk.

    Stops after ARCHIVE_SECONDS: ``left`` members then need the archive again. Raises
    ArchiveRefusedError, ImportSetFullError, and one of FAULTS.
    """
    report, ends = ArchiveReport(), clock() + ARCHIVE_SECONDS
    with _open_archive(file, size) as archive:
        members = list(_select_members(archive, report))
        for number, member in enumerate(members):
            if clock() >= ends:
                report.left = len(members) - number
                break
            report.files.append(_add_member(import_set, archive, member, user))
    return report


def _open_archive(file: IO[bytes], size: int) -> zipfile.ZipFile:
    """Open an archive after checking its directory, which zipfile reads into memory at once.

    Raises ArchiveRefusedError.
    """
    if size > ARCHIVE_BYTES:
        raise ArchiveRefusedError(f"The archive is larger than {_format_mib(ARCHIVE_BYTES)}.")
    _check_directory(file, size)
    try:
        archive = zipfile.ZipFile(file)
    except (
        zipfile.BadZipFile,
        NotImplementedError,  # zipfile raises it for a version of the format that it cannot read
        ValueError,  # a name that does not decode
        struct.error,  # a record that ends early
    ):
        raise ArchiveRefusedError("The archive is damaged.") from None
    members = archive.infolist()
    if len(members) > ARCHIVE_MEMBERS:
        raise ArchiveRefusedError(f"The archive has more than {ARCHIVE_MEMBERS:,} files.")
    if sum(member.file_size for member in members) > ARCHIVE_CONTENT:
        raise ArchiveRefusedError(
            f"The files of the archive have more than {_format_mib(ARCHIVE_CONTENT)} together."
        )
    return archive


def _check_directory(file: IO[bytes], size: int) -> None:
    """Raise ArchiveRefusedError if the directory has too many entries, as stated or by its size."""
    file.seek(max(0, size - _END.size - _COMMENT_MAX - _LOCATOR_LENGTH))
    tail = file.read(_END.size + _COMMENT_MAX + _LOCATOR_LENGTH)
    file.seek(0)
    place = tail.rfind(_END_SIGNATURE)
    if place < 0 or len(tail) - place < _END.size:
        raise ArchiveRefusedError("The archive is damaged: it has no end.")
    _, _, _, _, entries, directory_bytes, _, _ = _END.unpack_from(tail, place)
    has_64_bits = tail[max(0, place - _LOCATOR_LENGTH) :].startswith(_LOCATOR_SIGNATURE)
    if has_64_bits or entries > ARCHIVE_MEMBERS or directory_bytes > _DIRECTORY_BYTES:
        raise ArchiveRefusedError(
            f"The archive has more than {ARCHIVE_MEMBERS:,} files, or uses ZIP64."
        )


def _select_members(archive: zipfile.ZipFile, report: ArchiveReport) -> Iterator[zipfile.ZipInfo]:
    """Yield images and nested archives, which are refused by name; count the others."""
    for member in archive.infolist():
        if member.is_dir():
            continue
        suffix = PurePosixPath(member.filename).suffix.lower()
        if member.filename.startswith(COPIES) or suffix not in SUFFIXES | ARCHIVE_SUFFIXES:
            report.skipped += 1
        else:
            yield member


def _add_member(
    import_set: ImportSet, archive: zipfile.ZipFile, member: zipfile.ZipInfo, user: User
) -> ImportedFile:
    name = member.filename
    if reason := find_member_problem(member):
        return refuse_file(import_set=import_set, name=name, reason=reason)
    try:
        with archive.open(member) as source:
            content = source.read(imaging.MAX_BYTES + 1)
    # zlib.error is no subclass of anything else; zipfile raises the others for damaged members.
    except Exception as error:
        reason = f"The file cannot be read from the archive ({type(error).__name__})."
        return refuse_file(import_set=import_set, name=name, reason=reason)
    return add_file(import_set=import_set, content=content, name=name, user=user)


def find_member_problem(member: zipfile.ZipInfo) -> str:
    """Return the reason to refuse a member unread; "" if it may be read."""
    if PurePosixPath(member.filename).suffix.lower() in ARCHIVE_SUFFIXES:
        return "An archive inside an archive is not opened."
    if member.flag_bits & _IS_ENCRYPTED:
        return "The file is encrypted."
    if member.compress_type not in _METHODS:
        return "The file is compressed by a method other than Deflate."
    if member.file_size > imaging.MAX_BYTES:
        return f"The file is larger than {_format_mib(imaging.MAX_BYTES)}."
    if member.file_size > max(RATIO_FROM, RATIO_MAX * member.compress_size):
        return f"The file grows more than {RATIO_MAX} times when it is unpacked, as no image does."
    return ""


def _format_mib(size: int) -> str:
    return f"{size // 1024 // 1024:,} MiB"
