"""Optimizers as pure functions of pytrees: for functional training loops, and for learning to learn
(the step itself can be differentiated)."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.core import methods
from wengert.core.dtypes import DType
from wengert.core.errors import ArgumentError
from wengert.core.op import cast_to
from wengert.core.spec import Spec
from wengert.core.tensor import Tensor, as_tensor
from wengert.core.tree import tree_flatten
from wengert.optim.groups import check_options
from wengert.optim.lbfgs import LBFGS
from wengert.optim.optimizer import UNBOUND, Optimizer, working_dtype
from wengert.optim.scalars import scalar, traced


class Functional:
    """What `functional` returns: `init(params)` and `update(grads, state, params)`."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer, self.options = optimizer, optimizer.defaults

    def init(self, params: Any) -> list[dict[str, Tensor]]:
        """The state that training starts with: one dict of tensors for each leaf of `params`."""
        return [self._first(as_tensor(p)) for p in tree_flatten(params)[0]]

    def _first(self, p: Tensor) -> dict[str, Tensor]:
        self.optimizer.check_parameter(p)
        like, o = Spec(p.shape, working_dtype(p.dtype)), self.options
        slots = {s: Tensor(self.optimizer.initial(s, like, o)) for s in self.optimizer.slots(o, p)}
        return {"step": Tensor(np.array(0)), **slots}

    def update(
        self, grads: Any, state: Any, params: Any, **options: Any
    ) -> tuple[Any, list[dict[str, Tensor]]]:
        """New parameters and new state. Nothing is changed in place.

        `options` replace the optimizer's own for this step. They may be tensors (a learning rate
        that a schedule computes, or that is itself learned).
        """
        check_options(self.optimizer.name, options, self.options)
        leaves, tree = tree_flatten(params)
        cotangents, grad_tree = tree_flatten(grads)
        if grad_tree != tree or len(state) != len(leaves):
            raise ArgumentError(
                self.optimizer.name,
                "params, grads and state do not fit each other",
                met=f"{tree}, {grad_tree} and a state of {len(state)}",
                fix="pass gradients of the same tree, and the state that init() of it gave",
            )
        stepped = [
            self._step(as_tensor(p), as_tensor(g), s, {**self.options, **options})
            for p, g, s in zip(leaves, cotangents, state, strict=True)
        ]
        return tree.unflatten(p for p, _ in stepped), [s for _, s in stepped]

    def _step(
        self, p: Tensor, g: Tensor, state: dict[str, Tensor], options: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        work = working_dtype(p.dtype)
        counted = methods._F.add(state["step"], 1)
        slots: dict[str, Any] = {**state, "step": scalar(counted)}
        numbers = {name: _known(value, work) for name, value in options.items()}
        new, slots = self.optimizer.advance(
            traced, cast_to(p, work), cast_to(g, work), slots, numbers
        )
        kept = {name: slots[name] for name in state if name != "step"}
        return cast_to(new, p.dtype), {"step": counted, **kept}


def _known(option: Any, dtype: DType) -> Any:
    """An option as the formula gets it: what is a tensor and one number, as a `Scalar`."""
    if isinstance(option, tuple):
        return tuple(_known(value, dtype) for value in option)
    if not isinstance(option, Tensor):
        return option
    return cast_to(option, dtype) if option.ndim else scalar(option)


def functional(kind: type[Optimizer], **options: Any) -> Functional:
    """The formula of an optimizer class, with these options, as pure functions.

    >>> import wengert as wg
    >>> opt = wg.optim.functional(wg.optim.Adam, lr=0.1)
    >>> params = {"w": wg.asarray([1.0, -1.0])}
    >>> state = opt.init(params)
    >>> grads = wg.grad(lambda p: wg.sum(p["w"] ** 2))(params)
    >>> params, state = opt.update(grads, state, params)
    >>> [round(v, 4) for v in params["w"].tolist()]
    [0.9, -0.9]
    """
    if not (isinstance(kind, type) and issubclass(kind, Optimizer)) or issubclass(kind, LBFGS):
        raise ArgumentError(
            "functional",
            "takes a class of optimizers with one formula for each parameter",
            met=repr(kind),
            cause="L-BFGS evaluates the loss by itself",
            fix="pass, for example, wg.optim.Adam",
        )
    return Functional(kind(UNBOUND, **options))


__all__ = ["Functional", "functional"]
