"""`Tensor`: a handle on data (an ndarray, or a Spec inside a trace) and, where tracked, its node.

What it can do with other tensors (operators, indexing, methods) stands in `methods`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from wengert.core import dtypes, foreign, live, methods, site
from wengert.core.errors import ArgumentError, DtypeError, GradientError, TraceError
from wengert.core.methods import ArrayMethods
from wengert.core.node import Data, Node
from wengert.core.spec import Shape, Spec
from wengert.core.state import state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wengert.core.op import Op


class Tensor(ArrayMethods):
    """An n-dimensional array that can be differentiated through.

    Values are immutable: no operation ever writes into an array that another tensor may see.
    `x += y` and `x[i] = v` rebind the handle `x` to a new value (and are differentiable); other
    names for the same handle see it, views and results made before do not.
    """

    __slots__ = ("__weakref__", "_data", "_node")
    __array_priority__ = 1000  # so that ndarray * Tensor asks the tensor

    _data: Data
    _node: Node | None

    def __init__(self, data: Any, node: Node | None = None) -> None:
        if data.__class__ is not np.ndarray and data.__class__ is not Spec:
            data = as_data(data)
        self._data = data
        self._node = node

    # -- what it is --------------------------------------------------------------------------

    @property
    def shape(self) -> Shape:
        shape: Shape = self._data.shape
        return shape

    @property
    def dtype(self) -> dtypes.DType:
        dtype: dtypes.DType = self._data.dtype
        return dtype

    @property
    def ndim(self) -> int:
        return len(self._data.shape)

    @property
    def size(self) -> int:
        return int(self._data.size)

    @property
    def nbytes(self) -> int:
        """Bytes that the values take."""
        return int(self._data.nbytes)

    @property
    def device(self) -> str:
        """Always "cpu"."""
        return "cpu"

    @property
    def node(self) -> Node | None:
        """The graph node that made this tensor; None where nothing is tracked."""
        return self._node

    @property
    def site(self) -> site.Site | None:
        """The user's line that made this tensor, where it is tracked."""
        return None if self._node is None else self._node.site

    @property
    def is_symbolic(self) -> bool:
        """Whether the tensor stands for a value inside a trace and has none of its own."""
        return self._data.__class__ is Spec

    # -- differentiation ---------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this tensor are recorded for differentiation."""
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, value: bool = True) -> Tensor:
        """Start (or stop) tracking this leaf tensor; returns it."""
        if value and self._data.__class__ is Spec and state.trace is not None:
            state.trace.on_leaf(self)
        elif value and self._node is None:
            self._node = leaf_node(self)
            live.register(self)
        elif not value and self._node is not None:
            if not self.is_leaf:
                raise GradientError(
                    "requires_grad_",
                    "only a leaf can stop being tracked",
                    met=f"the result of {self._node.op.name}, made at {self._node.site}",
                    fix="use x.detach() for a copy of the handle that is not tracked",
                )
            self._node = None
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made this tensor."""
        return self._node is None or not self._node.parents

    @property
    def grad(self) -> Tensor | None:
        """Where `backward()` leaves (adds) the gradient; None before, and for what is not a leaf
        unless `retain_grad()` was called."""
        return None if self._node is None else self._node.grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if self._node is None:
            if value is None:
                return
            raise ungraded()
        if value is not None and (value.shape != self.shape):
            raise ArgumentError(
                "grad",
                "the gradient must have the tensor's shape",
                met=f"{value.shape} for a tensor of {self.shape}",
                fix="reshape the gradient",
            )
        if state.trace is not None:
            state.trace.on_grad(self._node, value)
        self._node.grad = value

    def retain_grad(self) -> None:
        """Ask `backward()` to leave the gradient of this intermediate result in `.grad`."""
        self.register_hook(None)

    def register_hook(self, hook: Any) -> None:
        """Call `hook(gradient)` when `backward()` has this tensor's gradient; a returned tensor
        replaces it. None only keeps the gradient in `.grad`."""
        if self._node is None:
            raise GradientError(
                "register_hook",
                "the tensor is not tracked, so it will have no gradient",
                fix="call x.requires_grad_() before the computation",
            )
        if self._node.hooks is None:
            self._node.hooks = []
        self._node.hooks.append(hook)

    def detach(self) -> Tensor:
        """The same value, not tracked."""
        if self._data.__class__ is Spec:
            detached: Tensor = methods._F.stop_gradient(self)
            return detached
        return Tensor(self._data)

    def backward(
        self, gradient: Any = None, retain_graph: bool = False, create_graph: bool = False
    ) -> None:
        """Add the gradient of this scalar to `.grad` of every tracked leaf below it.

        `gradient` is the cotangent to start from (needed where the tensor is no scalar).
        `retain_graph` keeps the graph for another call; `create_graph` records the walk itself,
        so that the gradients can be differentiated again.

        >>> import wengert as wg
        >>> x = wg.asarray([1.0, 2.0]).requires_grad_()
        >>> (x * x).sum().backward()
        >>> x.grad
        Tensor([2., 4.], dtype=float32)
        """
        methods._F.backward(self, gradient, retain_graph=retain_graph, create_graph=create_graph)

    def _rebind(self, new: Tensor) -> Tensor:
        """Let this handle stand for a new value (what `x += y` and `x[i] = v` do)."""
        node = self._node
        if node is not None and node.op.name == "leaf":
            if state.recording:
                raise GradientError(
                    "in-place",
                    "a tracked leaf cannot be changed in place while recording",
                    met=f"a leaf of shape {self._data.shape}",
                    cause="an update of a parameter outside no_grad",
                    fix="update it inside `with wg.no_grad():`, or use x.at[i].set(v)",
                )
            if new.shape != self._data.shape or new.dtype != self._data.dtype:
                new = methods._F.astype(
                    methods._F.broadcast_to(new, self._data.shape), self._data.dtype
                )
            self._data = new._data
            live.written()
            return self
        self._data, self._node = new._data, new._node
        return self

    # -- leaving the library -----------------------------------------------------------------

    def _values(self, purpose: str) -> np.ndarray[Any, Any]:
        """The ndarray, or the error for a symbolic tensor."""
        if self._data.__class__ is Spec:
            settled = live.settled(self)
            if settled is not None:
                return settled._values(purpose)
            raise self._symbolic(purpose)
        values: np.ndarray[Any, Any] = self._data
        return values

    def _symbolic(self, purpose: str) -> TraceError:
        """The error where a value is needed and there is none."""
        assert self._node is not None
        return foreign.no_value(purpose, f"{self._data!r} made at {self._node.site}")

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as a read-only ndarray that shares memory; `.copy()` it to write."""
        view = self._values("numpy").view()
        view.flags.writeable = False
        return view

    def item(self) -> Any:
        """The single value as a Python number."""
        values = self._values("item")
        if values.size != 1:
            raise ArgumentError(
                "item",
                "only a tensor with one element is a Python number",
                met=str(self.shape),
                fix="index one element, or reduce with .sum() or .mean()",
            )
        return values.item()

    def tolist(self) -> Any:
        """The values as nested Python lists."""
        return self._values("tolist").tolist()

    def _keep_gradient(self, protocol: str) -> None:
        """Raise where a function of another library would cut a gradient unseen."""
        if self._node is not None and state.transforming and state.recording:
            call = foreign.called()
            ours = call.ours if call and call.ours else "the function of wengert"
            raise GradientError(
                protocol,
                "a NumPy function met a tensor that is being differentiated, "
                "and would cut its gradient",
                met=f"{self._data.dtype}{list(self.shape)}",
                cause=f"{call.written if call else 'np.f(x) or scipy f(x)'} in place of {ours}",
                fix=f"use {ours}, or x.detach() where no gradient is wanted",
            )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        self._keep_gradient("__array__")
        values = self.numpy()
        if dtype is not None and values.dtype != dtype:
            if copy is False:
                raise ArgumentError(
                    "__array__",
                    "another dtype needs a copy, which copy=False forbids",
                    met=f"{values.dtype} as {np.dtype(dtype)}",
                    fix="leave copy out",
                )
            return values.astype(dtype)
        return values.copy() if copy else values

    def __dlpack__(self, **options: Any) -> Any:
        self._keep_gradient("__dlpack__")
        # Only a consumer that names a version can be told that the memory is not to be written.
        told = options.get("max_version") is not None
        return (self.numpy() if told else self._values("__dlpack__")).__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        device: tuple[int, int] = self._values("__dlpack_device__").__dlpack_device__()
        return device

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        if api_version not in (None, "2021.12", "2022.12", "2023.12", "2024.12"):
            raise ArgumentError(
                "__array_namespace__",
                "unknown version of the array API standard",
                met=repr(api_version),
                fix="ask for '2024.12'",
            )
        return methods._F

    def to_device(self, device: str, /, *, stream: Any = None) -> Tensor:
        """The tensor itself, for `device="cpu"`, the only device."""
        if device != "cpu" or stream is not None:
            raise ArgumentError(
                "to_device",
                "the only device is 'cpu', without streams",
                met=f"device={device!r}, stream={stream!r}",
                fix="pass 'cpu'",
            )
        return self

    def __bool__(self) -> bool:
        values = self._values("bool")
        if values.size != 1:
            raise ArgumentError(
                "bool",
                "the truth of a tensor with other than one element is ambiguous",
                met=str(self.shape),
                fix="use wg.any(x) or wg.all(x)",
            )
        return bool(values.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if not dtypes.is_integer(self.dtype) or self.ndim:
            raise DtypeError(
                "index",
                "only a 0-d integer tensor can serve as an index",
                met=repr(Spec.of(self)),
                fix="convert with int(x)",
            )
        return int(self._values("index"))

    def __complex__(self) -> complex:
        return complex(self.item())

    def __len__(self) -> int:
        if not self.shape:
            raise DtypeError("len", "a 0-d tensor has no length", fix="use x.size")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise DtypeError("iter", "a 0-d tensor cannot be iterated over", fix="use x.item()")
        return (self[i] for i in range(self.shape[0]))

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        if self._data.__class__ is Spec:
            return f"Tensor(symbolic {self._data!r})"
        body = np.array2string(self._data, separator=", ", prefix="Tensor(", threshold=100)
        tracked = ", requires_grad=True" if self._node is not None and self.is_leaf else ""
        made_by = f", made by {self._made_by()}" if not self.is_leaf else ""
        empty = f", shape={self.shape}" if self.size == 0 else ""
        return f"Tensor({body}{empty}, dtype={self.dtype}{tracked}{made_by})"

    def _made_by(self) -> str:
        """The name of the op that this tensor is a result of; "" for a leaf."""
        node = self._node
        if node is not None and node.op.name == "pick":  # one result of an op with several
            node = node.parents[0]
        return "" if node is None else node.op.name

    def __format__(self, format_spec: str) -> str:
        if format_spec and self.is_symbolic:
            raise self._symbolic("format")
        if self.ndim == 0 and format_spec:
            return format(self.item(), format_spec)
        return format(repr(self), format_spec)

    def __copy__(self) -> Tensor:
        return Tensor(self._data, self._node)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        copied = Tensor(np.array(self._values("deepcopy")))
        return copied.requires_grad_() if self._node is not None and self.is_leaf else copied

    def __reduce__(self) -> tuple[Any, ...]:
        """How to pickle the values of a leaf: its gradient and its node stay behind."""
        if not self.is_leaf:
            raise GradientError(
                "pickle",
                "a tracked result cannot be pickled: it would lose its graph",
                met=repr(Spec.of(self)),
                fix="pickle x.detach()",
            )
        return _unpickled, (self._values("pickle"), self.requires_grad)


def ungraded() -> GradientError:
    """The error for a gradient of what is not tracked."""
    return GradientError(
        "grad",
        "a tensor that is not tracked has no gradient",
        met="an assignment to .grad",
        cause="a frozen parameter, or a plain tensor",
        fix="call x.requires_grad_() first",
    )


def _unpickled(values: np.ndarray[Any, Any], requires_grad: bool) -> Tensor:
    return Tensor(values).requires_grad_(requires_grad)


Node.tensor_class = Tensor


def as_data(value: Any) -> Data:
    """The ndarray behind anything that `asarray` takes."""
    if isinstance(value, (np.generic, np.ndarray)):
        dtypes.as_dtype(value.dtype)
        return np.asarray(value)
    return methods._F.asarray(value)._data


def as_tensor(x: Any, like: Tensor | None = None) -> Tensor:
    """`x` as a tensor. Python numbers take the dtype of `like`, or the default of a wider kind."""
    if isinstance(x, Tensor):
        return x
    if like is not None and x.__class__ in _PYTHON_KINDS:
        return Tensor(scalar_data(x, like.dtype))
    converted: Tensor = methods._F.asarray(x)
    return converted


# np.float64 is a subclass of float, and `x / np.sqrt(d)` is meant as a Python number is.
_PYTHON_KINDS = {bool: 0, int: 1, float: 2, np.float64: 2}
_ARRAY_KINDS = {"bool": 0, "unsigned": 1, "signed": 1, "float": 2}


def scalar_data(value: Any, dtype: dtypes.DType) -> np.ndarray[Any, Any]:
    """A Python number as a 0-d array of `dtype`, or of the default dtype of its wider kind."""
    kind = _PYTHON_KINDS[value.__class__]
    if kind > _ARRAY_KINDS[dtypes.kind(dtype)]:
        dtype = dtypes.default_float() if kind == 2 else dtypes.default_int
    # 0.0 and -0.0 are one key, so zero is not looked up.
    return _constant(value, dtype) if value else np.array(value, dtype)


@lru_cache(maxsize=1024, typed=True)
def _constant(value: Any, dtype: dtypes.DType) -> np.ndarray[Any, Any]:
    """Programs use few different numbers, again and again; arrays are never written into."""
    try:
        return np.array(value, dtype)
    except (OverflowError, TypeError):  # TypeError: bfloat16's way to say it
        raise ArgumentError(
            "scalar",
            "the Python number does not fit the array's dtype",
            met=f"{value} with {dtype}",
            fix="cast the array to a wider dtype first",
        ) from None


def leaf_node(x: Tensor) -> Node:
    """A fresh leaf for a tensor whose gradient is wanted; the dtype must be floating."""
    from wengert.core.op import NO_PARAMS, REGISTRY

    if not dtypes.is_float(x.dtype):
        raise DtypeError(
            "requires_grad_",
            "only floating tensors have gradients",
            met=repr(Spec.of(x)),
            fix="cast first: wg.astype(x, wg.float32)",
        )
    op: Op = REGISTRY["leaf"]
    origin = state.origin or site.capture(state.module)
    return Node(op, NO_PARAMS, (), (), None, x.shape, x.dtype, origin)
