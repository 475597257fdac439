"""Indexing: `x[key]` with NumPy's semantics, functional updates `x.at[key]`, `take` and its kin.

A key is worked out once into a `Plan`: a slice (with positive steps), axes to flip, a reshape that
drops, inserts and merges axes, and, where the key has arrays, one gather along one merged axis.
Reading runs the plan forward; writing runs it backward.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.core.errors import DtypeError, ShapeError
from wengert.core.op import cast_to
from wengert.core.rules import broadcast, normalize_axis
from wengert.core.spec import Shape, describe
from wengert.core.tensor import Tensor, as_tensor
from wengert.namespaces.keys import Plan, as_index, mask_of, plan_for
from wengert.ops import index as _i
from wengert.ops import scatter as _s
from wengert.ops.elementwise import add, div, mul, neg, pow
from wengert.ops.movement import broadcast_to, reshape
from wengert.ops.pieces import concatenate
from wengert.ops.pieces import slice as take_slice
from wengert.ops.selection import maximum, minimum, where
from wengert.ops.update import scatter

__all__ = ["At", "getitem", "setitem", "take", "take_along_axis"]

_PLAIN = {int, slice, type(None), type(Ellipsis)}


def getitem(x: Tensor, key: Any) -> Tensor:
    """`x[key]`, with NumPy's rules for integers, slices, None, `...`, masks and index arrays.

    Differentiable in `x`. An index outside the array raises a BoundsError. A boolean mask selects
    a number of elements that depends on values, so inside a trace it must be a constant.

    >>> import wengert as wg
    >>> wg.arange(5)[[0, -1]]
    Tensor([0, 4], dtype=int64)
    """
    if x._node is None:  # nothing to record: NumPy's own view
        kind = key.__class__
        if kind in _PLAIN or (kind is tuple and _PLAIN.issuperset(map(type, key))):
            try:
                found = x._data[key]
            except (IndexError, TypeError, ValueError):
                pass  # the plan below says precisely what is wrong
            else:
                return Tensor(found if found.__class__ is np.ndarray else np.asarray(found))
    elif key.__class__ is int and x.ndim and -x.shape[0] <= key < x.shape[0]:
        return _row(x, key % x.shape[0])
    return plan_for(x, key).read(x)


def _row(x: Tensor, i: int) -> Tensor:
    """`x[i]`, what loops over a tensor do: without the work of a general plan."""
    rest = x.shape[1:]
    start, stop = (i, *(0,) * len(rest)), (i + 1, *rest)
    row: Tensor = reshape(take_slice(x, start=start, stop=stop, step=(1,) * x.ndim), shape=rest)
    return row


def setitem(x: Tensor, key: Any, value: Any) -> Tensor:
    """A tensor like `x` with `value` (broadcast, cast to x's dtype) at `key`; x stays as it is.

    `x[key] = value` rebinds the handle `x` to this. Differentiable in `x` and `value`. Where the
    key names an element several times, the last value wins, and it alone gets a gradient.

    >>> import wengert as wg
    >>> wg.setitem(wg.zeros(3), 1, 5.0)
    Tensor([0., 5., 0.], dtype=float32)
    """
    value = cast_to(as_tensor(value, x), x.dtype)
    mask = mask_of(key)
    if mask is not None and mask.size and value.ndim <= x.ndim - mask.ndim:
        return _set_masked(x, mask, value)
    return _update(x, plan_for(x, key), "set", value)


def _set_masked(x: Tensor, mask: Tensor, value: Tensor) -> Tensor:
    """`x[mask] = value` for a value that does not depend on how many elements are chosen."""
    if mask.shape != x.shape[: mask.ndim]:
        plan_for(x, Tensor(np.zeros(mask.shape, bool)))  # raises
    chosen = reshape(mask, shape=mask.shape + (1,) * (x.ndim - mask.ndim))
    broadcast("setitem", value.shape, x.shape[mask.ndim :])
    value = _fitted(value, x.shape[mask.ndim :])
    found: Tensor = where(chosen, value, x)
    return found


def _fitted(value: Tensor, shape: Shape) -> Tensor:
    """The value of an assignment, broadcast to the shape that was indexed."""
    extra = value.ndim - len(shape)
    if extra > 0 and value.shape[:extra] == (1,) * extra:
        value = reshape(value, shape=value.shape[extra:])
    fits = len(shape) >= value.ndim and all(
        a in (1, b) for a, b in zip(value.shape[::-1], shape[::-1], strict=False)
    )
    if not fits:
        raise ShapeError(
            "setitem",
            "the value cannot be broadcast to what the key selects",
            met=f"a value of shape {value.shape} for {shape}",
            fix="give the value that shape, or one that broadcasts to it",
        )
    return value if value.shape == shape else broadcast_to(value, shape=shape)


def _scatter_add(x: Tensor, index: Tensor, u: Tensor, axis: int) -> Tensor:
    sums = _i.scatter_add(u, index, axis=axis, size=x.shape[axis])
    found: Tensor = add(x, sums)
    return found


def _scatter_product(op: Any) -> Any:
    def update(x: Tensor, index: Tensor, u: Tensor, axis: int) -> Tensor:
        found: Tensor = op(x, _s.scatter_prod(u, index, axis=axis, size=x.shape[axis]))
        return found

    return update


def _scatter_extreme(op: Any) -> Any:
    """The elements take part as one more entry each, so that ties are shared among all."""

    def update(x: Tensor, index: Tensor, u: Tensor, axis: int) -> Tensor:
        n, m = x.shape[axis], index.size
        places = _i.ravel_index(reshape(index, shape=(m,)), shape=(n,), axes=(axis,))
        u = reshape(u, shape=(*x.shape[:axis], m, *x.shape[axis + 1 :]))
        entries = concatenate(x, u, axis=axis, sizes=(n, m))
        index = concatenate(Tensor(np.arange(n)), places, axis=0, sizes=(n, m))
        found: Tensor = op(entries, index, axis=axis, size=n)
        return found

    return update


# For each kind of update: of distinct elements, and by index arrays that may repeat.
_UPDATES: dict[str, tuple[Any, Any]] = {
    "set": (lambda old, new: new, scatter),
    "add": (add, _scatter_add),
    "multiply": (mul, _scatter_product(mul)),
    "divide": (div, _scatter_product(div)),
    "power": (pow, _scatter_product(pow)),
    "min": (minimum, _scatter_extreme(_s.scatter_min)),
    "max": (maximum, _scatter_extreme(_s.scatter_max)),
}


def _update(x: Tensor, plan: Plan, kind: str, value: Tensor) -> Tensor:
    direct, indexed = _UPDATES[kind]
    value = plan.unplaced(_fitted(value, plan.result_shape))
    if plan.index is None:
        new = value if kind == "set" else direct(plan.narrow(x), value)
    else:
        new = indexed(plan.narrow(x), plan.index, value, axis=plan.axis)
    return plan.widen(x, new)


class At:
    """`x.at[key]`: functional updates of the elements that `key` selects.

    >>> import wengert as wg
    >>> x = wg.zeros(3)
    >>> x.at[[0, 0, 2]].add(1.0), x
    (Tensor([2., 0., 1.], dtype=float32), Tensor([0., 0., 0.], dtype=float32))
    """

    __slots__ = ("_x",)

    def __init__(self, x: Tensor) -> None:
        self._x = x

    def __getitem__(self, key: Any) -> Selected:
        return Selected(self._x, key)


class Selected:
    """The elements of a tensor that a key selects; each method returns a new tensor.

    A key that names an element several times: `set` keeps the last value, the others apply all of
    them. Gradients are exact, ties of `min` and `max` share the gradient equally.
    """

    __slots__ = ("_key", "_x")

    def __init__(self, x: Tensor, key: Any) -> None:
        self._x, self._key = x, key

    def _apply(self, kind: str, value: Any) -> Tensor:
        x = self._x
        value = cast_to(as_tensor(value, x), x.dtype)
        return _update(x, plan_for(x, self._key), kind, value)

    def get(self) -> Tensor:
        """The elements themselves, `x[key]`."""
        return getitem(self._x, self._key)

    def set(self, value: Any) -> Tensor:
        """Replace the elements."""
        return setitem(self._x, self._key, value)

    def add(self, value: Any) -> Tensor:
        """Add to the elements."""
        return self._apply("add", value)

    def subtract(self, value: Any) -> Tensor:
        """Subtract from the elements."""
        return self._apply("add", neg(cast_to(as_tensor(value, self._x), self._x.dtype)))

    def multiply(self, value: Any) -> Tensor:
        """Multiply the elements."""
        return self._apply("multiply", value)

    def divide(self, value: Any) -> Tensor:
        """Divide the elements; floating arrays only."""
        return self._floating("divide", value)

    def power(self, value: Any) -> Tensor:
        """Raise the elements to a power; floating arrays only."""
        return self._floating("power", value)

    def min(self, value: Any) -> Tensor:
        """The smaller of element and value."""
        return self._apply("min", value)

    def max(self, value: Any) -> Tensor:
        """The larger of element and value."""
        return self._apply("max", value)

    def apply(self, f: Any) -> Tensor:
        """Replace the elements by `f` of them, once each even where the key repeats."""
        return self.set(f(self.get()))

    def _floating(self, kind: str, value: Any) -> Tensor:
        if self._x.dtype.kind in "biu":
            raise DtypeError(
                f"at.{kind}",
                "takes floating arrays",
                met=describe(self._x),
                fix="cast first: wg.astype(x, wg.float32)",
            )
        return self._apply(kind, value)

    sub, mul, div, pow = subtract, multiply, divide, power


def take(x: Any, indices: Any, /, axis: int | None = None) -> Tensor:
    """The elements (slices, for more axes) of `x` at integer indices along `axis`.

    Without an axis, `x` is flattened. Negative indices count from the end; others outside the axis
    raise a BoundsError. Differentiable; repeated elements get the sum of their gradients.

    >>> import wengert as wg
    >>> wg.take([[1, 2], [3, 4]], [1, 1], axis=0)
    Tensor([[3, 4], [3, 4]], dtype=int64)
    """
    x = as_tensor(x)
    if axis is None:
        x, axis = reshape(x, shape=(x.size,)), 0
    axis = normalize_axis("take", axis, x.ndim)
    found: Tensor = _i.gather(x, as_index("take", indices), axis=axis)
    return found


def take_along_axis(x: Any, indices: Any, /, axis: int = -1) -> Tensor:
    """For each place on the other axes, the elements of `x` at its own indices along `axis`.

    `indices` has x's rank; the other axes broadcast. It undoes `argsort`: `take_along_axis(x,
    argsort(x))` is `sort(x)`.

    >>> import wengert as wg
    >>> wg.take_along_axis([[1, 2], [3, 4]], [[1], [0]], axis=1)
    Tensor([[2], [3]], dtype=int64)
    """
    x, index = as_tensor(x), as_index("take_along_axis", indices)
    if x.ndim != index.ndim:
        raise ShapeError(
            "take_along_axis",
            "the indices must have the rank of the array",
            met=describe(x, index),
            fix="insert axes with wg.expand_dims, or use wg.take",
        )
    return _i.take_along(x, index, normalize_axis("take_along_axis", axis, x.ndim))
