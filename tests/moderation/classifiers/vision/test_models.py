"""Installing image-text models: checks, consent, records, and what a damaged model does."""

from __future__ import annotations

import fcntl
import io
import json
import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from onnx import TensorProto
from PIL import Image

from moderation.classifiers.base import ClassifierError
from moderation.classifiers.onnx_model import CheckedFile, forget_sessions
from moderation.classifiers.picture import Picture
from moderation.classifiers.vision import installed, known_models, layout
from moderation.classifiers.vision.installed import InstalledModel
from moderation.classifiers.vision.known_models import KnownFile, KnownModel
from moderation.classifiers.vision.layout import VisionModelError
from moderation.classifiers.vision.prompts import PROMPTS, PromptSet
from moderation.classifiers.vision.tokenizer import Tokenizer
from moderation.services import vision_models
from moderation.services.vision_models import Consent
from tests.generation.imaging.pictures import encoded
from tests.moderation.classifiers.vision import toy as toys
from tests.moderation.classifiers.vision.conftest import CONSENT
from tests.moderation.classifiers.vision.toy import MEAN, STD, write_model

COLOURS = PromptSet(
    templates=("{}", "picture {}"),
    categories={"gambling": ("red",), "alcohol.use": ("green",)},
    look_alikes={},
    harmless=("blue",),
)


def run_command(*arguments: str) -> str:
    out = io.StringIO()
    call_command("model", *arguments, stdout=out)
    return out.getvalue()


def from_image(image: Image.Image) -> Picture:
    return Picture.from_content(encoded(image, "PNG"))


def know(monkeypatch: pytest.MonkeyPatch, folder: Path, **changes: Any) -> KnownModel:
    """Let the model in a folder be a known one."""
    files = layout.find_files(folder)
    model = KnownModel(
        name="known-toy",
        licence="MIT",
        licence_url="https://example.org/licence",
        base_url="https://example.org/",
        files={
            name: KnownFile(path.stat().st_size, vision_models._hash(path))
            for name, path in files.items()
        },
        preprocessing=layout.read_preprocessing(files[layout.PREPROCESSING]),
        **changes,
    )
    monkeypatch.setattr(known_models, "KNOWN_MODELS", {"known-toy": model})
    return model


# --- Add, list, remove ---


def test_model_is_added_listed_and_removed(data_dir: Path, tmp_path: Path) -> None:
    source = write_model(tmp_path / "toy")
    out = run_command("add", str(source), "--unknown", "--licence", "CC0", "--accept-licence")
    assert "Installed toy." in out
    assert "Warning" not in out

    record = json.loads((data_dir / "models/toy/model.json").read_text())
    assert (record["licence"], record["known"], record["dim"]) == ("CC0", "", 3)
    assert record["accepted_by"]
    assert record["accepted_at"].endswith("+00:00")
    by_name = {file["name"]: file for file in record["files"]}
    assert by_name["visual/model.onnx"]["size"] == (source / "visual/model.onnx").stat().st_size
    assert by_name["visual/model.onnx"]["sha256"] == vision_models._hash(
        source / "visual/model.onnx"
    )
    assert list(data_dir.glob("models/.*")) == []
    name, kind, licence, *_, use = run_command("list").strip().split("\t")
    assert (name, kind, licence, use) == ("toy", "unknown", "CC0", "in use")

    run_command("remove", "toy")
    assert list((data_dir / "models").iterdir()) == []
    assert run_command("list") == "No model is installed.\n"


