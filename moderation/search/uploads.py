"""A picture that is only looked at: held in memory while its hashes are taken, and never stored."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from django.core.files.uploadedfile import InMemoryUploadedFile, UploadedFile
from django.core.files.uploadhandler import FileUploadHandler

from generation import imaging
from generation.models import image_search


class InMemory(FileUploadHandler):
    """Keeps what comes in off the disk, and no more of it than it takes to see that it is too
    large.
    """

    def new_file(self, *arguments: Any, **named: Any) -> None:
        super().new_file(*arguments, **named)
        self._content = bytearray()

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        if start <= imaging.MAX_BYTES:
            self._content += raw_data

    def file_complete(self, file_size: int) -> UploadedFile[bytes]:
        return InMemoryUploadedFile(
            BytesIO(self._content),
            self.field_name,
            self.file_name or "",
            self.content_type,
            len(self._content),
            None,
        )


def likeness_of(content: bytes) -> str:
    """What an address can say of a picture: its hash, and how it looks where that means anything.

    Raises imaging.Unreadable or imaging.DecoderUnavailable.
    """
    rendition = imaging.render(content)
    if rendition.pdq is None or rendition.pdq_quality < image_search.QUALITY_MIN:
        return rendition.sha256
    return f"{rendition.sha256}.{rendition.pdq.hex()}"
