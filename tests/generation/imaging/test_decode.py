"""The canonical rendition, decoded in this process; ``test_render`` uses the child process."""

from __future__ import annotations

import hashlib
import random
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from generation.imaging import UnreadableImageError
from generation.imaging.decode import GREY, MAX_FRAMES, decode_image
from generation.imaging.encode import is_lossless_webp
from tests.generation.imaging.pictures import (
    chunk,
    encoded,
    gif_bomb,
    opened,
    picture,
    png,
    with_chunk,
)

SECRET = b"GPS-CANARY"


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB")).astype(int)


def apart(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(pixels(one) - pixels(other)).mean())


@pytest.mark.parametrize(
    ("file_format", "options", "image_type", "tolerance"),
    [
        ("PNG", {}, "png", 0),
        ("JPEG", {"quality": 75}, "jpeg", 1),
        ("JPEG", {"subsampling": 0}, "jpeg", 1),
        ("JPEG", {"progressive": True}, "jpeg", 1),
        ("WEBP", {"quality": 80}, "webp", 2),
        ("WEBP", {"lossless": True}, "webp", 0),
        ("GIF", {}, "png", 0),
    ],
)
def test_rendition_keeps_type_size_and_pixels(
    file_format: str, options: dict[str, object], image_type: str, tolerance: int
) -> None:
    content = encoded(picture(), file_format, **options)
    rendition = decode_image(content)
    assert rendition.image_type == image_type
    assert rendition.source_type == file_format.lower()
    assert (rendition.width, rendition.height) == (96, 64) == opened(rendition.content).size
    assert apart(opened(content), opened(rendition.content)) <= tolerance
    assert rendition.sha256 == hashlib.sha256(rendition.content).hexdigest()
    assert rendition.source_sha256 == hashlib.sha256(content).hexdigest()
    assert rendition.source_bytes == len(content)
    assert rendition.pdq is not None
    assert len(rendition.pdq) == 32
    assert opened(rendition.thumbnail).format == "WEBP"
    assert rendition.preview.startswith("data:image/webp;base64,")
    assert len(rendition.preview) < 300


def test_jpeg_keeps_its_quantization_tables_and_stays_stable() -> None:
    content = encoded(picture(), "JPEG", quality=60)
    once = decode_image(content).content
    assert opened(once).quantization == opened(content).quantization
    assert (
        apart(opened(decode_image(once).content), opened(content)) < 1
    )  # encoding twice adds hardly any loss
    assert len(once) < 1.1 * len(content)


def test_rendering_is_deterministic() -> None:
    content = encoded(picture(), "PNG")
    assert decode_image(content) == decode_image(content)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_orientation_is_applied_and_removed_from_exif(orientation: int, file_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(picture(), file_format, exif=exif.tobytes())
    upright = ImageOps.exif_transpose(opened(content))
    rendition = decode_image(content)
    result = opened(rendition.content)
    assert result.size == upright.size == (rendition.width, rendition.height)
    assert apart(result, upright) < 4
    assert 0x0112 not in result.getexif()


def test_hidden_image_under_alpha_is_replaced_by_grey() -> None:
    secret = picture().convert("RGBA")
    secret.putalpha(0)
    rendition = decode_image(encoded(secret, "PNG"))
    result = opened(rendition.content)
    assert result.mode == "RGB"
    assert set(result.get_flattened_data()) == {GREY}
    assert rendition.pdq is None  # too flat for a hash
    assert rendition.pdq_quality == 0


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_alpha_is_composited_on_grey(mode: str) -> None:
    image = Image.new("RGBA", (40, 40), (255, 255, 255, 255))
    image.paste((0, 0, 0, 0), (0, 0, 20, 40))
    result = opened(decode_image(encoded(image.convert(mode), "PNG")).content)
    assert result.mode == "RGB"
    assert result.getpixel((5, 5)) == GREY
    assert result.getpixel((35, 5)) == (255, 255, 255)


def test_palette_transparency_is_composited_on_grey() -> None:
    image = Image.new("P", (40, 40), 1)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.paste(0, (0, 0, 20, 40))
    for file_format in ("PNG", "GIF"):
        result = opened(decode_image(encoded(image, file_format, transparency=0)).content)
        assert result.getpixel((5, 5)) == GREY
        assert result.getpixel((35, 5)) == (0, 255, 0)


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in ramp)
    result = np.asarray(
        opened(decode_image(png(64, 64, rows=rows, depth=16, kind=0)).content)
    ).astype(int)
    assert abs(result.mean() - 127.5) < 1
    assert (result.min(), result.max()) == (0, 255)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK"])
def test_other_colour_modes_are_converted_to_rgb_or_grey(mode: str) -> None:
    file_format = "JPEG" if mode == "CMYK" else "PNG"
    rendition = decode_image(encoded(picture().convert(mode), file_format))
    assert opened(rendition.content).mode in {"L", "RGB"}
    assert apart(opened(rendition.content), picture().convert(mode).convert("RGB")) < 4


