"""Products of arrays: matmul, tensordot, vecdot and their relatives.

All of them are one op, `contract`. What stands here works out the labels of its axes, and says in
the user's terms what does not fit. `einsum` has a file of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from wengert.core.dtypes import promote
from wengert.core.errors import ArgumentError, ShapeError
from wengert.core.op import cast_to
from wengert.core.rules import as_integer, broadcast, normalize_axis
from wengert.core.spec import Shape
from wengert.core.tensor import Tensor, as_tensor
from wengert.namespaces.arguments import normalize_axes
from wengert.namespaces.einstein import einsum
from wengert.ops import contract as _ops
from wengert.ops.contract import MATMUL, Labels, Subs, contract
from wengert.ops.movement import permute, reshape
from wengert.ops.pieces import concatenate
from wengert.ops.pieces import slice as _slice

__all__ = [
    "bmm",
    "cross",
    "diag",
    "diagonal",
    "dot",
    "einsum",
    "inner",
    "kron",
    "matmul",
    "matrix_transpose",
    "matvec",
    "mm",
    "mv",
    "outer",
    "tensordot",
    "vecdot",
    "vecmat",
]


def pair(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Two operands as tensors of one dtype."""
    if not isinstance(x, Tensor):
        x = as_tensor(x, y if isinstance(y, Tensor) else None)
    if not isinstance(y, Tensor):
        y = as_tensor(y, x)
    if x.dtype is not y.dtype:
        dtype = promote(x.dtype, y.dtype)
        x, y = cast_to(x, dtype), cast_to(y, dtype)
    return x, y


# -- products over stacks ----------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _stack_plan(
    op: str, x: Shape, y: Shape, core_x: Labels, core_y: Labels, core_out: Labels
) -> tuple[Shape, Shape, Subs]:
    """Shapes without the axes that broadcast, and the labels, of a product of stacks."""
    lead_x, lead_y = x[: len(x) - len(core_x)], y[: len(y) - len(core_y)]
    lead = broadcast(op, lead_x, lead_y)
    labels = tuple(range(10, 10 + len(lead)))  # behind those of the core axes

    def trimmed(own: Shape, core: Shape, core_labels: Labels) -> tuple[Shape, Labels]:
        first = len(lead) - len(own)
        kept = [(n, a) for n, a, m in zip(own, labels[first:], lead[first:], strict=True) if n == m]
        return (*(n for n, _ in kept), *core), (*(a for _, a in kept), *core_labels)

    x_shape, ix = trimmed(lead_x, x[len(lead_x) :], core_x)
    y_shape, iy = trimmed(lead_y, y[len(lead_y) :], core_y)
    return x_shape, y_shape, (ix, iy, (*labels, *core_out))


def stacked(
    op: str, x: Tensor, y: Tensor, core_x: Labels, core_y: Labels, core_out: Labels
) -> Tensor:
    """Contract the trailing axes as labelled; the axes before them broadcast."""
    x_shape, y_shape, subs = _stack_plan(op, x.shape, y.shape, core_x, core_y, core_out)
    if x_shape != x.shape:
        x = reshape(x, shape=x_shape)
    if y_shape != y.shape:
        y = reshape(y, shape=y_shape)
    out: Tensor = contract(x, y, subs=subs)
    return out


def _inner_sizes_differ(op: str, x: Tensor, y: Tensor, x_axis: int, y_axis: int) -> ShapeError:
    cause = "one operand is transposed, or a layer was built for another number of features"
    fix = "compare the two sizes; x.mT swaps the last two axes"
    if x.ndim >= 2 and y.ndim >= 2:
        if x.shape[-1] == y.shape[-1]:
            cause, fix = "the second operand needs a transpose", "write x @ y.mT"
        elif x.shape[-2] == y.shape[-2]:
            cause, fix = "the first operand needs a transpose", "write x.mT @ y"
    return ShapeError(
        op,
        "the inner sizes differ",
        met=f"{x.shape} and {y.shape}: {x.shape[x_axis]} against {y.shape[y_axis]}",
        cause=cause,
        fix=fix,
    )


