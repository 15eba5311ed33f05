"""Reader of PyTorch's legacy files of weights, without PyTorch and without running their code.

A pickle can call any function. This reader knows only the names that a file of plain tensors needs,
and refuses all others.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MAGIC: Final = 0x1950A86A20F9469CFC6C
PROTOCOL: Final = 1001
_TYPES: Final = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}

Tensors = dict[str, NDArray[Any]]


class UnreadableWeightsError(Exception):
    """The file is not a legacy file of plain tensors."""


@dataclass(frozen=True, slots=True)
class _Storage:
    dtype: np.dtype[Any]
    key: str
    size: int  # elements


@dataclass(frozen=True, slots=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # elements


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *rest: Any
) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _TYPES:
            return _TYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is not part of a plain tensor")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _location, size, view = pid
        if kind != "storage" or view is not None or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError("only whole storages are known")
        return _Storage(dtype, str(key), int(size))


def read_tensors(content: bytes) -> Tensors:
    """Return the tensors of a file by name. Raises UnreadableWeightsError."""
    try:
        return _read(io.BytesIO(content))
    except UnreadableWeightsError:
        raise
    # A broken pickle raises many exception types.
    except Exception as error:
        raise UnreadableWeightsError(f"The weights cannot be read: {error}.") from error


def _read(file: io.BytesIO) -> Tensors:
    if _Unpickler(file).load() != MAGIC or _Unpickler(file).load() != PROTOCOL:
        raise UnreadableWeightsError("This is not a legacy file of PyTorch.")
    if not _Unpickler(file).load()["little_endian"]:
        raise UnreadableWeightsError("The weights are big-endian.")
    tensors = _Unpickler(file).load()
    keys = _Unpickler(file).load()
    types = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    storages = {key: _read_storage(file, types[key]) for key in keys}
    return {name: _view(tensor, storages[tensor.storage.key]) for name, tensor in tensors.items()}


def _read_storage(file: io.BytesIO, storage: _Storage) -> NDArray[Any]:
    """Read a number of elements and the elements."""
    size = int.from_bytes(file.read(8), "little")
    data = file.read(size * storage.dtype.itemsize)
    if size != storage.size or len(data) != size * storage.dtype.itemsize:
        raise UnreadableWeightsError("The file of weights is cut off.")
    return np.frombuffer(data, storage.dtype)


def _view(tensor: _Tensor, storage: NDArray[Any]) -> NDArray[Any]:
    """Return the elements of a tensor, whose order in the storage may be any."""
    shape, strides = tensor.shape, tensor.strides
    last = tensor.offset + sum(
        (length - 1) * stride for length, stride in zip(shape, strides, strict=True)
    )
    if min((tensor.offset, *strides, *shape)) < 0 or (all(shape) and last >= storage.size):
        raise UnreadableWeightsError("A tensor is larger than its storage.")
    itemsize = storage.dtype.itemsize
    return np.lib.stride_tricks.as_strided(
        storage[tensor.offset :], shape, [stride * itemsize for stride in strides], writeable=False
    ).copy()