def test_preprocessing_may_be_at_the_root(data_dir: Path, tmp_path: Path) -> None:
    source = write_model(tmp_path / "toy")
    (source / "visual/preprocess_cfg.json").rename(source / "preprocess_cfg.json")
    model = vision_models.add(source, consent=CONSENT)
    assert (model.folder / "visual/preprocess_cfg.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "repeat the command with --unknown"),
        (("--unknown",), "repeat the command with --accept-licence"),
        (("--unknown", "--accept-licence", "--name", "../x"), "is not a name for a model"),
        (("--unknown", "--accept-licence", "--name", ".x"), "is not a name for a model"),
    ],
)
def test_model_without_consent_or_name_is_refused(
    data_dir: Path, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    source = write_model(tmp_path / "toy")
    with pytest.raises(CommandError, match=sentence):
        run_command("add", str(source), *arguments)
    assert not list(data_dir.rglob("*.onnx"))


def test_installed_name_is_refused(toy: InstalledModel, tmp_path: Path) -> None:
    with pytest.raises(VisionModelError, match="installed already"):
        vision_models.add(tmp_path / "toy", consent=CONSENT)


def test_removing_an_unknown_name_is_refused(toy: InstalledModel) -> None:
    for name in ("other", "..", ".", ""):
        with pytest.raises(CommandError, match="no installed model"):
            run_command("remove", name)
    assert installed.list_names() == ["toy"]


def test_interrupted_work_is_removed(toy: InstalledModel) -> None:
    models = toy.folder.parent
    other = ".toy-2.download"
    for name in (".toy.download", f".toy-{'0' * 32}.part", other):
        (models / name / "visual").mkdir(parents=True)
    run_command("remove", "toy")
    assert [path.name for path in models.iterdir()] == [other]
    run_command("remove", "toy-2")
    assert list(models.iterdir()) == []


@pytest.mark.parametrize("missing", ["visual/model.onnx", "textual/tokenizer.json"])
def test_incomplete_folder_is_refused(data_dir: Path, tmp_path: Path, missing: str) -> None:
    source = write_model(tmp_path / "toy")
    (source / missing).unlink()
    with pytest.raises(VisionModelError, match=f"lacks {missing}"):
        vision_models.add(source, consent=CONSENT)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"visual": b"not a network"}, "visual/model.onnx failed"),
        ({"visual": toys.build_visual(side=64)}, r"instead of \[1, 3, 32, 32\]"),
        ({"visual": toys.build_visual(outputs=5)}, "do not belong together"),
        ({"visual": toys.build_visual(gain=0)}, "without a direction"),
        ({"visual": toys.build_visual(gain=float("nan"))}, "without a direction"),
        ({"visual": toys.build_visual(kind=TensorProto.FLOAT16)}, "32-bit floats"),
        ({"textual": toys.build_visual()}, "instead of whole numbers"),
        ({"textual": toys.build_textual(words={"x": (1, 1, 1)})}, "textual/model.onnx failed"),
        ({"preprocessing": {"size": [32, 64]}}, "size must be one number"),
        ({"preprocessing": {"size": True}}, "size must be one number"),
        ({"preprocessing": {"mean": [123, 117, 104]}}, "mean must be three numbers"),
        ({"preprocessing": {"mean": [0.5]}}, "mean must be three numbers"),
        ({"preprocessing": {"std": [0.5, 0, 0.5]}}, "std must be above 0"),
        ({"preprocessing": {"interpolation": "random"}}, "bicubic or bilinear"),
        ({"preprocessing": {"mode": "BGR"}}, "mode must be RGB"),
    ],
)
def test_unusable_model_is_refused_and_leaves_nothing(
    data_dir: Path, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    source = write_model(tmp_path / "toy", **changes)
    with pytest.raises(VisionModelError, match=sentence):
        vision_models.add(source, consent=CONSENT)
    assert list((data_dir / "models").iterdir()) == []


def test_int64_text_tower_is_accepted(data_dir: Path, tmp_path: Path) -> None:
    source = write_model(tmp_path / "toy", textual=toys.build_textual(kind=TensorProto.INT64))
    assert vision_models.add(source, consent=CONSENT).dim == 3


def test_constant_text_tower_is_refused(data_dir: Path, tmp_path: Path) -> None:
    words = dict.fromkeys(toys.WORDS, (1, 1, 1))
    source = write_model(tmp_path / "toy", textual=toys.build_textual(words=words))
    with pytest.raises(VisionModelError, match="the same result for different inputs"):
        vision_models.add(source, consent=CONSENT)


def test_swapped_colours_give_a_warning(data_dir: Path, tmp_path: Path) -> None:
    words = {**toys.WORDS, "red": toys.WORDS["blue"], "blue": toys.WORDS["red"]}
    source = write_model(tmp_path / "toy", textual=toys.build_textual(words=words))
    lines: list[str] = []
    vision_models.add(source, consent=CONSENT, report=lines.append)
    assert any("red looks like blue, blue looks like red" in line for line in lines)


def test_full_disk_leaves_nothing(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    source = write_model(tmp_path / "toy")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(CommandError, match="No space left on device"):
        run_command("add", str(source), "--unknown", "--accept-licence")
    assert list((data_dir / "models").iterdir()) == []


# --- Known models ---


def test_known_model_needs_no_flag_and_keeps_its_licence(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_model(tmp_path / "toy")
    know(monkeypatch, source, tokens={"red": (3, 2)})
    consent = Consent("ann")
    with pytest.raises(VisionModelError, match=r"MIT, https://example\.org/licence"):
        vision_models.add(source, consent=consent)
    model = vision_models.add(source, consent=Consent("ann", accepts_licence=True))
    assert (model.name, model.known, model.licence) == ("known-toy", "known-toy", "MIT")
    assert model.accepted_by == "ann"


def test_changed_part_of_a_known_model_is_refused(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_model(tmp_path / "toy")
    know(monkeypatch, source)
    (source / "textual/model.onnx").write_bytes(toys.build_textual(kind=TensorProto.INT64))
    with pytest.raises(VisionModelError, match=r"except textual/model.onnx: damaged"):
        vision_models.add(source, consent=CONSENT)


def test_other_tokens_of_a_known_model_are_refused(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_model(tmp_path / "toy")
    know(monkeypatch, source, tokens={"red": (4, 2)})
    with pytest.raises(VisionModelError, match="“red” has other tokens"):
        vision_models.add(source, consent=CONSENT)


def test_listed_models_are_complete() -> None:
    for model in known_models.KNOWN_MODELS.values():
        assert set(layout.list_missing(model.files)) <= {layout.PREPROCESSING}
        assert model.base_url.startswith("https://")
        assert model.base_url.endswith("/")
        assert "/main/" not in model.base_url
        for file in model.files.values():
            assert len(bytes.fromhex(file.sha256)) == 32
            assert 0 < file.size < vision_models.FILE_MAX


# --- Inputs of the towers ---


def encode(model: InstalledModel, image: Image.Image) -> Any:
    return model.encode_picture(from_image(image))


def test_picture_arrives_as_normalised_rgb(toy: InstalledModel) -> None:
    """The toy returns the mean of its input, so channel order, mean and std show."""
    colour = (250, 100, 10)
    expected = (np.array(colour) / 255 - MEAN) / STD
    assert encode(toy, Image.new("RGB", (90, 60), colour)) == pytest.approx(expected, abs=1e-4)


def test_whole_picture_is_seen(toy: InstalledModel) -> None:
    """A border that a crop to the middle would hide changes the mean."""
    image = Image.new("RGB", (180, 90), (0, 0, 0))
    image.paste((255, 0, 0), (0, 0, 30, 90))
    share = 30 / 180
    assert encode(toy, image)[0] == pytest.approx((share - MEAN[0]) / STD[0], abs=0.02)


def test_texts_are_tokenised_and_normalised(toy: InstalledModel) -> None:
    vectors = toy.encode_texts(["red", "green picture", "blue blue"])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1], abs=1e-6)
    for row, word in zip(vectors, ("red", "green", "blue"), strict=True):
        wanted = np.array(toys.WORDS[word]) / np.sqrt(3)
        assert float(row @ wanted) > 0.99


def test_long_text_is_cut_and_short_text_is_padded(toy: InstalledModel) -> None:
    tokenizer = Tokenizer(toy.check_files(), length=toys.LENGTH, dtype="int32")
    long = tokenizer.encode("red " * 30)
    assert long.tolist() == [[3, 3, 3, 3, 3, 3, 3, 2]]
    short = tokenizer.encode("red")
    assert (short.tolist(), short.dtype) == ([[3, 2, 0, 0, 0, 0, 0, 0]], np.int32)
    assert tokenizer.count_tokens("red") == [3, 2]


def test_padding_token_is_that_of_the_configuration(data_dir: Path, tmp_path: Path) -> None:
    source = write_model(tmp_path / "toy")
    config = source / "textual/tokenizer_config.json"
    for value in ("[UNK]", {"content": "[UNK]"}):
        config.write_text(json.dumps({"pad_token": value}))
        files = layout.find_files(source)
        assert Tokenizer(files, length=4, dtype="int64").encode("red").tolist() == [[3, 2, 1, 1]]


def test_clip_tokenizer_is_built_from_vocabulary_and_merges(tmp_path: Path) -> None:
    """The rules of OpenCLIP: lower case, words and punctuation apart, end marks, merges."""
    tokens = ["r", "e", "d</w>", "re", "red</w>", "!</w>", "'s</w>", "'", "s</w>", "2</w>"]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nr e\nre d</w>\n' s</w>\n")
    files = {layout.VOCABULARY: tmp_path / "vocab.json", layout.MERGES: tmp_path / "merges.txt"}
    tokenizer = Tokenizer(files, length=12, dtype="int32")
    pieces = [tokens[number] for number in tokenizer.count_tokens("RED   red's 22!")]
    assert pieces == [
        "<|startoftext|>",
        *("red</w>", "red</w>", "'s</w>", "2</w>", "2</w>", "!</w>"),
        "<|endoftext|>",
    ]
    assert tokenizer.encode("red").shape == (1, 12)


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"model": {"type": "?"}}'])
def test_damaged_tokenizer_is_refused(data_dir: Path, tmp_path: Path, content: str) -> None:
    source = write_model(tmp_path / "toy")
    (source / "textual/tokenizer.json").write_text(content)
    with pytest.raises(VisionModelError, match="tokenizer cannot be read"):
        vision_models.add(source, consent=CONSENT)


# --- Vectors of prompts ---


def test_prompts_are_encoded_once_and_stored(
    toy: InstalledModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (toy.folder / f"texts-{PROMPTS.version[:12]}.npz").is_file()
    calls: list[list[str]] = []
    encode_texts = InstalledModel.encode_texts

    def count(self: InstalledModel, texts: list[str]) -> Any:
        calls.append(texts)
        return encode_texts(self, texts)

    monkeypatch.setattr(InstalledModel, "encode_texts", count)
    first = toy.encode_prompts(COLOURS)
    installed._encode_prompts.cache_clear()  # as in another process
    second = toy.encode_prompts(COLOURS)
    assert np.array_equal(first, second)
    assert first.shape == (3, 3)
    assert len(calls) == 1
    assert calls[0][:2] == ["red", "picture red"]


def test_other_prompts_have_another_version_and_file(toy: InstalledModel) -> None:
    changed = PromptSet(COLOURS.templates, COLOURS.categories, COLOURS.look_alikes, ("white",))
    assert changed.version != COLOURS.version
    toy.encode_prompts(COLOURS)
    before = set(toy.folder.glob("texts-*.npz"))
    toy.encode_prompts(changed)
    assert len(set(toy.folder.glob("texts-*.npz")) - before) == 1


def test_only_one_process_computes_vectors(toy: InstalledModel) -> None:
    lock = toy.folder / f"texts-{COLOURS.version[:12]}.lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ClassifierError, match="Another process is computing") as caught:
            toy.encode_prompts(COLOURS)
    assert caught.value.retry_after == installed.RETRY_AFTER
    assert toy.encode_prompts(COLOURS).shape == (3, 3)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 torn", b"\x93NUMPY"])
def test_damaged_vectors_are_computed_again(toy: InstalledModel, damage: bytes) -> None:
    expected = toy.encode_prompts(COLOURS)
    path = toy.folder / f"texts-{COLOURS.version[:12]}.npz"
    path.write_bytes(damage)
    installed._encode_prompts.cache_clear()
    assert np.array_equal(toy.encode_prompts(COLOURS), expected)
    assert path.read_bytes() != damage


def test_vectors_of_another_model_are_not_used(toy: InstalledModel) -> None:
    path = toy.folder / f"texts-{COLOURS.version[:12]}.npz"
    np.savez(path, vectors=np.ones((3, 3), np.float32), model=np.array("other"))
    installed._encode_prompts.cache_clear()
    assert not np.array_equal(toy.encode_prompts(COLOURS), np.ones((3, 3)))


def test_read_only_folder_still_gives_vectors(
    toy: InstalledModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: Any, **named: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", fail)
    installed._encode_prompts.cache_clear()
    assert toy.encode_prompts(COLOURS).shape == (3, 3)
    assert "were not stored" in caplog.text
    installed._encode_prompts.cache_clear()


# --- Damage, and the network ---


@pytest.mark.parametrize("damage", ["change", "delete"])
def test_damaged_model_is_refused_with_a_message(toy: InstalledModel, damage: str) -> None:
    path = toy.folder / "visual/model.onnx"
    if damage == "change":
        path.write_bytes(toys.build_visual(gain=2))
    else:
        path.unlink()
    forget_sessions()
    with pytest.raises(ClassifierError, match=r"visual/model.onnx of the model toy (has|cannot)"):
        encode(toy, Image.new("RGB", (40, 40)))


def change(path: Path) -> None:
    path.write_text(path.read_text() + " ")


def test_changed_tokenizer_is_refused(toy: InstalledModel) -> None:
    change(toy.folder / "textual/tokenizer.json")
    toy.encode_prompts(PROMPTS)  # their vectors are stored
    with pytest.raises(ClassifierError, match=r"tokenizer\.json of the model toy has changed"):
        toy.encode_texts(["red"])


def test_changed_preprocessing_is_refused(toy: InstalledModel) -> None:
    change(toy.folder / "visual/preprocess_cfg.json")
    installed._read_preprocessing.cache_clear()
    with pytest.raises(ClassifierError, match=r"preprocess_cfg\.json of the model toy has changed"):
        encode(toy, Image.new("RGB", (40, 40)))


@pytest.mark.parametrize(
    "record",
    ["", "[]", "{}", '{"files": [{"name": "/etc/passwd", "size": 1, "sha256": ""}]}'],
)
def test_damaged_record_is_refused_with_a_message(toy: InstalledModel, record: str) -> None:
    (toy.folder / "model.json").write_text(record)
    with pytest.raises(VisionModelError, match=r"model\.json"):
        installed.get("toy")
    assert "toy\t" in run_command("list")


def test_session_is_created_once(toy: InstalledModel, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []
    build = CheckedFile.build

    def count(self: CheckedFile) -> str:
        loads.append(self.name)
        return build(self)

    monkeypatch.setattr(CheckedFile, "build", count)
    forget_sessions()
    for _ in range(3):
        encode(toy, Image.new("RGB", (40, 40)))
    assert loads.count("visual/model.onnx of the model toy") == 1


def test_nothing_is_fetched_while_serving(
    toy: InstalledModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    forget_sessions()
    installed._encode_prompts.cache_clear()
    encode(toy, Image.new("RGB", (40, 40), (255, 0, 0)))
    toy.encode_texts(["red"])
    toy.encode_prompts(PROMPTS)
