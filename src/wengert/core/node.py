"""`Node`: one recorded step of a computation. Nodes point to their parents; that is the graph.

A node keeps what the derivative rules of its op ask for and nothing else, as bare arrays: a user
who rebinds or updates a tensor later cannot change a recorded graph. Nodes are numbered in the
order of their making, so sorting by number is a topological order, and no walk needs recursion.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar

from wengert.core import site
from wengert.core.dtypes import DType
from wengert.core.errors import GradientError
from wengert.core.spec import Shape, Spec

if TYPE_CHECKING:
    import numpy as np

    from wengert.core.op import Op
    from wengert.core.tensor import Tensor

Data = Any  # an ndarray, or the Spec that stands for it in a trace

_number = count().__next__


def next_id() -> int:
    """A number that is larger than that of any node made before, and smaller than of any after."""
    return _number()


class Node:
    """One application of an op: `op(*parents, **params)`.

    Attributes
    ----------
    id : position in the order of creation; parents always have smaller ids
    op, params : what was applied, with its static parameters
    parents : the operands' nodes; None for an operand that nothing tracks
    saved : the operands' data, where a rule (or a trace) needs it; else None
    out : the result's data, where a rule needs it; a tuple for an op with several results
    shape, dtype : of the result
    site : the user's line that made it
    """

    tensor_class: ClassVar[Any]  # `Tensor`, set by its module, which stands on this one

    __slots__ = (
        "__weakref__",
        "dtype",
        "grad",
        "hooks",
        "id",
        "op",
        "origin",
        "out",
        "params",
        "parents",
        "saved",
        "shape",
    )

    def __init__(
        self,
        op: Op,
        params: dict[str, Any],
        parents: tuple[Node | None, ...],
        saved: tuple[Data | None, ...] | None,
        out: Data | None,
        shape: Shape,
        dtype: DType,
        origin: site.Origin,
    ) -> None:
        self.id = _number()
        self.op = op
        self.params = params
        self.parents = parents
        self.saved = saved
        self.out = out
        self.shape = shape
        self.dtype = dtype
        self.origin = origin
        self.grad: Tensor | None = None
        self.hooks: list[Any] | None = None

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def site(self) -> site.Site:
        """The user's line that made this node, worked out on demand."""
        return site.resolve(self.origin)

    def value(self, i: int) -> Tensor:
        """Operand `i` as a tensor that is connected to the graph."""
        if self.saved is None:
            raise freed(self)
        data = self.saved[i]
        assert data is not None, f"{self.op.name} did not ask to keep operand {i}"
        found: Tensor = self.tensor_class(data, self.parents[i])
        return found

    def output(self) -> Any:
        """The result as a tensor that is connected to the graph; a tuple of several results."""
        if self.saved is None:
            raise freed(self)
        assert self.out is not None, f"{self.op.name} did not ask to keep its result"
        if not self.op.several:
            return self.tensor_class(self.out, self)
        from wengert.core.op import picks

        return picks(self, self.out)

    def release(self) -> None:
        """Forget the kept values; the node can no longer be differentiated through."""
        self.saved = None
        self.out = None
        if "call" in self.params:  # a function that would be run again, with what it holds
            self.params = {}

    def freeze(self) -> None:
        """Let derivative rules see this node's kept values as constants from now on: what they
        compute from them is then tracked only as far as the (co)tangents are."""
        self.__class__ = FrozenNode

    def __repr__(self) -> str:
        return f"%{self.id} = {self.op.name} {Spec(self.shape, self.dtype)} at {self.site}"


class FrozenNode(Node):
    """A node of a graph that nothing further out tracks; see `Node.freeze`."""

    __slots__ = ()

    def value(self, i: int) -> Tensor:
        """Operand `i` as a constant."""
        found: Tensor = self.tensor_class(super().value(i)._data)
        return found

    def output(self) -> Any:
        """The result as a constant."""
        found = super().output()
        if isinstance(found, tuple):
            return tuple(self.tensor_class(t._data) for t in found)
        return self.tensor_class(found._data)


def freed(node: Node) -> GradientError:
    """The error for a second walk over a graph whose kept values were released."""
    return GradientError(
        "backward",
        "this graph was already walked and its kept values were released",
        met=f"the {node.op.name} made at {node.site}",
        cause="backward() called twice on the same loss, or on two losses that share a part",
        fix="call backward(retain_graph=True) the first time, or add the losses up",
    )


def nbytes(data: np.ndarray[Any, Any] | Spec | tuple[Any, ...] | None) -> int:
    """Bytes that kept data holds (0 for a Spec: it has no values)."""
    if data is None or isinstance(data, Spec):
        return 0
    if isinstance(data, tuple):
        return sum(map(nbytes, data))
    return int(data.nbytes)
