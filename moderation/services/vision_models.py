"""Add, fetch and remove image-text models."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final
from uuid import uuid4

import numpy as np
from django.conf import settings

from generation import fetching
from generation.fetching import BlockedAddressError, FetchError
from moderation.classifiers.base import ClassifierError
from moderation.classifiers.onnx_model import make_session
from moderation.classifiers.vision import installed, layout, towers
from moderation.classifiers.vision.installed import InstalledFile, InstalledModel
from moderation.classifiers.vision.known_models import (
    KNOWN_MODELS,
    KnownFile,
    KnownModel,
    identify,
)
from moderation.classifiers.vision.layout import Preprocessing, VisionModelError
from moderation.classifiers.vision.prompts import PROMPTS
from moderation.classifiers.vision.tokenizer import Tokenizer

Report = Callable[[str], None]

FILE_MAX: Final = 8 * 1024**3  # bytes, of a file in a manifest
ATTEMPTS: Final = 5  # of a download in a row that brought nothing
PAUSE: float = 2.0  # seconds between attempts
# The ends of the names of folders that a command makes beside the models.
_TEMPORARY: Final = re.compile(r"(?:-[0-9a-f]{32}\.(?:part|removed)|\.download)\Z")
_CHUNK: Final = 1 << 20
_SAME: Final = 1e-4  # difference between two runs on the same input
COLOURS: Final = {
    "red": (220, 30, 30),
    "green": (30, 170, 60),
    "blue": (30, 60, 220),
    "black": (0, 0, 0),
    "white": (255, 255, 255),
}


@dataclass(frozen=True, slots=True)
class Consent:
    """Answers of the person who installs a model."""

    person: str
    accepts_licence: bool = False
    allows_unknown: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of a model on a server."""

    base_url: str  # ends with a slash
    files: Mapping[str, KnownFile]
    licence: str
    preprocessing: Preprocessing | None = None  # written if it is not one of the files


# --- Add ---


def add(
    source: Path,
    *,
    name: str = "",
    consent: Consent,
    licence: str = "",
    report: Report = lambda line: None,
) -> InstalledModel:
    """Check a model and copy it to ``DATA_DIR/models``. Raises VisionModelError, OSError.

    ``licence``: of a model whose files are not known. The model appears complete or not at all.
    """
    files = layout.find_files(source)
    report("Comparing the files with known models …")
    sums = {file: _hash(path) for file, path in files.items()}
    known = identify(sums)
    name = name or (known.name if known else source.resolve().name)
    _check_name(name)
    _check_consent(known, licence, consent)
    parts = installed.get_folder() / f".{name}-{uuid4().hex}.part"
    try:
        for file, path in files.items():
            _copy(path, parts / file, sums[file])
        model = InstalledModel(
            folder=parts,
            files=tuple(
                InstalledFile(file, (parts / file).stat().st_size, sums[file]) for file in files
            ),
            dim=0,
            licence=known.licence if known else licence or "unknown",
            accepted_by=consent.person,
            accepted_at=datetime.now(UTC).isoformat(timespec="seconds"),
            known=known.name if known else "",
        )
        model = _check_model(model, known, report)
        installed.write_record(model)
        _publish(parts, installed.get_folder() / name)
    finally:
        shutil.rmtree(parts, ignore_errors=True)
    return installed.get(name)


def _check_name(name: str) -> None:
    if not layout.NAME.fullmatch(name):
        raise VisionModelError(
            f"{name!r} is not a name for a model. Use letters, digits, dots, hyphens and"
            " underscores (--name)."
        )
    if (installed.get_folder() / name).exists():
        raise VisionModelError(f"A model called {name} is installed already. Remove it first.")


def _check_consent(known: KnownModel | None, licence: str, consent: Consent) -> None:
    if known is None and not consent.allows_unknown:
        raise VisionModelError(
            "The files are not those of a model that Loupe knows. If you know where they come from,"
            " repeat the command with --unknown."
        )
    if not consent.accepts_licence:
        terms = f"{known.licence}, {known.licence_url}" if known else licence or "unknown to Loupe"
        raise VisionModelError(
            f"The licence of the model is: {terms}. Read it, and repeat the command with"
            " --accept-licence."
        )


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(source: Path, target: Path, sha256: str) -> None:
    """Copy a file durably. Raises VisionModelError if its content is another one by now."""
    target.parent.mkdir(parents=True, exist_ok=True)
    seen = hashlib.sha256()
    with source.open("rb") as reader, target.open("xb") as writer:
        while piece := reader.read(_CHUNK):
            seen.update(piece)
            writer.write(piece)
        writer.flush()
        os.fsync(writer.fileno())
    if seen.hexdigest() != sha256:
        raise VisionModelError(f"{source} changed while it was copied.")


def _publish(parts: Path, target: Path) -> None:
    try:
        os.rename(parts, target)
    except OSError as error:
        raise VisionModelError(f"{target} could not be created: {error.strerror}.") from None


