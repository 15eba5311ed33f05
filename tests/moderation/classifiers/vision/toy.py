"""A tiny image-text model: the mean colour of a picture, and the colours named in a text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers

SIDE, LENGTH = 32, 8
MEAN, STD = [0.5, 0.4, 0.6], [0.2, 0.25, 0.3]
# Token to its vector. A text has the sum of its tokens; [EOS] keeps it from being 0.
WORDS = {
    "[PAD]": (0, 0, 0),
    "[UNK]": (0, 0, 0),
    "[EOS]": (0.01, 0.01, 0.01),
    "red": (1, -1, -1),
    "green": (-1, 1, -1),
    "blue": (-1, -1, 1),
    "black": (-1, -1, -1),
    "white": (1, 1, 1),
    "picture": (0, 0, 0),
}


def write_model(folder: Path, **changes: Any) -> Path:
    """Write the model and return its folder.

    Changes: ``visual`` and ``textual`` (bytes of a network), ``preprocessing`` (entries).
    """
    (folder / "visual").mkdir(parents=True)
    (folder / "textual").mkdir()
    (folder / "visual/model.onnx").write_bytes(changes.get("visual") or build_visual())
    (folder / "textual/model.onnx").write_bytes(changes.get("textual") or build_textual())
    config = {
        "size": [SIDE, SIDE],
        "mode": "RGB",
        "mean": MEAN,
        "std": STD,
        "interpolation": "bicubic",
        "resize_mode": "shortest",
        "fill_color": 0,
        **changes.get("preprocessing", {}),
    }
    (folder / "visual/preprocess_cfg.json").write_text(json.dumps(config))
    build_tokenizer().save(str(folder / "textual/tokenizer.json"))
    return folder


def build_visual(*, side: int = SIDE, outputs: int = 3, gain: float = 1.0, kind: int = 0) -> bytes:
    """Return [1, 3, side, side] → [1, outputs]: the mean of each channel, repeated."""
    kind = kind or TensorProto.FLOAT
    repeat = np.tile(np.eye(3), (1, -(-outputs // 3)))[:, :outputs] * gain
    kind_name = helper.tensor_dtype_to_np_dtype(kind)
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "repeat"], ["embedding"]),
    ]
    constants = [numpy_helper.from_array(repeat.astype(kind_name), "repeat")]
    return _build(
        nodes,
        helper.make_tensor_value_info("image", kind, [1, 3, side, side]),
        helper.make_tensor_value_info("embedding", kind, [1, outputs]),
        constants,
    )


def build_textual(*, words: dict[str, Any] | None = None, kind: int = 0) -> bytes:
    """Return [1, LENGTH] → [1, 3]: the sum of the vectors of the tokens."""
    table = np.array(list((words or WORDS).values()), np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "text"], ["each"]),
        helper.make_node("ReduceSum", ["each", "axes"], ["embedding"], keepdims=0),
    ]
    constants = [
        numpy_helper.from_array(table, "table"),
        numpy_helper.from_array(np.array([1], np.int64), "axes"),
    ]
    return _build(
        nodes,
        helper.make_tensor_value_info("text", kind or TensorProto.INT32, [1, LENGTH]),
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, table.shape[1]]),
        constants,
    )


def _build(nodes: list[Any], given: Any, result: Any, constants: list[Any]) -> bytes:
    graph = helper.make_graph(nodes, "toy", [given], [result], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def build_tokenizer() -> Tokenizer:
    from tokenizers.processors import TemplateProcessing

    ids = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="$A [EOS]", special_tokens=[("[EOS]", ids["[EOS]"])]
    )
    return tokenizer
