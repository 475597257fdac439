"""The IDX format of the MNIST family: a header, then the values of one array, optionally gzipped.

Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits", file formats.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from wengert.core.errors import StateError

Array = np.ndarray[Any, Any]

_CODES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | os.PathLike[str]) -> Array:
    """The array in an IDX file; names ending in `.gz` are unpacked.

    Raises
    ------
    StateError
        if the file is no IDX file, is cut off, is longer than its header says, or its gzip
        checksum does not fit; the message names the file.

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np
    >>> from wengert.data import read_idx, write_idx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder) / "a.gz"
    ...     write_idx(file, np.arange(6, dtype=np.uint8).reshape(2, 3))
    ...     read_idx(file).tolist()
    [[0, 1, 2], [3, 4, 5]]
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as problem:
        if isinstance(problem, FileNotFoundError):
            raise
        raise damaged(path, f"it cannot be unpacked: {problem}") from None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _CODES:
        raise damaged(path, f"it does not begin like one: {content[:4].hex(' ') or 'empty'}")
    dtype, ndim = np.dtype(_CODES[content[2]]), content[3]
    start = 4 + 4 * ndim
    if len(content) < start:
        raise damaged(path, f"the header is cut off after {len(content)} of {start} bytes")
    shape = struct.unpack(f">{ndim}I", content[4:start])
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        what = "cut off" if len(content) < expected else "too long"
        raise damaged(path, f"it is {what}: {len(content)} bytes, {expected} for shape {shape}")
    values = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return values.astype(dtype.newbyteorder("="))


def damaged(path: Path, why: str) -> StateError:
    """The error for a file that cannot be what it should be."""
    return StateError(
        "read_idx",
        "not a whole IDX file",
        met=f"{path}: {why}",
        cause="an interrupted download, or another kind of file under this name",
        fix="delete the file and fetch it again",
    )


def write_idx(path: str | os.PathLike[str], values: Array) -> None:
    """Write an array as an IDX file, gzipped where the name ends in `.gz`."""
    values = np.asarray(values)
    codes = {np.dtype(text).newbyteorder("="): code for code, text in _CODES.items()}
    dtype = values.dtype.newbyteorder("=")
    if dtype not in codes or values.ndim > 255:
        raise StateError(
            "write_idx",
            "IDX files hold uint8, int8, int16, int32, float32 or float64",
            met=f"{values.dtype}{list(values.shape)}",
            fix="cast the array first",
        )
    header = struct.pack(f">HBB{values.ndim}I", 0, codes[dtype], values.ndim, *values.shape)
    content = header + values.astype(dtype.newbyteorder(">")).tobytes()
    path = Path(path)
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
