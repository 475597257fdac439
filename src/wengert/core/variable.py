"""Variables and parameters: the mutable boxes that models, optimizers and generators hold.

`assign` is the only door through which a box changes, so a trace can see (and undo) every write.
The old array is never written into: who kept it, keeps its values.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from wengert.core import live
from wengert.core.dtypes import DType, is_float
from wengert.core.errors import DtypeError, ShapeError
from wengert.core.op import cast_to
from wengert.core.spec import Spec
from wengert.core.state import state
from wengert.core.tensor import Tensor, as_tensor, leaf_node


class Variable(Tensor):
    """A tensor whose value changes over time: a running statistic, a step count, a counter.

    >>> import wengert as wg
    >>> count = wg.Variable(wg.asarray(0)); count.assign(count + 1); int(count)
    1
    """

    __slots__ = ()

    def __init__(self, value: Any, requires_grad: bool = False) -> None:
        given = as_tensor(value)
        super().__init__(given._data)
        if requires_grad:
            self._node = leaf_node(self)
        live.register(self)
        if state.trace is not None:
            state.trace.on_create(self, given)

    def assign(self, value: Any) -> None:
        """Replace the value by one of the same shape; it is cast to the variable's dtype."""
        if self._data.__class__ is Spec and state.trace is None:
            live.settled(self)  # another thread is tracing: wait until it is done
        new = as_tensor(value, self)
        if new.shape != self.shape:
            raise ShapeError(
                "assign",
                "a variable keeps its shape",
                met=f"{new.shape} for {self.shape}",
                fix="make a new variable where the shape must change",
            )
        if new.dtype != self.dtype:
            new = cast_to(new, self.dtype)
        if state.watch is not None:
            state.watch.on_write(self)
        if state.trace is not None:
            state.trace.write(self, new)
        else:
            self._data = new._data
        live.written()

    def requires_grad_(self, value: bool = True) -> Variable:
        """Start (or stop) tracking; returns the variable."""
        super().requires_grad_(value)
        live.settings_changed()
        return self

    def retype(self, dtype: DType) -> None:
        """Convert the value, and a gradient that is there, to another floating dtype."""
        if self.dtype == dtype:
            return
        values, grad = self._values("retype"), self.grad
        self._data = values.astype(dtype)
        if self._node is not None:
            self._node = leaf_node(self)
            self._node.grad = None if grad is None else Tensor(grad._data.astype(dtype))
        live.settings_changed()

    def _rebind(self, new: Tensor) -> Tensor:
        """`x += y` and `x[i] = v` on a variable assign to it."""
        if self._node is not None and state.recording:
            return super()._rebind(new)
        self.assign(new)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Variable:
        copied = type(self)(Tensor(self._values("deepcopy").copy()), self.requires_grad)
        memo[id(self)] = copied
        return copied

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._values("pickle"), self.requires_grad)


class Follower(Variable):
    """A variable that stands for a plain Python number in compiled programs: a learning rate, the
    step of a schedule. Who changes the number assigns the variable; a program that wrote the
    variable has `publish` called, which tells the number's owner.
    """

    __slots__ = ("tell",)

    def __init__(self, value: Any, tell: Callable[[Any], None]) -> None:
        self.tell = tell
        super().__init__(value)

    def publish(self) -> None:
        """Tell the owner the present value."""
        self.tell(self._data.item())

    def __deepcopy__(self, memo: dict[int, Any]) -> Follower:
        return type(self)(self._values("deepcopy").copy(), copy.deepcopy(self.tell, memo))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._values("pickle"), self.tell)


class Parameter(Variable):
    """A variable that is trained: a tracked leaf. Modules collect their parameters by this type.

    >>> import wengert as wg
    >>> w = wg.Parameter(wg.zeros(3)); w.requires_grad
    True
    """

    __slots__ = ()

    def __init__(self, value: Any, requires_grad: bool = True) -> None:
        if requires_grad and isinstance(value, Tensor) and not is_float(value.dtype):
            raise DtypeError(
                "Parameter",
                "only floating tensors are trained",
                met=repr(Spec.of(value)),
                fix="cast to float32, or pass requires_grad=False",
            )
        super().__init__(value, requires_grad)