def _no_scalars(op: str, x: Tensor, y: Tensor) -> None:
    if x.ndim == 0 or y.ndim == 0:
        raise ShapeError(
            op,
            "takes arrays of one axis or more",
            met=f"{x.shape} and {y.shape}",
            cause="a scalar factor",
            fix="multiply by a scalar with x * y",
        )


def matmul(x1: Any, x2: Any, /) -> Tensor:
    """Matrix product `x1 @ x2`: out[…, i, j] = Σₖ x1[…, i, k] · x2[…, k, j].

    Axes before the last two are stacks and broadcast. A 1-d operand is a row on the left and a
    column on the right, and its axis is dropped from the result.

    >>> import wengert as wg
    >>> wg.matmul(wg.asarray([[1.0, 2.0], [3.0, 4.0]]), wg.asarray([1.0, 1.0]))
    Tensor([3., 7.], dtype=float32)
    """
    x, y = pair(x1, x2)
    a, b = x.shape, y.shape
    if len(a) == 2 and len(b) == 2:
        if a[1] != b[0]:
            raise _inner_sizes_differ("matmul", x, y, -1, 0)
        out: Tensor = contract(x, y, subs=MATMUL)
        return out
    _no_scalars("matmul", x, y)
    y_axis = -2 if len(b) > 1 else -1
    if a[-1] != b[y_axis]:
        raise _inner_sizes_differ("matmul", x, y, -1, y_axis)
    core_x = (0, 1) if len(a) > 1 else (1,)
    core_y = (1, 2) if len(b) > 1 else (1,)
    core_out = tuple(c for c in (*core_x, *core_y) if c != 1)
    return stacked("matmul", x, y, core_x, core_y, core_out)


def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """Dot products of vectors along an axis: Σₖ x1[…, k] · x2[…, k]; all other axes broadcast.

    >>> import wengert as wg
    >>> wg.vecdot(wg.asarray([[1.0, 2.0], [3.0, 4.0]]), wg.asarray([1.0, 1.0]))
    Tensor([3., 7.], dtype=float32)
    """
    x, y = pair(x1, x2)
    _no_scalars("vecdot", x, y)
    x, y = _last("vecdot", x, axis), _last("vecdot", y, axis)
    if x.shape[-1] != y.shape[-1]:
        raise ShapeError(
            "vecdot",
            "the vectors have different lengths",
            met=f"{x.shape[-1]} and {y.shape[-1]} along axis {axis}",
            fix="choose the axis along which both have the same size",
        )
    return stacked("vecdot", x, y, (0,), (0,), ())


def _last(op: str, x: Tensor, axis: int) -> Tensor:
    """`x` with one axis moved to the end."""
    axis = normalize_axis(op, axis, x.ndim)
    if axis == x.ndim - 1:
        return x
    moved: Tensor = permute(x, axes=(*(a for a in range(x.ndim) if a != axis), axis))
    return moved


def matvec(x1: Any, x2: Any, /) -> Tensor:
    """Matrices times vectors: out[…, i] = Σₖ x1[…, i, k] · x2[…, k]; leading axes broadcast.

    >>> import wengert as wg
    >>> wg.matvec(wg.ones((5, 2, 3)), wg.ones((5, 3))).shape
    (5, 2)
    """
    x, y = pair(x1, x2)
    _ranks("matvec", x, y, 2, 1)
    if x.shape[-1] != y.shape[-1]:
        raise _inner_sizes_differ("matvec", x, y, -1, -1)
    return stacked("matvec", x, y, (0, 1), (1,), (0,))


def vecmat(x1: Any, x2: Any, /) -> Tensor:
    """Vectors times matrices: out[…, j] = Σₖ x1[…, k] · x2[…, k, j]; leading axes broadcast.

    >>> import wengert as wg
    >>> wg.vecmat(wg.ones((5, 3)), wg.ones((3, 2))).shape
    (5, 2)
    """
    x, y = pair(x1, x2)
    _ranks("vecmat", x, y, 1, 2)
    if x.shape[-1] != y.shape[-2]:
        raise _inner_sizes_differ("vecmat", x, y, -1, -2)
    return stacked("vecmat", x, y, (1,), (1, 2), (2,))