def test_colour_profiles_are_applied_and_removed() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # An sRGB profile with the red and blue primaries swapped: applying it changes the colours.
    swapped = lab.replace(b"rXYZ", b"tmpX").replace(b"bXYZ", b"rXYZ").replace(b"tmpX", b"bXYZ")
    source = Image.new("RGB", (32, 32), (200, 30, 60))
    for file_format in ("PNG", "JPEG", "WEBP"):
        options = {"lossless": True} if file_format == "WEBP" else {}
        plain = opened(
            decode_image(encoded(source, file_format, icc_profile=lab, **options)).content
        )
        turned = opened(
            decode_image(encoded(source, file_format, icc_profile=swapped, **options)).content
        )
        assert apart(plain, source) < 3
        assert apart(turned, source) > 20
        assert "icc_profile" not in plain.info
        assert "icc_profile" not in turned.info
    assert (
        apart(
            opened(decode_image(encoded(source, "PNG", icc_profile=b"not a profile")).content),
            source,
        )
        == 0
    )


def test_rendition_contains_no_metadata_and_no_trailing_data() -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("parameters", "a red boat, steps 20")
    notes.add_text("Author", SECRET.decode())
    notes.add_itxt("XML:com.adobe.xmp", SECRET.decode() * 9, zip=True)
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()
    exif.get_ifd(0x8825)[29] = SECRET.decode()
    options = {"exif": exif.tobytes(), "xmp": SECRET}
    sources = [
        with_chunk(
            encoded(picture(), "PNG", pnginfo=notes, exif=exif.tobytes(), dpi=(72, 72)),
            b"prVt",
            SECRET,
        ),
        encoded(picture(), "JPEG", comment=SECRET, **options),
        encoded(picture(), "WEBP", **options),
        encoded(picture(), "GIF", comment=SECRET),
    ]
    for source in sources:
        rendition = decode_image(source + b"<?php PK\x03\x04 %PDF <script>" + SECRET)
        for stored in (rendition.content, rendition.thumbnail):
            assert not any(
                trace in stored
                for trace in (SECRET, b"<script", b"<?php", b"%PDF", b"a red boat", b"Exif")
            )
            image = opened(stored)
            assert not image.getexif()
            assert not {"comment", "exif", "xmp", "icc_profile", "dpi", "parameters"} & set(
                image.info
            )
        assert SECRET.decode() not in str(rendition.metadata)
    assert decode_image(sources[0]).metadata == {"parameters": "a red boat, steps 20"}


def test_prompt_is_read_from_the_user_comment_and_metadata_is_limited() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + "a blue boat ☂".encode("utf-16-be")
    assert decode_image(encoded(picture(), "JPEG", exif=exif)).metadata == {
        "parameters": "a blue boat ☂"
    }
    notes = PngImagePlugin.PngInfo()
    for key in ("parameters", "prompt", "workflow", "Comment", "Title", "Description"):
        notes.add_text(key, "x\0y\x1b" * 20_000)
    found = decode_image(encoded(picture(), "PNG", pnginfo=notes)).metadata
    assert sum(map(len, found.values())) <= 64 * 1024
    assert all(len(text) <= 16 * 1024 for text in found.values())
    assert not any(unfit in str(found.values()) for unfit in ("\\x00", "\\x1b"))


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP"])
def test_only_the_first_frame_is_kept(file_format: str) -> None:
    first, hidden = Image.new("RGB", (48, 48), (0, 200, 0)), picture(48, 48)
    content = encoded(
        first, file_format, save_all=True, append_images=[hidden, hidden.rotate(90)], duration=50
    )
    rendition = decode_image(content)
    assert rendition.frames == 3
    result = opened(rendition.content)
    assert getattr(result, "n_frames", 1) == 1
    assert apart(result, first) < 3


def test_frames_are_counted_without_decoding_them() -> None:
    assert decode_image(gif_bomb(2500)).frames == 2500
    assert decode_image(gif_bomb(400_000)).frames == MAX_FRAMES


def test_thumbnail_is_scaled_down_and_tiny_image_keeps_its_size() -> None:
    big = decode_image(encoded(picture(1200, 300), "JPEG"))
    assert opened(big.thumbnail).size == (512, 128)
    tiny = decode_image(encoded(Image.new("RGB", (1, 1), (9, 9, 9)), "PNG"))
    assert opened(tiny.thumbnail).size == (1, 1)
    assert (tiny.width, tiny.height, tiny.pdq) == (1, 1, None)


def test_similar_pictures_have_close_hashes() -> None:
    def bits(content: bytes) -> int:
        return int.from_bytes(decode_image(content).pdq or b"", "big")

    source = picture(600, 600)
    assert (
        bits(encoded(source, "PNG")) ^ bits(encoded(source, "JPEG", quality=50))
    ).bit_count() <= 31
    assert (
        bits(encoded(source, "PNG")) ^ bits(encoded(picture(600, 600, seed=2), "PNG"))
    ).bit_count() > 60


