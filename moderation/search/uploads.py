"""Uploads that are hashed in memory and never stored."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from django.core.files.uploadedfile import InMemoryUploadedFile, UploadedFile
from django.core.files.uploadhandler import FileUploadHandler

from generation import imaging
from generation.models import image_search


class InMemoryHandler(FileUploadHandler):
    """Upload handler that keeps the file in memory, up to just above the size limit."""

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


def hash_upload(content: bytes) -> str:
    """Return the hashes of an image for a URL: SHA-256, and PDQ if its quality suffices.

    Raises imaging.UnreadableImageError or imaging.DecoderUnavailableError.
    """
    rendition = imaging.render(content)
    if rendition.pdq is None or rendition.pdq_quality < image_search.QUALITY_MIN:
        return rendition.sha256
    return f"{rendition.sha256}.{rendition.pdq.hex()}"
