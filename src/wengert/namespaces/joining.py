"""Joining arrays along an axis, and splitting them; all differentiable."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from wengert.core.errors import ArgumentError, DtypeError, ShapeError
from wengert.core.op import cast_to
from wengert.core.rules import as_integer, no_such_axis, normalize_axis
from wengert.core.spec import describe
from wengert.core.tensor import Tensor, as_tensor
from wengert.namespaces.arguments import as_tuple
from wengert.namespaces.manipulation import atleast_1d, atleast_2d, atleast_3d, ravel, squeeze
from wengert.ops import pieces as _p
from wengert.ops.movement import reshape as _reshape
from wengert.ops.selection import promoted

__all__ = [
    "array_split",
    "chunk",
    "concat",
    "concatenate",
    "dstack",
    "hstack",
    "split",
    "stack",
    "unstack",
    "vstack",
]

# -- joining -----------------------------------------------------------------------------------


def listed(op: str, arrays: Any) -> list[Any]:
    """The arrays of a sequence, or the rows of an array, as a list."""
    try:
        return list(arrays)
    except TypeError:
        raise DtypeError(
            op, "takes a sequence of arrays", met=repr(arrays), fix="write them as a list: [a, b]"
        ) from None


def concat(arrays: Any, /, axis: int | None = 0, *, dtype: Any = None) -> Tensor:
    """The arrays put behind each other along an axis (flattened first if it is None).

    >>> import wengert as wg
    >>> wg.concat([wg.ones((1, 2)), wg.zeros((2, 2))]).shape
    (3, 2)
    """
    return concatenate(arrays, axis, dtype=dtype)


def concatenate(arrays: Any, axis: int | None = 0, *, dtype: Any = None) -> Tensor:
    """NumPy's name for `concat`."""
    arrays = listed("concat", arrays)
    if not arrays:
        raise ArgumentError("concat", "nothing to join", fix="pass at least one array")
    tensors = promoted(*arrays)
    if dtype is not None:
        tensors = [cast_to(t, dtype) for t in tensors]
    if axis is None:
        tensors, axis = [ravel(t) for t in tensors], 0
    if tensors[0].ndim == 0:
        raise ShapeError(
            "concat", "0-d arrays have no axis to join", met=describe(*tensors), fix="use wg.stack"
        )
    axis = normalize_axis("concat", axis, tensors[0].ndim)
    sizes = tuple([t.shape[axis] if t.ndim > axis else 0 for t in tensors])
    joined: Tensor = _p.concatenate(*tensors, axis=axis, sizes=sizes)
    return joined


def stack(arrays: Any, /, axis: int = 0) -> Tensor:
    """Arrays of one shape, joined along a new axis.

    >>> import wengert as wg
    >>> wg.stack([wg.zeros(3), wg.ones(3)], axis=-1).shape
    (3, 2)
    """
    arrays = listed("stack", arrays)
    tensors = promoted(*arrays) if arrays else []
    if not tensors or any(t.shape != tensors[0].shape for t in tensors):
        raise ShapeError(
            "stack",
            "takes one or more arrays of one shape",
            met=describe(*tensors) or "no array",
            fix="broadcast or pad them to one shape",
        )
    shape = tensors[0].shape
    axis = normalize_axis("stack", axis, len(shape) + 1)
    slab = (*shape[:axis], 1, *shape[axis:])
    slabs = [_reshape(t, shape=slab) for t in tensors]
    stacked: Tensor = _p.concatenate(*slabs, axis=axis, sizes=(1,) * len(slabs))
    return stacked


def hstack(arrays: Any) -> Tensor:
    """Joined along axis 1; one-dimensional arrays along axis 0.

    >>> import wengert as wg
    >>> wg.hstack([[1, 2], [3]])
    Tensor([1, 2, 3], dtype=int64)
    """
    tensors = [atleast_1d(a) for a in listed("hstack", arrays)]
    return concat(tensors, axis=0 if tensors and tensors[0].ndim == 1 else 1)


