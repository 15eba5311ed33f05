"""The original: metadata is removed, pixels stay, and doubtful files are not cleared."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from generation.imaging.decode import decode_image
from generation.imaging.rendition import Rendition, UnreadableImageError
from generation.imaging.strip import NotClearedError, strip_metadata
from tests.generation.imaging.pictures import chunk, encoded, opened, picture, png, with_chunk

CANARY = b"CANARY-52.37N-4.89E"
SOURCE = b"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
XMP = (
    b'<x:xmpmeta><rdf:Description Iptc4xmpExt:DigitalSourceType="'
    + SOURCE
    + b'" dc:creator="'
    + CANARY
    + b'"/></x:xmpmeta>'
)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif(orientation: int = 1) -> Image.Exif:
    """Return EXIF data with a position, an author and an orientation."""
    found = Image.Exif()
    found[0x0112] = orientation
    found[0x013B] = CANARY.decode()  # artist
    found.get_ifd(0x8825)[0x001D] = CANARY.decode()  # date of the position
    return found


def notes() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", CANARY.decode())
    info.add_text("Author", CANARY.decode(), zip=True)
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    return info


def rgba() -> Image.Image:
    """Return a picture with full, partial and no opacity."""
    image = picture().convert("RGBA")
    ramp = np.linspace(0, 255, image.width).astype(np.uint8)
    image.putalpha(Image.fromarray(np.tile(ramp, (image.height, 1))))
    return image


def samples_16(kind: int) -> bytes:
    """Return a PNG of 16 bits for each sample, of grey (0), RGB (2) or RGBA (6)."""
    samples = {0: 1, 2: 3, 6: 4}[kind]
    rows = np.random.default_rng(2).integers(0, 65536, (8, 8 * samples)).astype(">u2")
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    return png(8, 8, rows=raw, depth=16, kind=kind)


def animated(file_format: str, count: int = 3, **options: Any) -> bytes:
    first, *rest = (picture(seed=seed) for seed in range(count))
    return encoded(
        first, file_format, save_all=True, append_images=rest, duration=50, loop=0, **options
    )


def with_segment(content: bytes, marker: int, payload: bytes) -> bytes:
    head = bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big")
    return content[:2] + head + payload + content[2:]


def noisy_jpeg(**options: Any) -> bytes:
    image = options.pop("image", picture())
    content = encoded(image, "JPEG", exif=exif(), comment=CANARY, **options)
    thumbnail = b"JFXX\0\x10" + CANARY
    for marker, payload in (
        (0xED, b"Photoshop 3.0\0" + CANARY),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP),
        (0xE5, CANARY),
        (0xE0, thumbnail),
    ):
        content = with_segment(content, marker, payload)
    return content + CANARY


def noisy_webp(**options: Any) -> bytes:
    image = options.pop("image", picture())
    return encoded(image, "WEBP", exif=exif(), xmp=XMP, **options) + CANARY


def noisy_gif(content: bytes) -> bytes:
    at = 13 + (3 << ((content[10] & 7) + 1))
    comment = b"\x21\xfe" + bytes([len(CANARY)]) + CANARY + b"\0"
    program = b"\x21\xff\x0bXMP DataXMP" + bytes([len(CANARY)]) + CANARY + b"\0"
    return content[:at] + comment + program + content[at:] + CANARY


def transparent_gif() -> bytes:
    image = picture().convert("P")
    return encoded(image, "GIF", transparency=image.getpixel((0, 0)))


def noisy_png(image: Image.Image | None = None, **options: Any) -> bytes:
    content = encoded(image or picture(), "PNG", pnginfo=notes(), exif=exif(), **options)
    content = with_chunk(content, b"tIME", struct.pack(">HBBBBB", 2026, 1, 2, 3, 4, 5))
    return with_chunk(content, b"prVt", CANARY) + CANARY


FILES: dict[str, Callable[[], bytes]] = {
    "jpeg": noisy_jpeg,
    "jpeg-progressive": lambda: noisy_jpeg(progressive=True, optimize=True),
    "jpeg-restarts": lambda: noisy_jpeg(restart_marker_rows=1),
    "jpeg-grey": lambda: noisy_jpeg(image=picture().convert("L")),
    "jpeg-cmyk": lambda: noisy_jpeg(image=picture().convert("CMYK")),
    "jpeg-profile": lambda: noisy_jpeg(icc_profile=PROFILE),
    "png": noisy_png,
    "png-profile": lambda: noisy_png(icc_profile=PROFILE),
    "png-alpha": lambda: noisy_png(rgba()),
    "png-grey-alpha": lambda: noisy_png(rgba().convert("LA")),
    "png-grey": lambda: noisy_png(picture().convert("L")),
    "png-bits": lambda: noisy_png(picture().convert("1")),
    "png-palette": lambda: noisy_png(picture().convert("P")),
    "png-palette-alpha": lambda: noisy_png(picture().convert("P"), transparency=bytes(range(256))),
    "png-colour-key": lambda: noisy_png(transparency=(1, 2, 3)),
    "png-16-grey": lambda: with_chunk(samples_16(0), b"tEXt", b"Author\0" + CANARY) + CANARY,
    "png-16-rgb": lambda: with_chunk(samples_16(2), b"tEXt", b"Author\0" + CANARY),
    "png-16-rgba": lambda: with_chunk(samples_16(6), b"tEXt", b"Author\0" + CANARY),
    "apng": lambda: with_chunk(animated("PNG"), b"tEXt", b"Author\0" + CANARY),
    "apng-default": lambda: with_chunk(
        animated("PNG", default_image=True), b"tEXt", b"Author\0" + CANARY
    ),
    "webp": noisy_webp,
    "webp-lossless": lambda: noisy_webp(lossless=True),
    "webp-alpha": lambda: noisy_webp(image=rgba(), lossless=True, exact=True),
    "webp-lossy-alpha": lambda: noisy_webp(image=rgba()),
    "webp-profile": lambda: noisy_webp(icc_profile=PROFILE),
    "webp-animated": lambda: animated("WEBP", exif=exif().tobytes(), xmp=XMP) + CANARY,
    "gif": lambda: noisy_gif(encoded(picture(), "GIF")),
    "gif-alpha": lambda: noisy_gif(transparent_gif()),
    "gif-animated": lambda: noisy_gif(animated("GIF")),
    "gif-few-colours": lambda: noisy_gif(encoded(picture().quantize(5), "GIF")),
    "png-few-colours": lambda: noisy_png(picture().quantize(5), bits=4),
}


def read_pixels(content: bytes) -> list[tuple[Any, ...]]:
    """Return what Pillow reads of every frame: mode, size, samples, palette, timing."""
    with Image.open(io.BytesIO(content)) as image:
        frames = []
        for number in range(getattr(image, "n_frames", 1) if image.format != "MPO" else 1):
            image.seek(number)
            image.load()
            palette = image.palette.tobytes() if image.palette else None
            frames.append(
                (
                    image.mode,
                    image.size,
                    image.tobytes(),
                    palette,
                    image.info.get("transparency"),
                    image.info.get("duration"),
                    image.info.get("loop"),
                    image.info.get("icc_profile"),
                )
            )
        return frames


@pytest.mark.parametrize("name", FILES)
def test_stripped_file_has_the_same_pixels_and_no_metadata(name: str) -> None:
    content = FILES[name]()
    kind = name.partition("-")[0].replace("apng", "png")
    assert CANARY in content

    stripped = strip_metadata(content, kind, 1)

    assert CANARY not in stripped.content
    assert CANARY not in zlib_texts(stripped.content)
    assert read_pixels(stripped.content) == read_pixels(content)
    assert strip_metadata(stripped.content, kind, 1).content == stripped.content
    info = opened(stripped.content).info
    assert not {"exif", "comment", "parameters", "Author"} & set(info)


def zlib_texts(content: bytes) -> bytes:
    """Return the unpacked text chunks of a PNG."""
    texts, at = b"", content.find(b"zTXt")
    while at >= 0:
        texts += zlib.decompressobj().decompress(content[at:].split(b"\0\0", 1)[1])
        at = content.find(b"zTXt", at + 4)
    return texts


@pytest.mark.parametrize("name", ["jpeg", "png", "webp"])
def test_mark_of_generated_media_is_kept_alone(name: str) -> None:
    stripped = strip_metadata(FILES[name](), name, 1).content

    assert stripped.count(SOURCE) == 1
    assert b"creator" not in stripped
    other = FILES[name]().replace(b"trainedAlgorithmicMedia", b"JohnDoeInAmsterdamHouse")
    if name != "png":  # a changed chunk of a PNG has a wrong checksum
        assert b"JohnDoe" not in strip_metadata(other, name, 1).content


@pytest.mark.parametrize(("mark", "is_kept"), [(b"jumb c2pa", True), (b"jumb \xff\xd8\xff", False)])
def test_c2pa_manifest_is_kept_without_pictures(mark: bytes, is_kept: bool) -> None:
    as_jpeg = with_segment(encoded(picture(), "JPEG"), 0xEB, b"JP\0\1\0\0\0\1" + mark)
    as_png = with_chunk(encoded(picture(), "PNG"), b"caBX", mark)
    webp = encoded(picture(), "WEBP", xmp=b"x")
    part = b"C2PA" + len(mark).to_bytes(4, "little") + mark + b"\0" * (len(mark) % 2)
    as_webp = webp[:4] + (len(webp) - 8 + len(part)).to_bytes(4, "little") + webp[8:] + part

    for content, kind in ((as_jpeg, "jpeg"), (as_png, "png"), (as_webp, "webp")):
        assert (mark in strip_metadata(content, kind, 1).content) == is_kept, kind


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_orientation_is_the_only_tag_left(file_format: str, orientation: int) -> None:
    content = encoded(picture(), file_format, exif=exif(orientation))

    found = opened(decode_original(content)).getexif()

    assert dict(found) == ({} if orientation == 1 else {0x0112: orientation})
    assert CANARY not in decode_original(content)


def decode_original(content: bytes) -> bytes:
    rendition = decode_image(content)
    assert rendition.original is not None, rendition.original_problem
    return rendition.original


# --- Not cleared ---
def wrong_profile() -> bytes:
    return encoded(picture().convert("L"), "PNG", icc_profile=PROFILE)


def shifted_gif() -> bytes:
    """Return an animation whose second frame leaves the screen."""
    content = animated("GIF")
    at = content.rindex(b"\x21\xf9\x04") + 8
    return content[: at + 1] + struct.pack("<H", 90) + content[at + 3 :]


def transparent_apng() -> bytes:
    frames = [rgba(), rgba().rotate(180)]
    return encoded(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=50)


def extra_rows() -> bytes:
    return png(8, 8, rows=b"\0" * (8 * 25) + CANARY)


CHECKS = bytes(0 if (x // 8 + y // 8) % 2 else 200 for y in range(64) for x in range(64))


def short_palette_png() -> bytes:
    """Return a checked pattern in which every second colour is not in the palette."""
    rows = b"".join(b"\0" + CHECKS[at : at + 64] for at in range(0, len(CHECKS), 64))
    return png(64, 64, rows=rows, kind=3, extra=chunk(b"PLTE", bytes([200, 200, 200])))


def short_palette_gif(flags: int = 0x80) -> bytes:
    """Return the same as a GIF with two colours, or without any."""
    image = Image.frombytes("P", (64, 64), CHECKS)
    image.putpalette(bytes(range(256)) * 3)
    content = encoded(image, "GIF", optimize=False)
    table = bytes([200, 200, 200, 0, 0, 0]) if flags else b""
    return content[:10] + bytes([flags]) + content[11:13] + table + content[13 + 768 :]


def replaced_jpeg() -> bytes:
    """Return a progressive JPEG whose later scans send another picture."""
    one, other = (encoded(picture(seed=seed), "JPEG", progressive=True) for seed in (1, 2))
    return one[:-2] + other[other.index(b"\xff\xc4") :]


def late_table_jpeg() -> bytes:
    """Return a progressive JPEG with other quantisation tables behind its first scan."""
    content = encoded(picture(), "JPEG", progressive=True)
    start = content.index(b"\xff\xdb")
    table = content[start : start + 2 + int.from_bytes(content[start + 2 : start + 4], "big")]
    at = content.index(b"\xff\xc4", content.index(b"\xff\xda"))
    return content[:at] + table + content[at:]


def secret_alpha_webp() -> bytes:
    """Return a WebP with transparency that its header does not announce."""
    content = bytearray(encoded(rgba(), "WEBP"))
    content[20] &= ~0x10
    return bytes(content)


def late_profile() -> bytes:
    content = encoded(picture(), "PNG")
    profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(swapped_profile()))
    return content[:-12] + profile + content[-12:]


DOUBTFUL: dict[str, tuple[Callable[[], bytes], str]] = {
    "gamma": (lambda: with_chunk(png(8, 8), b"gAMA", (100000).to_bytes(4, "big")), "colour"),
    "hdr": (lambda: with_chunk(png(8, 8), b"cICP", b"\x09\x10\0\1"), "colour"),
    "profile": (wrong_profile, "colour"),
    "rows": (extra_rows, "structure"),
    "colours behind a PNG's palette": (short_palette_png, "pixels"),
    "colours behind a GIF's palette": (short_palette_gif, "pixels"),
    "GIF without a palette": (lambda: short_palette_gif(0), "structure"),
    "two pictures in the scans": (replaced_jpeg, "structure"),
    "tables between scans": (late_table_jpeg, "structure"),
    "unannounced transparency": (secret_alpha_webp, "structure"),
    "late profile": (late_profile, "structure"),
    "shifted frame": (shifted_gif, "structure"),
    "transparent frames": (transparent_apng, "hidden-frames"),
    "many frames": (lambda: animated("GIF", 40), "too-many-frames"),
    "text in GIF": (
        lambda: encoded(picture(), "GIF")[:-1] + b"\x21\x01\x01x\0;",
        "unknown-part",
    ),
}


@pytest.mark.parametrize("name", ["gif-few-colours", "png-few-colours", "jpeg-progressive"])
def test_ordinary_file_with_few_colours_or_many_scans_is_cleared(name: str) -> None:
    assert decode_image(FILES[name]()).original_problem == ""


@pytest.mark.parametrize("name", DOUBTFUL)
def test_doubtful_file_is_not_cleared(name: str) -> None:
    make, problem = DOUBTFUL[name]

    rendition = decode_image(make())

    assert (rendition.original, rendition.original_problem) == (None, problem)
    assert rendition.views == {}


def test_unknown_critical_chunk_is_not_cleared() -> None:
    with pytest.raises(NotClearedError, match="unknown-part"):
        strip_metadata(with_chunk(png(8, 8), b"PRVT", b"x"), "png", 1)


@pytest.mark.parametrize("tag", [b"A2B1", b"cicp"])
def test_profile_that_viewers_read_differently_is_not_cleared(tag: bytes) -> None:
    profile = PROFILE.replace(b"chrm", tag, 1)
    assert profile != PROFILE

    for file_format, kind in (("PNG", "png"), ("JPEG", "jpeg"), ("WEBP", "webp")):
        with pytest.raises(NotClearedError, match="colour"):
            strip_metadata(encoded(picture(), file_format, icc_profile=profile), kind, 1)


# --- Differences and views ---
@pytest.mark.parametrize(
    ("name", "differs", "shown"),
    [
        ("jpeg", (), ()),
        ("jpeg-profile", (), ()),
        ("jpeg-cmyk", ("colour",), ("unmanaged",)),
        ("png-alpha", ("alpha",), ("checkerboard", "white", "black", "opaque")),
        ("png-16-rgb", ("depth",), ()),
        ("apng", ("animation",), ("frames",)),
        ("gif-animated", ("animation",), ("frames",)),
        ("gif-alpha", ("alpha",), ("checkerboard", "white", "black", "opaque")),
        ("webp-alpha", ("alpha",), ("checkerboard", "white", "black", "opaque")),
    ],
)
def test_differences_are_recorded_with_their_views(
    name: str, differs: tuple[str, ...], shown: tuple[str, ...]
) -> None:
    rendition = decode_image(FILES[name]())

    assert (rendition.differs, tuple(rendition.views)) == (differs, shown)
    assert rendition.original is not None


def test_other_colours_of_a_profile_are_shown() -> None:
    wide = opened(encoded(picture(), "PNG", icc_profile=swapped_profile()))
    rendition = decode_image(encoded(wide, "PNG", icc_profile=swapped_profile()))

    assert rendition.differs == ("colour",)
    raw = np.asarray(opened(rendition.views["unmanaged"]).convert("RGB")).astype(int)
    assert np.abs(raw - np.asarray(wide.convert("RGB"))).mean() < 12


def swapped_profile() -> bytes:
    """Return an RGB profile whose red and blue primaries are exchanged."""
    profile = bytearray(PROFILE)
    tags = {}
    for number in range(int.from_bytes(profile[128:132], "big")):
        at = 132 + 12 * number
        tags[bytes(profile[at : at + 4])] = at + 4
    red, blue = tags[b"rXYZ"], tags[b"bXYZ"]
    profile[red : red + 8], profile[blue : blue + 8] = (
        profile[blue : blue + 8],
        profile[red : red + 8],
    )
    return bytes(profile)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
def test_picture_under_full_transparency_is_visible_in_a_view(file_format: str) -> None:
    hidden = picture(seed=9).convert("RGBA")
    hidden.putalpha(0)
    options = {"lossless": True, "exact": True} if file_format == "WEBP" else {}

    views = decode_image(encoded(hidden, file_format, **options)).views

    seen = np.asarray(opened(views["opaque"]).convert("RGB")).astype(int)
    assert np.abs(seen - np.asarray(hidden.convert("RGB"))).mean() < 12
    assert np.asarray(opened(views["white"])).min() > 250


def test_every_frame_is_visible_on_the_sheet_of_frames() -> None:
    rendition = decode_image(animated("PNG", 5))

    sheet = np.asarray(opened(rendition.views["frames"]).convert("RGB")).astype(int)
    for number in range(5):
        wanted = np.asarray(picture(seed=number)).astype(int)
        tall, wide, _ = wanted.shape
        row, column = divmod(number, 3)
        cell = sheet[row * tall : (row + 1) * tall, column * wide : (column + 1) * wide]
        assert np.abs(cell - wanted).mean() < 12, number


# --- Damaged and forged files ---
SMALL = {name: make() for name, make in FILES.items()}


@settings(deadline=None, max_examples=400)
# Pillow warns about the broken metadata that some mutations leave; only pixels are compared here.
@pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")
@given(
    name=st.sampled_from(sorted(SMALL)),
    changes=st.lists(
        st.tuples(
            st.floats(0, 1, exclude_max=True),
            st.sampled_from(["flip", "cut", "insert", "copy"]),
            st.binary(min_size=1, max_size=6),
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_mutated_file_is_refused_or_keeps_its_pixels_without_metadata(
    name: str, changes: list[tuple[float, str, bytes]]
) -> None:
    content = SMALL[name]
    for where, how, data in changes:
        at = int(where * len(content))
        after = {"flip": at + len(data), "cut": at + 3 * len(data)}.get(how, at)
        added = {"cut": b"", "copy": content[at : at + 40]}.get(how, data)
        content = content[:at] + added + content[after:]
    rendition = decode_or_none(content)
    if rendition is None or rendition.original is None:
        return

    assert CANARY not in rendition.original
    assert read_pixels(rendition.original) == read_pixels(content)


def decode_or_none(content: bytes) -> Rendition | None:
    try:
        return decode_image(content)
    except UnreadableImageError:
        return None


def test_chunk_helper_writes_valid_checksums() -> None:
    assert strip_metadata(with_chunk(png(8, 8), b"pHYs", bytes(9)), "png", 1).content.count(
        chunk(b"pHYs", bytes(9))
    )
