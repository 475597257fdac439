"""The operators and methods of tensors. Each calls the array function of the same meaning.

`_F` is the array namespace (`import wengert`): the one upward door of `core`, which
`wengert/__init__.py` opens once all functions exist.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wengert.core.node import Node
    from wengert.core.tensor import Tensor

_F: Any = None


def bind_namespace(namespace: ModuleType) -> None:
    """Tell tensors where the array functions live. Called once, at import."""
    global _F
    _F = namespace


# What an operator leaves to the other side (NotImplemented) instead of trying it.
_FOREIGN = frozenset({type(None), str, list, tuple, dict, set})


def _spread(args: tuple[Any, ...]) -> Any:
    """`x.reshape(2, 3)` and `x.reshape((2, 3))` mean the same."""
    return args[0] if len(args) == 1 and not isinstance(args[0], int) else args


def _binary(name: str) -> Any:
    def method(self: Any, other: Any) -> Any:
        return NotImplemented if other.__class__ in _FOREIGN else getattr(_F, name)(self, other)

    method.__doc__ = f"See `wengert.{name}`."
    return method


def _reflected(name: str) -> Any:
    def method(self: Any, other: Any) -> Any:
        return NotImplemented if other.__class__ in _FOREIGN else getattr(_F, name)(other, self)

    method.__doc__ = f"See `wengert.{name}`."
    return method


def _in_place(name: str) -> Any:
    def method(self: Any, other: Any) -> Any:
        return self._rebind(getattr(_F, name)(self, other))

    method.__doc__ = f"Rebind this handle to `wengert.{name}(self, other)`."
    return method


class ArrayMethods:
    """Mixin of `Tensor`."""

    __slots__ = ()
    if TYPE_CHECKING:
        _data: Any
        _node: Node | None

        def _rebind(self, new: Tensor) -> Tensor: ...

    # The four that user code runs most are spelled out: one call less.
    def __add__(self, other: Any) -> Tensor:
        return NotImplemented if other.__class__ in _FOREIGN else _F.add(self, other)

    def __sub__(self, other: Any) -> Tensor:
        return NotImplemented if other.__class__ in _FOREIGN else _F.subtract(self, other)

    def __mul__(self, other: Any) -> Tensor:
        return NotImplemented if other.__class__ in _FOREIGN else _F.multiply(self, other)

    def __matmul__(self, other: Any) -> Tensor:
        return NotImplemented if other.__class__ in _FOREIGN else _F.matmul(self, other)

    __radd__, __rsub__ = _reflected("add"), _reflected("subtract")
    __rmul__, __rmatmul__ = _reflected("multiply"), _reflected("matmul")
    __truediv__, __rtruediv__ = _binary("divide"), _reflected("divide")
    __floordiv__, __rfloordiv__ = _binary("floor_divide"), _reflected("floor_divide")
    __mod__, __rmod__ = _binary("remainder"), _reflected("remainder")
    __pow__, __rpow__ = _binary("pow"), _reflected("pow")
    __and__, __rand__ = _binary("bitwise_and"), _reflected("bitwise_and")
    __or__, __ror__ = _binary("bitwise_or"), _reflected("bitwise_or")
    __xor__, __rxor__ = _binary("bitwise_xor"), _reflected("bitwise_xor")
    __lshift__, __rlshift__ = _binary("bitwise_left_shift"), _reflected("bitwise_left_shift")
    __rshift__, __rrshift__ = _binary("bitwise_right_shift"), _reflected("bitwise_right_shift")
    __lt__, __le__ = _binary("less"), _binary("less_equal")
    __gt__, __ge__ = _binary("greater"), _binary("greater_equal")
    __eq__ = _binary("equal")
    __ne__ = _binary("not_equal")
    __iadd__, __isub__ = _in_place("add"), _in_place("subtract")
    __imul__, __itruediv__ = _in_place("multiply"), _in_place("divide")
    __ifloordiv__, __imod__ = _in_place("floor_divide"), _in_place("remainder")
    __ipow__, __imatmul__ = _in_place("pow"), _in_place("matmul")
    __iand__, __ior__ = _in_place("bitwise_and"), _in_place("bitwise_or")
    __ixor__ = _in_place("bitwise_xor")
    __ilshift__ = _in_place("bitwise_left_shift")
    __irshift__ = _in_place("bitwise_right_shift")

    def __divmod__(self, other: Any) -> tuple[Tensor, Tensor]:
        return _F.floor_divide(self, other), _F.remainder(self, other)

    def __neg__(self) -> Tensor:
        return _F.negative(self)

    def __pos__(self) -> Tensor:
        return _F.positive(self)

    def __abs__(self) -> Tensor:
        return _F.abs(self)

    def __invert__(self) -> Tensor:
        return _F.bitwise_invert(self)

    def __round__(self, ndigits: int | None = None) -> Any:
        return round(self.item(), ndigits) if ndigits is not None else _F.round(self)  # type: ignore[attr-defined]

    # -- indexing ----------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Tensor:
        return _F.getitem(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._rebind(_F.setitem(self, key, value))

    @property
    def at(self) -> Any:
        """Functional updates: `x.at[i].set(v)`, `.add`, `.mul`, `.min`, `.max`, `.get()`."""
        return _F.At(self)

    # -- shapes ------------------------------------------------------------------------------

    @property
    def T(self) -> Tensor:
        """The transpose of a matrix; for other ranks, all axes reversed."""
        return _F.permute_dims(self, tuple(range(len(self._data.shape)))[::-1])

    @property
    def mT(self) -> Tensor:
        """The transpose of the last two axes."""
        return _F.matrix_transpose(self)

    def reshape(self, *shape: Any) -> Tensor:
        return _F.reshape(self, _spread(shape))

    view = reshape

    def permute(self, *axes: Any) -> Tensor:
        return _F.permute_dims(self, _spread(axes))

    def transpose(self, *axes: Any) -> Tensor:
        """With two axes, swap them; with none, reverse all; with a full list, permute."""
        if len(axes) == 2 and all(isinstance(a, int) for a in axes):
            return _F.swapaxes(self, *axes)
        return _F.permute_dims(self, _spread(axes)) if axes else self.T

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        return _F.flatten(self, start_dim, end_dim)

    def trace(self, offset: int = 0) -> Tensor:
        """The sum of a diagonal; see `wengert.linalg.trace` (`wengert.trace` makes a graph)."""
        return _F.linalg.trace(self, offset=offset)

    def squeeze(self, axis: Any = None) -> Tensor:
        return _F.squeeze(self, axis)

    def unsqueeze(self, axis: int) -> Tensor:
        return _F.expand_dims(self, axis=axis)

    def expand(self, *shape: Any) -> Tensor:
        """Broadcast to a shape; -1 keeps an axis as it is."""
        wanted = tuple(_spread(shape))
        own = (1,) * (len(wanted) - len(self._data.shape)) + tuple(self._data.shape)
        full = tuple(n if w == -1 else w for w, n in zip(wanted, own, strict=True))
        return _F.broadcast_to(self, full)

    def astype(self, dtype: Any) -> Tensor:
        return _F.astype(self, dtype, copy=False)

    to = astype

    def float(self) -> Tensor:
        return _F.astype(self, "float32", copy=False)

    def double(self) -> Tensor:
        return _F.astype(self, "float64", copy=False)

    def clone(self) -> Tensor:
        """A new handle on the same value (values are immutable, so nothing is copied)."""
        return _F.positive(self)


def _method(name: str) -> Any:
    def method(self: Any, *args: Any, **options: Any) -> Any:
        if "out" in options and options["out"] is None:  # np.sum(x) calls x.sum(out=None, …)
            options = {key: value for key, value in options.items() if value is not None}
        return getattr(_F, name)(self, *args, **options)

    method.__name__ = name
    method.__doc__ = f"See `wengert.{name}`."
    return method


for _name in (
    "abs",
    "all",
    "any",
    "argmax",
    "argmin",
    "argsort",
    "clip",
    "cos",
    "count_nonzero",
    "cumprod",
    "cumsum",
    "diff",
    "exp",
    "expm1",
    "flip",
    "log",
    "log1p",
    "logsumexp",
    "matmul",
    "max",
    "mean",
    "min",
    "nonzero",
    "pow",
    "prod",
    "repeat",
    "roll",
    "round",
    "sign",
    "sigmoid",
    "sin",
    "softmax",
    "sort",
    "sqrt",
    "square",
    "std",
    "sum",
    "take",
    "tanh",
    "tile",
    "tril",
    "triu",
    "var",
    "dot",
    "swapaxes",
    "isnan",
    "isfinite",
    "isinf",
    "relu",
    "allclose",
    "ceil",
    "cosh",
    "cummax",
    "cummin",
    "digamma",
    "erf",
    "erfc",
    "erfinv",
    "floor",
    "frac",
    "isclose",
    "lerp",
    "lgamma",
    "log10",
    "log2",
    "log_softmax",
    "logcumsumexp",
    "logit",
    "maximum",
    "median",
    "minimum",
    "nan_to_num",
    "nanmean",
    "nansum",
    "ptp",
    "quantile",
    "reciprocal",
    "rsqrt",
    "sinh",
    "tan",
    "trunc",
    "argwhere",
    "broadcast_to",
    "chunk",
    "expand_dims",
    "moveaxis",
    "permute_dims",
    "ravel",
    "take_along_axis",
    "top_k",
    "unique",
):
    setattr(ArrayMethods, _name, _method(_name))
