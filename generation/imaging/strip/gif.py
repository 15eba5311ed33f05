"""GIF filter. Source: CompuServe, Graphics Interchange Format, version 89a."""

from __future__ import annotations

from typing import Final

from generation.imaging.strip.base import IndexedFrame, Stripped, require, take

_IMAGE, _EXTENSION, _TRAILER = 0x2C, 0x21, 0x3B
_CONTROL, _COMMENT, _APPLICATION = 0xF9, 0xFE, 0xFF
_INTERLACED: Final = 0x40
_LOOPS: Final = (b"\x0bNETSCAPE2.0\x03\x01", b"\x0bANIMEXTS1.0\x03\x01")
_LOOP_LENGTH: Final = 17  # name, sub-block of three bytes, terminator


def strip_gif(content: bytes, orientation: int) -> Stripped:
    """Keep frames, palettes, timing and the loop."""
    require(content[:6] in (b"GIF87a", b"GIF89a") and orientation == 1)
    screen = _read_16(content, 6), _read_16(content, 8)
    at = 13 + _table_length(take(content, 10, 1)[0])
    parts = [take(content, 0, at)]
    global_colours = _count_colours(content[10])
    frames, has_alpha, control = 0, False, b""
    indexed: list[IndexedFrame] = []
    while (kind := content[at]) != _TRAILER:
        if kind == _IMAGE:
            end = _end_of_image(content, at, screen)
            parts += [control, content[at:end]]
            indexed += _list_indexed(content[at:end], global_colours)
            control = b""
            frames += 1
        else:
            require(kind == _EXTENSION, "unknown-part")
            end = _end_of_blocks(content, at + 2)
            label, block = content[at + 1], content[at + 2 : end]
            if label == _CONTROL:
                require(not control and len(block) == 6 and block[0] == 4)
                control = content[at:end]
                has_alpha |= bool(block[1] & 1)
            elif label == _APPLICATION:
                if block.startswith(_LOOPS) and len(block) == _LOOP_LENGTH:
                    parts.append(content[at:end])
            else:
                require(label == _COMMENT, "unknown-part")
        at = end
    require(frames and not control)
    content = b"".join([*parts, bytes([_TRAILER])])
    return Stripped(content=content, frames=frames, has_alpha=has_alpha, indexed=tuple(indexed))


def _end_of_image(content: bytes, at: int, screen: tuple[int, int]) -> int:
    """Return the end of a frame. Raises NotClearedError for one that leaves the screen."""
    left, top, wide, tall = (_read_16(content, at + offset) for offset in (1, 3, 5, 7))
    require(wide and tall and left + wide <= screen[0] and top + tall <= screen[1])
    start = at + 10 + _table_length(content[at + 9])
    require(2 <= content[start] <= 8)
    return _end_of_blocks(content, start + 1)


def _list_indexed(frame: bytes, global_colours: int) -> list[IndexedFrame]:
    """Return the frame if its code size allows more colours than its palette has."""
    flags = frame[9]
    colours = _count_colours(flags) or global_colours
    require(colours)
    data = frame[10 + _table_length(flags) :]
    if colours >= 1 << data[0]:
        return []
    # A GIF without a palette is grey.
    head = b"GIF89a" + frame[5:9] + bytes(3) + frame[:1] + bytes(4) + frame[5:9]
    content = head + bytes([flags & _INTERLACED]) + data + bytes([_TRAILER])
    return [IndexedFrame(content=content, colours=colours)]


def _end_of_blocks(content: bytes, at: int) -> int:
    while content[at]:
        at += content[at] + 1
    return at + 1


def _count_colours(flags: int) -> int:
    return 2 << (flags & 7) if flags & 0x80 else 0


def _table_length(flags: int) -> int:
    return 3 * _count_colours(flags)


def _read_16(content: bytes, at: int) -> int:
    return int.from_bytes(take(content, at, 2), "little")