def test_lossless_webp_is_recognised() -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    for lossless in (True, False):
        assert is_lossless_webp(encoded(picture(), "WEBP", lossless=lossless)) is lossless
        assert (
            is_lossless_webp(encoded(picture(), "WEBP", lossless=lossless, exif=exif)) is lossless
        )


BOMB = zlib.compress(bytes(80_000_000), 9)
PLAIN = encoded(picture(), "PNG")
JPEG = encoded(picture(), "JPEG")

REFUSED: list[tuple[str, str, bytes]] = [
    ("empty", "empty", b""),
    ("too many bytes", "too-many-bytes", PLAIN + bytes(21 * 1024 * 1024)),
    (
        "svg",
        "unsupported",
        b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    ),
    ("html", "unsupported", b"<!doctype html><script>alert(1)</script>"),
    ("s3 error", "unsupported", b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'),
    ("json", "unsupported", b'{"code": 404}'),
    ("random", "unsupported", random.Random(1).randbytes(5000)),
    ("bmp", "unsupported", encoded(picture(), "BMP")),
    ("tiff", "unsupported", encoded(picture(), "TIFF")),
    ("ico", "unsupported", encoded(picture(32, 32), "ICO")),
    ("ppm", "unsupported", encoded(picture(), "PPM")),
    ("eps", "unsupported", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
    ("pdf", "unsupported", b"%PDF-1.4\n"),
    ("psd", "unsupported", b"8BPS\0\1" + bytes(100)),
    ("zip", "unsupported", b"PK\x03\x04" + bytes(100)),
    ("flat png 20000 x 20000", "too-many-pixels", png(20000, 20000, rows=b"")),
    ("flat png 6000 x 6000", "too-many-pixels", png(6000, 6000, rows=bytes(9))),
    ("flat png 9000 x 600", "too-many-pixels", png(9000, 600, rows=b"")),
    ("png of 2^31 pixels a side", "too-many-pixels", png(2**31 - 1, 2**31 - 1, rows=b"")),
    ("long png", "too-elongated", png(2100, 100, rows=b"")),
    ("png of no width", "broken", png(0, 10, rows=b"")),
    ("jpeg of 65535 x 65535", "too-many-pixels", JPEG.replace(b"\0\x40\0\x60", b"\xff" * 4)),
    ("gif of 65535 x 65535", "too-many-pixels", gif_bomb(1).replace(b"\x08\0" * 2, b"\xff" * 4)),
    ("zTXt bomb", "broken", with_chunk(PLAIN, b"zTXt", b"Comment\0\0" + BOMB)),
    ("iTXt bomb", "broken", with_chunk(PLAIN, b"iTXt", b"Comment\0\1\0\0\0" + BOMB)),
    ("iCCP bomb", "broken", with_chunk(PLAIN, b"iCCP", b"icc\0\0" + BOMB)),
    ("png without end", "broken", PLAIN[:-12]),
    ("png with a wrong checksum", "broken", PLAIN[:60] + bytes([PLAIN[60] ^ 1]) + PLAIN[61:]),
    ("png of too few rows", "broken", png(64, 64, rows=bytes(65 * 3))),
    ("png header only", "broken", PLAIN[:33]),
    ("png signature only", "broken", PLAIN[:8]),
    ("png half", "broken", PLAIN[: len(PLAIN) // 2]),
    ("jpeg half", "broken", JPEG[: len(JPEG) // 2]),
    ("jpeg of many scans", "too-complex", JPEG + b"\xff\xda" * 101),
    ("webp half", "broken", encoded(picture(), "WEBP")[:400]),
    ("gif header only", "broken", encoded(picture(), "GIF")[:13]),
    ("unknown critical chunk", "broken", png(8, 8, extra=chunk(b"IHDR", b""))),
]


@pytest.mark.parametrize(
    ("code", "content"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_hostile_files_are_refused_with_an_error_code(code: str, content: bytes) -> None:
    with pytest.raises(UnreadableImageError) as caught:
        decode_image(content)
    if code == "broken":  # the error code of a broken file depends on how far it can be read
        assert caught.value.code in {"broken", "unsupported"}
    else:
        assert caught.value.code == code
    assert str(caught.value).endswith(".")
    assert len(str(caught.value)) < 120


def mutations() -> list[bytes]:
    rng = random.Random(7)
    sources = [encoded(picture(), file_format) for file_format in ("PNG", "JPEG", "WEBP", "GIF")]
    found = []
    for number in range(160):
        content = bytearray(sources[number % 4])
        for _ in range(rng.randint(1, 12)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        if number % 5 == 0:
            del content[rng.randrange(len(content)) :]
        found.append(bytes(content))
    return found


def test_mutated_files_raise_only_unreadable_image_error() -> None:
    survivors = 0
    for content in mutations():
        try:
            rendition = decode_image(content)
        except UnreadableImageError:
            continue
        survivors += 1
        assert opened(rendition.content).size == (rendition.width, rendition.height)
    assert 0 < survivors < 160