def _ranks(op: str, x: Tensor, y: Tensor, x_min: int, y_min: int, exact: bool = False) -> None:
    fits = (x.ndim == x_min and y.ndim == y_min) if exact else (x.ndim >= x_min and y.ndim >= y_min)
    if not fits:
        raise ShapeError(
            op,
            f"takes arrays of {x_min} and {y_min} axes" + ("" if exact else " or more"),
            met=f"{x.shape} and {y.shape}",
            fix="use wg.matmul, which takes any ranks",
        )


def mm(input: Any, mat2: Any) -> Tensor:
    """`matmul` of two matrices, and of nothing else.

    >>> import wengert as wg
    >>> wg.mm(wg.ones((2, 3)), wg.ones((3, 4))).shape
    (2, 4)
    """
    x, y = pair(input, mat2)
    _ranks("mm", x, y, 2, 2, exact=True)
    return matmul(x, y)


def mv(input: Any, vec: Any) -> Tensor:
    """`matmul` of a matrix and a vector, and of nothing else.

    >>> import wengert as wg
    >>> wg.mv(wg.ones((2, 3)), wg.ones(3))
    Tensor([3., 3.], dtype=float32)
    """
    x, y = pair(input, vec)
    _ranks("mv", x, y, 2, 1, exact=True)
    return matmul(x, y)


def bmm(input: Any, mat2: Any) -> Tensor:
    """`matmul` of two stacks of matrices of equal length, without broadcasting.

    >>> import wengert as wg
    >>> wg.bmm(wg.ones((5, 2, 3)), wg.ones((5, 3, 4))).shape
    (5, 2, 4)
    """
    x, y = pair(input, mat2)
    _ranks("bmm", x, y, 3, 3, exact=True)
    if x.shape[0] != y.shape[0]:
        raise ShapeError(
            "bmm",
            "the stacks have different lengths",
            met=f"{x.shape} and {y.shape}",
            fix="use wg.matmul, which broadcasts",
        )
    return matmul(x, y)


# -- products over chosen axes -----------------------------------------------------------------


def tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Tensor:
    """Sum of products over pairs of axes.

    `axes` is a pair of sequences (axes of x1, axes of x2), or a number n: the last n axes of x1
    with the first n of x2. The result has the other axes of x1, then those of x2.

    >>> import wengert as wg
    >>> wg.tensordot(wg.ones((2, 3, 4)), wg.ones((4, 3, 5)), axes=((1, 2), (1, 0))).shape
    (2, 5)
    """
    x, y = pair(x1, x2)
    x_axes, y_axes = _tensordot_axes(x, y, axes)
    ix = list(range(x.ndim))
    iy = list(range(x.ndim, x.ndim + y.ndim))
    for a, b in zip(x_axes, y_axes, strict=True):
        if x.shape[a] != y.shape[b]:
            raise ShapeError(
                "tensordot",
                "two axes that are summed together have different sizes",
                met=f"axis {a} of {x.shape} and axis {b} of {y.shape}",
                cause="the order of axes differs between the operands",
                fix="name the axes in pairs: axes=((…), (…))",
            )
        iy[b] = ix[a]
    summed = {ix[a] for a in x_axes}
    io = [a for a in (*ix, *iy) if a not in summed]
    out: Tensor = contract(x, y, subs=(tuple(ix), tuple(iy), tuple(io)))
    return out