# --- Checks ---


def _check_model(model: InstalledModel, known: KnownModel | None, report: Report) -> InstalledModel:
    """Load both towers and try them; return the model with its ``dim``. Raises VisionModelError."""
    paths = model.check_files()
    preprocessing = layout.read_preprocessing(paths[layout.PREPROCESSING])
    if known and preprocessing != known.preprocessing:
        raise VisionModelError(f"preprocess_cfg.json is not that of {known.name}.")
    try:
        report("Trying the visual tower …")
        dim = _try_visual(model, preprocessing)
        report("Trying the text tower …")
        with towers.report_failure(layout.TEXTUAL):
            session = make_session(model.get_file(layout.TEXTUAL))
            shape = towers.check_textual(session)
            tokenizer = towers.load_tokenizer(paths, shape)
            _check_tokens(tokenizer, known)
            _try_textual(session, tokenizer, shape, dim)
        model = replace(model, dim=dim)
        _check_colours(model, preprocessing, report)
        report("Computing the vectors of the prompts …")
        model.encode_prompts(PROMPTS)
    except ClassifierError as error:
        raise VisionModelError(str(error)) from None
    return model


def _try_visual(model: InstalledModel, preprocessing: Preprocessing) -> int:
    """Run the visual tower; return the length of its vectors."""
    side = preprocessing.side
    with towers.report_failure(layout.VISUAL):
        session = make_session(model.get_file(layout.VISUAL))
        shape = towers.check_visual(session, side)
        noise = np.random.default_rng(1).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
        first, again, other = (
            towers.run(session, shape.name, towers.prepare(pixels, preprocessing))
            for pixels in (noise[0], noise[0], noise[1])
        )
    _check_vectors(layout.VISUAL, first, again, other)
    return len(first)


def _try_textual(session: Any, tokenizer: Tokenizer, shape: towers.Shape, dim: int) -> None:
    first, again, other = (
        towers.run(session, shape.name, tokenizer.encode(text))
        for text in ("a plain red picture", "a plain red picture", "a plain blue picture")
    )
    if len(first) != dim:
        raise VisionModelError(
            f"The towers do not belong together: {layout.VISUAL} returns {dim} numbers, and"
            f" {layout.TEXTUAL} {len(first)}."
        )
    _check_vectors(layout.TEXTUAL, first, again, other)


def _check_vectors(name: str, *vectors: towers.Floats) -> None:
    """Check that two vectors of one input are equal, and a third one of another input differs."""
    first, again, other = towers.normalise(np.stack(vectors))
    if np.abs(first - again).max() > _SAME:
        raise VisionModelError(f"{name} returns different results for the same input.")
    if np.array_equal(first, other):
        raise VisionModelError(f"{name} returns the same result for different inputs.")


def _check_tokens(tokenizer: Tokenizer, known: KnownModel | None) -> None:
    for text, tokens in known.tokens.items() if known else ():
        if tuple(tokenizer.count_tokens(text)) != tokens:
            raise VisionModelError(
                f"The tokenizer is not that of {known.name if known else ''}: “{text}” has other"
                " tokens."
            )


def _check_colours(model: InstalledModel, preprocessing: Preprocessing, report: Report) -> None:
    """Compare plain pictures with their captions; report what is wrong, which may be harmless."""
    side = preprocessing.side
    texts = model.encode_texts([f"a plain {colour} picture" for colour in COLOURS])
    session = make_session(model.get_file(layout.VISUAL))
    shape = towers.check_visual(session, side)
    wrong = []
    for colour, rgb in COLOURS.items():
        pixels = np.full((side, side, 3), rgb, np.uint8)
        vector = towers.run(session, shape.name, towers.prepare(pixels, preprocessing))
        nearest = list(COLOURS)[int(np.argmax(texts @ vector))]
        if nearest != colour:
            wrong.append(f"{colour} looks like {nearest}")
    if wrong:
        report(
            f"Warning: plain pictures are not nearest to their captions ({', '.join(wrong)}). The"
            " preprocessing or the tokenizer may be that of another model."
        )


# --- Remove ---


def remove(name: str) -> None:
    """Delete an installed model, and what interrupted commands left of it.

    Raises VisionModelError, OSError.
    """
    folder = installed.get_folder()
    is_installed = name in installed.list_names()
    left = [path for path in folder.glob(".*") if _TEMPORARY.sub("", path.name) == f".{name}"]
    if not is_installed and not left:
        raise VisionModelError(f"There is no installed model called {name}.")
    if is_installed:
        gone = folder / f".{name}-{uuid4().hex}.removed"
        os.rename(folder / name, gone)
        left.append(gone)
    for path in left:
        shutil.rmtree(path)


# --- Fetch ---


