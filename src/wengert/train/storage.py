"""State as files: arrays in the safetensors format, everything else as JSON. Nothing is executed
when state is read, and every number comes back bit by bit."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import MissingExtraError, StateError
from wengert.core.tensor import Tensor

Array = np.ndarray[Any, Any]

# The names of dtypes in the format, https://github.com/huggingface/safetensors.
_NAMES: dict[str, dtypes.DType] = {
    "BOOL": dtypes.bool,
    "U8": dtypes.uint8,
    "U16": dtypes.uint16,
    "U32": dtypes.uint32,
    "U64": dtypes.uint64,
    "I8": dtypes.int8,
    "I16": dtypes.int16,
    "I32": dtypes.int32,
    "I64": dtypes.int64,
    "F16": dtypes.float16,
    "BF16": dtypes.bfloat16,
    "F32": dtypes.float32,
    "F64": dtypes.float64,
}


def safetensors(module: str) -> Any:
    """A module of the package safetensors, or how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtraError(
            "checkpoint",
            "weights are stored through the package safetensors, which is not installed",
            fix="pip install 'wengert[weights]'",
        ) from None


def pack(arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> bytes:
    """Named arrays as the content of a safetensors file."""
    dense = {name: np.array(a, order="C") for name, a in arrays.items()}
    content: bytes = safetensors("safetensors.numpy").save(dense, dict(metadata or {}) or None)
    return content


def unpack(content: bytes, path: Path) -> dict[str, Array]:
    """The named arrays in the content of a safetensors file; they are read-only.

    Raises
    ------
    StateError
        if the content is no safetensors file, or cut off; the message names the file.
    """
    package = safetensors("safetensors")
    try:
        entries = package.deserialize(content)
    except package.SafetensorError as problem:
        raise StateError(
            "checkpoint",
            "not a whole safetensors file",
            met=f"{path}: {problem}",
            cause="a truncated or changed file, or one of another format",
            fix="use another checkpoint, or copy the file again",
        ) from None
    arrays = {}
    for name, entry in entries:
        if entry["dtype"] not in _NAMES:
            raise StateError(
                "checkpoint",
                f"{name} has a dtype that arrays cannot have",
                met=f"{entry['dtype']} in {path}",
                fix="convert the file to float32, float16 or bfloat16",
            )
        values = np.frombuffer(bytes(entry["data"]), _NAMES[entry["dtype"]])
        arrays[name] = values.reshape(entry["shape"])
    return arrays


# -- trees as JSON ------------------------------------------------------------------------------
# Plain JSON, but for what JSON cannot say, which becomes an object with one key that begins with $.


def encode(tree: Any, arrays: dict[str, Array], path: str = "") -> Any:
    """A tree of dicts, lists, tuples, numbers, strings and arrays as JSON; the arrays are put into
    `arrays` under their paths."""
    if isinstance(tree, (Tensor, np.ndarray, np.generic)):
        values = tree._values("checkpoint") if isinstance(tree, Tensor) else np.asarray(tree)
        dtypes.as_dtype(values.dtype)
        arrays[path] = values
        return {"$tensor": path}
    if isinstance(tree, float) and not math.isfinite(tree):
        return {"$float": str(tree)}
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return tree
    if isinstance(tree, Mapping):
        items = [(k, encode(v, arrays, _join(path, k))) for k, v in tree.items()]
        if all(isinstance(k, str) and not k.startswith("$") for k in tree):
            return dict(items)
        if all(isinstance(k, (str, int)) for k in tree):
            return {"$items": [list(item) for item in items]}
    if isinstance(tree, (list, tuple)):
        parts = [encode(v, arrays, _join(path, i)) for i, v in enumerate(tree)]
        return parts if isinstance(tree, list) else {"$tuple": parts}
    raise StateError(
        "checkpoint",
        f"the state holds something that cannot be stored, at {path or 'its top'}",
        met=f"a {type(tree).__name__}" + (" with such keys" if isinstance(tree, Mapping) else ""),
        fix="store numbers, strings, arrays, and lists and dicts (with names as keys) of them",
    )


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def decode(tree: Any, arrays: Mapping[str, Array]) -> Any:
    """The tree that `encode` was given; arrays come back as tensors."""
    if isinstance(tree, list):
        return [decode(v, arrays) for v in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) == 1:
        ((key, value),) = tree.items()
        if key == "$tensor":
            return Tensor(arrays[value])
        if key == "$float":
            return float(value)
        if key == "$tuple":
            return tuple(decode(v, arrays) for v in value)
        if key == "$items":
            return {k: decode(v, arrays) for k, v in value}
    return {k: decode(v, arrays) for k, v in tree.items()}