def _tensordot_axes(x: Tensor, y: Tensor, axes: Any) -> tuple[list[int], list[int]]:
    if isinstance(axes, int):
        if not 0 <= axes <= min(x.ndim, y.ndim):
            raise ArgumentError(
                "tensordot",
                "both operands must have as many axes as are summed",
                met=f"axes={axes} for {x.shape} and {y.shape}",
                fix="pass a number from 0 to the smaller rank",
            )
        return list(range(x.ndim - axes, x.ndim)), list(range(axes))
    if not isinstance(axes, (tuple, list)) or len(axes) != 2:
        raise ArgumentError(
            "tensordot",
            "axes must be a number, or a pair of sequences",
            met=f"axes={axes!r}",
            fix="write axes=2, or axes=((0, 1), (1, 0))",
        )
    first, second = (_sequence(a) for a in axes)
    a = [normalize_axis("tensordot", i, x.ndim) for i in first]
    b = [normalize_axis("tensordot", i, y.ndim) for i in second]
    if len(a) != len(b) or len(set(a)) != len(a) or len(set(b)) != len(b):
        raise ArgumentError(
            "tensordot",
            "axes must pair different axes of x1 with different axes of x2",
            met=f"axes={axes}",
            fix="give two sequences of the same length without repeats",
        )
    return a, b


def _sequence(value: int | Sequence[int]) -> Sequence[int]:
    return (value,) if isinstance(value, int) else value


def dot(a: Any, b: Any) -> Tensor:
    """NumPy's `dot`: the sum over the last axis of `a` and the last but one of `b` (its only one,
    if `b` is 1-d). With a scalar it multiplies. For stacks of matrices use `matmul`.

    >>> import wengert as wg
    >>> float(wg.dot(wg.asarray([1.0, 2.0]), wg.asarray([3.0, 4.0])))
    11.0
    """
    x, y = pair(a, b)
    if x.ndim == 0 or y.ndim == 0:
        return tensordot(x, y, axes=0)
    y_axis = max(y.ndim - 2, 0)
    if x.shape[-1] != y.shape[y_axis]:
        raise _inner_sizes_differ("dot", x, y, -1, y_axis)
    return tensordot(x, y, axes=((x.ndim - 1,), (y_axis,)))


def inner(a: Any, b: Any) -> Tensor:
    """Sum of products over the last axes of both. With a scalar it multiplies.

    >>> import wengert as wg
    >>> wg.inner(wg.ones((2, 3)), wg.ones((4, 3))).shape
    (2, 4)
    """
    x, y = pair(a, b)
    if x.ndim == 0 or y.ndim == 0:
        return tensordot(x, y, axes=0)
    if x.shape[-1] != y.shape[-1]:
        raise ShapeError(
            "inner",
            "the last axes have different sizes",
            met=f"{x.shape} and {y.shape}",
            fix="use wg.matmul for a matrix product",
        )
    return tensordot(x, y, axes=((-1,), (-1,)))


def outer(x1: Any, x2: Any, /) -> Tensor:
    """All products: out[i, j] = x1[i] · x2[j]. Operands of more axes are flattened.

    >>> import wengert as wg
    >>> wg.outer(wg.asarray([1, 2]), wg.asarray([3, 4]))
    Tensor([[3, 4],
            [6, 8]], dtype=int64)
    """
    x, y = pair(x1, x2)
    x = x if x.ndim == 1 else reshape(x, shape=(x.size,))
    y = y if y.ndim == 1 else reshape(y, shape=(y.size,))
    return tensordot(x, y, axes=0)


def kron(a: Any, b: Any) -> Tensor:
    """Kronecker product: blocks a[i, j] · b.

    >>> import wengert as wg
    >>> wg.kron(wg.asarray([1, 10]), wg.asarray([1, 2]))
    Tensor([ 1,  2, 10, 20], dtype=int64)
    """
    x, y = pair(a, b)
    width = max(x.ndim, y.ndim)
    x = reshape(x, shape=(1,) * (width - x.ndim) + x.shape)
    y = reshape(y, shape=(1,) * (width - y.ndim) + y.shape)
    ix, iy = tuple(range(width)), tuple(range(width, 2 * width))
    blocks = contract(x, y, subs=(ix, iy, tuple(i for both in zip(ix, iy) for i in both)))
    out: Tensor = reshape(blocks, shape=tuple(m * n for m, n in zip(x.shape, y.shape)))
    return out