def find_manifest(name: str) -> Manifest:
    """Return the manifest of a known model. Raises VisionModelError."""
    known = KNOWN_MODELS.get(name)
    if known is None:
        raise VisionModelError(
            f"{name} is not a known model. Known models: {', '.join(KNOWN_MODELS)}. For others,"
            " name a manifest (--manifest) or add a folder (manage.py model add)."
        )
    return Manifest(known.base_url, known.files, known.licence, known.preprocessing)


def read_manifest(path: Path) -> Manifest:
    """Read a manifest that the house wrote. Raises VisionModelError."""
    content = layout.read_json(path)
    base_url, licence, entries = (content.get(key) for key in ("base_url", "licence", "files"))
    if not isinstance(base_url, str) or not base_url.endswith("/"):
        raise VisionModelError(f"{path.name}: base_url must be a URL that ends with a slash.")
    if not isinstance(licence, str) or not licence.strip():
        raise VisionModelError(f"{path.name}: licence must name the licence of the model.")
    if not isinstance(entries, dict):
        raise VisionModelError(f"{path.name}: files must be an object.")
    files = {file: _read_entry(path, file, entry) for file, entry in entries.items()}
    if missing := layout.list_missing(files):
        raise VisionModelError(f"{path.name} lacks {' and '.join(missing)}.")
    return Manifest(base_url, files, licence.strip())


def _read_entry(path: Path, file: str, entry: Any) -> KnownFile:
    if file not in layout.FILES:
        raise VisionModelError(
            f"{path.name}: {file!r} is no file of a model. Known: {', '.join(layout.FILES)}."
        )
    size, sha256 = (
        entry.get(key) if isinstance(entry, dict) else None for key in ("size", "sha256")
    )
    is_digest = (
        isinstance(sha256, str) and len(sha256) == 64 and set(sha256) <= set("0123456789abcdef")
    )
    if type(size) is not int or not 0 < size <= FILE_MAX or not is_digest:
        raise VisionModelError(
            f"{path.name}: {file} needs its size in bytes and its sha256 (64 lower-case hexadecimal"
            " digits)."
        )
    return KnownFile(size, str(sha256))


def fetch(
    name: str, manifest: Manifest, *, consent: Consent, report: Report = lambda line: None
) -> InstalledModel:
    """Download a model, check it and add it. Raises VisionModelError, OSError.

    A later call continues an interrupted download.
    """
    _check_name(name)
    _check_consent(KNOWN_MODELS.get(name), manifest.licence, replace(consent, allows_unknown=True))
    folder = installed.get_folder() / f".{name}.download"
    for file, known in manifest.files.items():
        _fetch_file(manifest.base_url + file, folder / file, known, report)
    if manifest.preprocessing and layout.PREPROCESSING not in manifest.files:
        _write_preprocessing(folder / layout.PREPROCESSING, manifest.preprocessing)
    model = add(
        folder,
        name=name,
        # The manifest of the house vouches for the files.
        consent=replace(consent, allows_unknown=True),
        licence=manifest.licence,
        report=report,
    )
    shutil.rmtree(folder)
    return model


def _fetch_file(url: str, target: Path, known: KnownFile, report: Report) -> None:
    """Download one file, from where an earlier attempt stopped, and compare its SHA-256."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and _is_complete(target, known):
        return
    part = target.with_name(target.name + ".part")
    report(f"Downloading {target.parent.name}/{target.name}, {known.size:,} bytes …")
    with part.open("ab") as file:
        if file.tell() > known.size:
            file.truncate(0)
        if file.tell() < known.size:
            _download(url, file, known, report)
    if not _is_complete(part, known):
        part.unlink()
        raise VisionModelError(
            f"{target.parent.name}/{target.name} on the server is another file: its SHA-256 differs"
            f" from {known.sha256}. It was deleted."
        )
    os.replace(part, target)


def _is_complete(path: Path, known: KnownFile) -> bool:
    return path.stat().st_size == known.size and _hash(path) == known.sha256


def _download(url: str, file: BinaryIO, known: KnownFile, report: Report) -> None:
    """Download, and continue after a broken connection as long as that brings anything."""
    left = ATTEMPTS
    while True:
        before = file.seek(0, os.SEEK_END)
        try:
            fetching.download(url, file, size=known.size, allow=settings.FETCH_ALLOW)
            return
        except BlockedAddressError as error:
            raise VisionModelError(f"The download was refused. {error}") from None
        except FetchError as error:
            there = file.seek(0, os.SEEK_END)
            left = ATTEMPTS if there > before else left - 1
            if not error.retryable or left <= 0:
                raise VisionModelError(
                    f"The download failed at {there:,} of {known.size:,} bytes. {error}"
                    + (" Run the command again to continue." if error.retryable else "")
                ) from None
            report(f"{error} Continuing at {there:,} of {known.size:,} bytes …")
            time.sleep(PAUSE)


def _write_preprocessing(path: Path, preprocessing: Preprocessing) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "size": preprocessing.side,
        "mode": "RGB",
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "interpolation": preprocessing.resampling.name.lower(),
    }
    path.write_text(json.dumps(content) + "\n", "utf-8")
