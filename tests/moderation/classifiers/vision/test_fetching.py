"""Fetching a model from a server on a real socket: resuming, refusals, hashes, redirects."""

from __future__ import annotations

import io
import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from moderation.classifiers.vision import layout
from moderation.classifiers.vision.known_models import KnownFile
from moderation.classifiers.vision.layout import VisionModelError
from moderation.services import vision_models
from moderation.services.vision_models import Manifest
from tests.moderation.classifiers.vision import toy as toys
from tests.moderation.classifiers.vision.conftest import CONSENT
from tests.moderation.classifiers.vision.toy import write_model

VISUAL = "visual/model.onnx"


class Mirror:
    """A server of files that can break, ignore ranges, redirect, or serve something else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[tuple[str, str]] = []  # path and range
        self.break_after: dict[str, list[int]] = {}  # path to bytes of the next responses
        self.replaced: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.knows_ranges = True
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.serve(self)

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()
        self.endpoint = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.endpoint}/model/"

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.removeprefix("/model/")
        span = handler.headers.get("Range", "")
        self.asked.append((path, span))
        handler.close_connection = True
        if location := self.redirects.get(path):
            handler.send_response(302)
            handler.send_header("Location", location)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        if not (self.folder / path).exists():
            handler.send_error(404)
            return
        content = self.replaced.get(path) or (self.folder / path).read_bytes()
        start = int(span.removeprefix("bytes=").rstrip("-")) if span and self.knows_ranges else 0
        handler.send_response(206 if start else 200)
        if start:
            end = len(content) - 1
            handler.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
        body = content[start:]
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        cuts = self.break_after.get(path, [])
        handler.wfile.write(body[: cuts.pop(0)] if cuts else body)

    def ask(self, path: str) -> list[str]:
        """Return the ranges of the requests for a file."""
        return [span for asked, span in self.asked if asked == path]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def mirror(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    mirror = Mirror(write_model(tmp_path / "source"))
    settings.FETCH_ALLOW = [mirror.endpoint]
    monkeypatch.setattr(vision_models, "PAUSE", 0.0)
    yield mirror
    mirror.close()


@pytest.fixture
def manifest(mirror: Mirror) -> Manifest:
    files = {
        name: KnownFile(path.stat().st_size, vision_models._hash(path))
        for name, path in layout.find_files(mirror.folder).items()
    }
    return Manifest(mirror.url, files, "CC0")


def fetch(manifest: Manifest) -> Any:
    return vision_models.fetch("toy", manifest, consent=CONSENT)


def test_model_is_fetched_checked_and_added(
    mirror: Mirror, manifest: Manifest, data_dir: Path
) -> None:
    model = fetch(manifest)
    assert (model.name, model.licence, model.dim) == ("toy", "CC0", 3)
    assert [file.name for file in (data_dir / "models").iterdir()] == ["toy"]
    assert {span for _, span in mirror.asked} == {""}


def test_broken_connection_is_continued(mirror: Mirror, manifest: Manifest, data_dir: Path) -> None:
    mirror.break_after[VISUAL] = [100, 0, 50]
    lines: list[str] = []
    vision_models.fetch("toy", manifest, consent=CONSENT, report=lines.append)
    assert mirror.ask(VISUAL) == ["", "bytes=100-", "bytes=100-", "bytes=150-"]
    assert any("Continuing at 150 of" in line for line in lines)


def test_next_command_continues_where_the_last_one_failed(
    mirror: Mirror, manifest: Manifest, data_dir: Path
) -> None:
    mirror.break_after[VISUAL] = [100] + [0] * vision_models.ATTEMPTS
    with pytest.raises(VisionModelError, match=r"failed at 100 of .* again to continue"):
        fetch(manifest)
    assert not (data_dir / "models/toy").exists()
    mirror.asked.clear()
    fetch(manifest)
    assert mirror.ask(VISUAL) == ["bytes=100-"]


def test_finished_files_are_not_fetched_again(
    mirror: Mirror, manifest: Manifest, data_dir: Path
) -> None:
    mirror.replaced["textual/tokenizer.json"] = b"{}"
    with pytest.raises(VisionModelError):
        fetch(manifest)
    mirror.replaced.clear()
    mirror.asked.clear()
    fetch(manifest)
    assert mirror.ask(VISUAL) == []


def test_server_without_ranges_sends_the_file_again(
    mirror: Mirror, manifest: Manifest, data_dir: Path
) -> None:
    mirror.knows_ranges = False
    mirror.break_after[VISUAL] = [100]
    fetch(manifest)
    assert mirror.ask(VISUAL) == ["", "bytes=100-"]


@pytest.mark.parametrize("change", [b"\0", b""])
def test_file_of_another_size_is_refused(
    mirror: Mirror, manifest: Manifest, data_dir: Path, change: bytes
) -> None:
    content = (mirror.folder / VISUAL).read_bytes()
    mirror.replaced[VISUAL] = content + change if change else content[:-1]
    with pytest.raises(VisionModelError, match=f"does not have {len(content)} bytes"):
        fetch(manifest)
    assert len(mirror.ask(VISUAL)) == 1


def test_file_of_another_hash_is_refused_and_deleted(
    mirror: Mirror, manifest: Manifest, data_dir: Path
) -> None:
    content = (mirror.folder / VISUAL).read_bytes()
    mirror.replaced[VISUAL] = content[:-1] + bytes([content[-1] ^ 1])
    with pytest.raises(VisionModelError, match="its SHA-256 differs"):
        fetch(manifest)
    assert not list(data_dir.rglob("model.onnx*"))


@pytest.mark.parametrize(
    "location", ["http://127.0.0.1:1/x", "http://169.254.169.254/x", "https://10.0.0.1/x"]
)
def test_redirect_to_a_private_address_is_refused(
    mirror: Mirror, manifest: Manifest, data_dir: Path, location: str
) -> None:
    mirror.redirects[VISUAL] = location
    with pytest.raises(VisionModelError, match="The download was refused"):
        fetch(manifest)
    assert len(mirror.asked) == 1


def test_redirect_keeps_the_range(mirror: Mirror, manifest: Manifest, data_dir: Path) -> None:
    (mirror.folder / "store").mkdir()
    (mirror.folder / "store/x").write_bytes((mirror.folder / VISUAL).read_bytes())
    mirror.redirects[VISUAL] = "/model/store/x"
    mirror.break_after["store/x"] = [64]
    fetch(manifest)
    assert mirror.ask("store/x") == ["", "bytes=64-"]


def test_server_that_is_not_allowed_is_refused(
    manifest: Manifest, data_dir: Path, settings: Any
) -> None:
    settings.FETCH_ALLOW = []
    with pytest.raises(VisionModelError, match="The download was refused"):
        fetch(manifest)


def test_missing_file_ends_the_download(mirror: Mirror, manifest: Manifest, data_dir: Path) -> None:
    (mirror.folder / VISUAL).unlink()
    with pytest.raises(VisionModelError, match="answered 404"):
        fetch(manifest)
    assert len(mirror.asked) == 1


# --- Manifests ---


def run_command(*arguments: str) -> str:
    out = io.StringIO()
    call_command("model", "fetch", *arguments, stdout=out)
    return out.getvalue()


def test_manifest_of_the_house_is_fetched(
    mirror: Mirror, manifest: Manifest, data_dir: Path, tmp_path: Path
) -> None:
    path = tmp_path / "manifest.json"
    entries = {
        name: {"size": file.size, "sha256": file.sha256} for name, file in manifest.files.items()
    }
    path.write_text(json.dumps({"base_url": mirror.url, "licence": "MIT", "files": entries}))
    with pytest.raises(CommandError, match="The licence of the model is: MIT"):
        run_command("toy", "--manifest", str(path))
    assert mirror.asked == []
    assert "Installed toy." in run_command("toy", "--manifest", str(path), "--accept-licence")


GOOD = {"size": 1, "sha256": "0" * 64}
FILES = dict.fromkeys((layout.VISUAL, layout.TEXTUAL, layout.TOKENIZER), GOOD)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([], "is not a JSON object"),
        ({"licence": "MIT", "files": {}}, "base_url must be a URL"),
        ({"base_url": "https://example.org", "licence": "MIT", "files": {}}, "ends with a slash"),
        ({"base_url": "https://example.org/", "files": {}}, "licence must name"),
        ({"base_url": "https://example.org/", "licence": "MIT"}, "files must be an object"),
        (
            {"base_url": "https://example.org/", "licence": "MIT", "files": FILES},
            "lacks visual/pre",
        ),
        (
            {"base_url": "https://a.org/", "licence": "MIT", "files": {"../x": GOOD}},
            "is no file of a model",
        ),
        *(
            (
                {"base_url": "https://a.org/", "licence": "MIT", "files": {VISUAL: entry}},
                "needs its",
            )
            for entry in (
                None,
                {"size": 1},
                {"size": 0, "sha256": "0" * 64},
                {"size": True, "sha256": "0" * 64},
                {"size": 1, "sha256": "F" * 64},
                {"size": 1, "sha256": "0" * 63},
            )
        ),
    ],
)
def test_invalid_manifest_is_refused(tmp_path: Path, content: Any, sentence: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(content))
    with pytest.raises(CommandError, match=sentence):
        run_command("toy", "--manifest", str(path), "--accept-licence")


def test_unknown_name_without_manifest_is_refused(data_dir: Path) -> None:
    with pytest.raises(CommandError, match="is not a known model"):
        run_command("toy", "--accept-licence")


def test_preprocessing_of_a_known_model_is_written(
    mirror: Mirror, manifest: Manifest, data_dir: Path
) -> None:
    known = layout.read_preprocessing(mirror.folder / layout.PREPROCESSING)
    files = {name: file for name, file in manifest.files.items() if name != layout.PREPROCESSING}
    model = fetch(Manifest(mirror.url, files, "MIT", known))
    assert layout.read_preprocessing(model.folder / layout.PREPROCESSING) == known
    assert mirror.ask(layout.PREPROCESSING) == []
    assert known.side == toys.SIDE