def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """Cross product of vectors with three entries along `axis`; all other axes broadcast.

    >>> import wengert as wg
    >>> wg.cross(wg.asarray([1, 0, 0]), wg.asarray([0, 1, 0]))
    Tensor([0, 0, 1], dtype=int64)
    """
    x, y = pair(x1, x2)
    _no_scalars("cross", x, y)
    ndim = max(x.ndim, y.ndim)
    place = normalize_axis("cross", axis, ndim)
    x, y = _last("cross", x, axis), _last("cross", y, axis)
    if x.shape[-1] != 3 or y.shape[-1] != 3:
        raise ShapeError(
            "cross",
            "both operands must have three entries along the axis",
            met=f"{x.shape[-1]} and {y.shape[-1]} entries along axis {axis}",
            cause="vectors of two entries have no cross product; another axis holds the entries",
            fix="append a zero to plane vectors, or choose the axis",
        )
    out = _turned(x, 1) * _turned(y, 2) - _turned(x, 2) * _turned(y, 1)
    if place == ndim - 1:
        return out
    order = list(range(ndim - 1))
    order.insert(place, ndim - 1)
    moved: Tensor = permute(out, axes=tuple(order))
    return moved


def _turned(x: Tensor, by: int) -> Tensor:
    """`x` with the last axis rotated to the left."""
    n = x.shape[-1]
    lead, ones = x.shape[:-1], (1,) * x.ndim
    zeros = (0,) * len(lead)
    head = _slice(x, start=(*zeros, 0), stop=(*lead, by), step=ones)
    tail = _slice(x, start=(*zeros, by), stop=(*lead, n), step=ones)
    out: Tensor = concatenate(tail, head, axis=x.ndim - 1, sizes=(n - by, by))
    return out


# -- matrices ----------------------------------------------------------------------------------


def matrix_transpose(x: Any, /) -> Tensor:
    """The last two axes swapped.

    >>> import wengert as wg
    >>> wg.matrix_transpose(wg.ones((5, 2, 3))).shape
    (5, 3, 2)
    """
    x = as_tensor(x)
    n = x.ndim
    if n < 2:
        raise ShapeError(
            "matrix_transpose",
            "takes a matrix or a stack of matrices",
            met=f"{x.shape}",
            cause="a 1-d array has no row or column orientation",
            fix="make a column with x[:, None], a row with x[None, :]",
        )
    out: Tensor = permute(x, axes=(*range(n - 2), n - 1, n - 2))
    return out


def diagonal(x: Any, /, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The entries x[…, i, i + offset] over two axes (NumPy's order: the first two), as a last axis.

    `wg.linalg.diagonal` takes the last two axes.

    >>> import wengert as wg
    >>> wg.diagonal(wg.asarray([[1, 2], [3, 4]]))
    Tensor([1, 4], dtype=int64)
    """
    x = as_tensor(x)
    first, second = normalize_axes("diagonal", (axis1, axis2), x.ndim)
    offset = as_integer("diagonal", "the offset", offset)
    rest = tuple(a for a in range(x.ndim) if a not in (first, second))
    out: Tensor = _ops.diagonal(permute(x, axes=(*rest, first, second)), offset=offset)
    return out


def diag(v: Any, k: int = 0) -> Tensor:
    """The diagonal number `k` of a matrix; for a vector, the matrix with it on that diagonal.

    >>> import wengert as wg
    >>> wg.diag(wg.asarray([1, 2]))
    Tensor([[1, 0],
            [0, 2]], dtype=int64)
    """
    x = as_tensor(v)
    if x.ndim not in (1, 2):
        raise ShapeError(
            "diag",
            "takes a vector or a matrix",
            met=f"{x.shape}",
            fix="for stacks use wg.linalg.diagonal",
        )
    if x.ndim == 2:
        return diagonal(x, k)
    k = as_integer("diag", "k", k)
    n = x.shape[0] + abs(k)
    out: Tensor = _ops.diagonal_embed(x, offset=k, shape=(n, n))
    return out
