"""Weights alone, as one safetensors file that other libraries read too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from wengert.core.errors import StateError
from wengert.train import files, storage


def save_weights(model: Any, path: str | os.PathLike[str]) -> Path:
    """Write a model's parameters and buffers to a safetensors file, as one atomic step.

    The names are those of `model.state_dict()`, which are PyTorch's. Needs the extra `weights`.

    >>> import tempfile, wengert as wg
    >>> from wengert.train import load_weights, save_weights
    >>> model = wg.nn.Linear(2, 1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save_weights(model, folder + "/model.safetensors")
    ...     load_weights(wg.nn.Linear(2, 1), path)
    IncompatibleKeys(missing_keys=[], unexpected_keys=[])
    """
    target = Path(path)
    arrays: dict[str, storage.Array] = {}
    for name, value in model.state_dict().items():
        storage.encode(value, arrays, name)
    files.write_atomically(target, storage.pack(arrays, {"format": "wengert"}))
    return target


def load_weights(model: Any, path: str | os.PathLike[str], strict: bool = True) -> Any:
    """Load a safetensors file into a model. All is checked before anything is changed.

    Returns what `model.load_state_dict` returns: the missing and the unexpected names.

    Raises
    ------
    StateError
        if the file is missing or damaged, or does not fit the model.
    """
    file = Path(path)
    if not file.is_file():
        raise StateError(
            "load_weights", "there is no such file", met=str(file), fix="check the path"
        )
    return model.load_state_dict(storage.unpack(file.read_bytes(), file), strict=strict)