def vstack(arrays: Any) -> Tensor:
    """Joined along axis 0; one-dimensional arrays as rows.

    >>> import wengert as wg
    >>> wg.vstack([[1, 2], [3, 4]])
    Tensor([[1, 2], [3, 4]], dtype=int64)
    """
    return concat([atleast_2d(a) for a in listed("vstack", arrays)], axis=0)


def dstack(arrays: Any) -> Tensor:
    """Joined along axis 2.

    >>> import wengert as wg
    >>> wg.dstack([[1, 2], [3, 4]]).shape
    (1, 2, 2)
    """
    return concat([atleast_3d(a) for a in listed("dstack", arrays)], axis=2)


# -- splitting ---------------------------------------------------------------------------------


def _between(x: Tensor, axis: int, bounds: Sequence[int]) -> list[Tensor]:
    """The pieces of `x` between neighbouring bounds along an axis."""
    start, stop = [0] * x.ndim, list(x.shape)
    pieces = []
    for a, b in pairwise(bounds):
        start[axis], stop[axis] = a, max(a, b)
        pieces.append(_p.slice(x, start=tuple(start), stop=tuple(stop), step=(1,) * x.ndim))
    return pieces


def array_split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    """Pieces along an axis: a number of pieces (sizes differ by at most 1), or where to cut.

    >>> import wengert as wg
    >>> [p.tolist() for p in wg.array_split(wg.arange(5), 2)]
    [[0, 1, 2], [3, 4]]
    """
    x = as_tensor(x)
    axis = normalize_axis("split", axis, x.ndim)
    n = x.shape[axis]
    if isinstance(indices_or_sections, int):
        sections = indices_or_sections
        if sections < 1:
            raise ArgumentError(
                "split", "at least one piece is needed", met=str(sections), fix="pass 1 or more"
            )
        larger, size = n % sections, n // sections
        return _between(x, axis, [i * size + min(i, larger) for i in range(sections + 1)])
    cuts = [as_integer("split", "a cut", c) for c in as_tuple("split", indices_or_sections)]
    places = [min(max(c + n if c < 0 else c, 0), n) for c in cuts]
    return _between(x, axis, [0, *places, n])


def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    """As `array_split`, but a number of pieces must divide the axis.

    >>> import wengert as wg
    >>> [p.tolist() for p in wg.split(wg.arange(4), [1, 3])]
    [[0], [1, 2], [3]]
    """
    x = as_tensor(x)
    axis = normalize_axis("split", axis, x.ndim)
    pieces = indices_or_sections
    if isinstance(pieces, int) and pieces > 0 and x.shape[axis] % pieces:
        raise ShapeError(
            "split",
            "the axis cannot be split into equal pieces",
            met=f"{pieces} pieces of axis {axis} of {x.shape}",
            fix="use wg.array_split or wg.chunk",
        )
    return array_split(x, pieces, axis)


def chunk(x: Any, chunks: int, axis: int = 0) -> list[Tensor]:
    """At most `chunks` pieces of equal size along an axis; the last one may be smaller.

    >>> import wengert as wg
    >>> [p.tolist() for p in wg.chunk(wg.arange(5), 3)]
    [[0, 1], [2, 3], [4]]
    """
    x = as_tensor(x)
    axis = normalize_axis("chunk", axis, x.ndim)
    chunks = as_integer("chunk", "the number of pieces", chunks)
    if chunks < 1:
        raise ArgumentError(
            "chunk", "at least one piece is needed", met=str(chunks), fix="pass 1 or more"
        )
    n = x.shape[axis]
    size = max(1, -(-n // chunks))
    return _between(x, axis, [*range(0, n, size), n] if n else [0, 0])


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices of `x` along an axis, which they no longer have.

    >>> import wengert as wg
    >>> a, b = wg.unstack([[1, 2], [3, 4]])
    >>> b
    Tensor([3, 4], dtype=int64)
    """
    x = as_tensor(x)
    if x.ndim == 0:
        raise no_such_axis("unstack", axis, 0)
    axis = normalize_axis("unstack", axis, x.ndim)
    pieces = _between(x, axis, range(x.shape[axis] + 1))
    return tuple(squeeze(p, axis) for p in pieces)
