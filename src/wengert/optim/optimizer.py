"""`Optimizer`: what all optimizers share. A subclass is one published formula for one parameter.

The formula, `update(xp, p, g, s, o)`, is a pure function of arrays: the parameter, its gradient,
the state `s` and the options `o`. `xp` is the namespace that the arrays belong to. It is NumPy when
a step is taken eagerly, which costs least; it is `wengert` in a trace and in the functional form
(`wengert.optim.functional`), where the same formula is recorded, compiled, or differentiated. Its
numbers are then `Scalar`s, which round as Python's numbers do (see `scalars`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.core.errors import ArgumentError, ShapeError
from wengert.core.live import Holder, settings_changed
from wengert.core.op import cast_to
from wengert.core.spec import Shaped, Spec, describe
from wengert.core.state import recording, state
from wengert.core.tensor import Tensor, as_tensor
from wengert.core.tree import tree_leaves
from wengert.core.variable import Variable
from wengert.optim import checkpoint
from wengert.optim.counts import Counts
from wengert.optim.groups import (
    ParamGroup,
    check_distinct,
    check_options,
    collect_groups,
    parameters_of,
)
from wengert.optim.scalars import left_out, traced

Array = Any  # an ndarray, or a Tensor where the formula is traced
Slots = dict[str, Array]
Options = Mapping[str, Any]

_BLOCK = 65536  # elements: an element-wise formula's temporaries then stay in the cache


class Handle:
    """What registering a hook returns: `remove()` takes the hook away again."""

    def __init__(self, hooks: list[Any], hook: Any) -> None:
        self.hooks, self.hook = hooks, hook

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        if self.hook in self.hooks:
            self.hooks.remove(self.hook)
            settings_changed()


class Optimizer(Holder):
    """Base of all optimizers.

    Parameters
    ----------
    params : an iterable of tensors, of (name, tensor) pairs, or of dicts, each with "params" and
        options for them that differ from the defaults
    defaults : the options and their default values

    A group may also have `modulation`, a dict from parameter to tensor; see `modulate`.

    >>> import wengert as wg
    >>> w = wg.Parameter(wg.asarray([1.0, -2.0]))
    >>> opt = wg.optim.SGD([w], lr=0.1)
    >>> (w * w).sum().backward(); opt.step(); opt.zero_grad()
    >>> w.tolist()
    [0.800000011920929, -1.600000023841858]

    One of your own is a formula; groups, weight decay, checkpoints and tracing come with the class:

    >>> class SignDescent(wg.optim.Optimizer):
    ...     @staticmethod
    ...     def update(xp, p, g, s, o):
    ...         return o["lr"] * xp.sign(g), s
    >>> opt = SignDescent([w], {"lr": 0.5, "weight_decay": 0.0})
    >>> opt.step(grads=[wg.asarray([3.0, -0.1])]); [round(v, 4) for v in w.tolist()]
    [0.3, -1.1]
    """

    elementwise = True  # does the formula treat each entry of a parameter alone?
    decays_itself = False  # does the formula contain the weight decay?

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self.name = type(self).__name__
        self.defaults = defaults
        self.param_groups: list[ParamGroup] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        self.counts = Counts()
        self.modulation: dict[Tensor, Variable] = {}
        self.schedules: list[Any] = []
        self._before: list[Callable[..., Any]] = []
        self._after: list[Callable[..., Any]] = []
        self.check(self.defaults)
        if params is not UNBOUND:
            for group in collect_groups(self.name, params):
                self.add_param_group(group)

    # -- what a subclass gives ---------------------------------------------------------------

    @staticmethod
    def update(xp: Any, p: Array, g: Array, s: Slots, o: Options) -> tuple[Array, Slots]:
        """The published formula: what is subtracted from `p`, and the new state.

        `s["step"]` counts from 1 (a Python int, or in a trace a `Scalar`).
        """
        raise TypeError("a subclass of Optimizer defines update")

    @classmethod
    def check(cls, o: Options) -> None:
        """The error for options that are out of range."""

    @staticmethod
    def check_parameter(p: Tensor) -> None:
        """The error for a parameter that the formula is not made for."""

    @staticmethod
    def slots(o: Options, p: Shaped) -> tuple[str, ...]:
        """The names of the arrays that the state has for a parameter."""
        return ()

    @staticmethod
    def initial(slot: str, p: Spec, o: Options) -> np.ndarray[Any, Any]:
        """The array that a slot starts with: zeros like the parameter."""
        return np.zeros(p.shape, p.dtype)

    # -- groups ------------------------------------------------------------------------------

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Add parameters with options of their own: `{"params": [...], "lr": ...}`."""
        params, names = parameters_of(self.name, group)
        check_options(self.name, group, self.defaults)
        options = {**self.defaults, **group}
        self.check(options)
        check_distinct(self.name, [*self.parameters(), *params])
        for p in params:
            self.check_parameter(p)
        modulation = {
            p: self._factor(p, factor, params)
            for p, factor in (options.pop("modulation", None) or {}).items()
        }
        added = ParamGroup(self.name, {**options, "params": params})
        if names:
            added["param_names"] = names
        for schedule in self.schedules:
            schedule.check_new_group(added)
        for schedule in self.schedules:
            schedule.admit(added)
        self.param_groups.append(added)
        settings_changed()
        self.modulation.update((p, Variable(factor)) for p, factor in modulation.items())
        for schedule in self.schedules:
            schedule.apply()

    def parameters(self) -> Iterator[Tensor]:
        """All parameters, group by group."""
        for group in self.param_groups:
            yield from group["params"]

    def modulate(self, param: Tensor, factor: Any) -> None:
        """Scale the plasticity of single connections: each step of `param` is multiplied by
        `factor`, a number or a tensor that broadcasts to its shape. None ends it.

        It multiplies the whole change of the parameter, weight decay included, and not the
        gradient: adaptive formulas would divide a scaled gradient out again. Entries with 0 are
        frozen. The factor is part of the state dict.

        >>> import wengert as wg
        >>> w = wg.Parameter(wg.ones(2)); opt = wg.optim.SGD([w], lr=0.5)
        >>> opt.modulate(w, wg.asarray([0.0, 1.0]))
        >>> w.sum().backward(); opt.step(); w.tolist()
        [1.0, 0.5]
        """
        settings_changed()
        if factor is None:
            self.modulation.pop(param, None)
            return
        new = self._factor(param, factor, self.parameters())
        known = self.modulation.get(param)
        if known is not None and known.shape == new.shape:
            known.assign(new)
        else:
            self.modulation[param] = Variable(new)

    def _factor(self, param: Tensor, factor: Any, among: Iterable[Tensor]) -> Tensor:
        """A modulation as it is kept, once it is clear that it fits its parameter."""
        if not any(p is param for p in among):
            raise ArgumentError(
                self.name,
                "modulation is of a parameter of this optimizer and group",
                met=describe(param),
                fix="add the parameter first, with add_param_group",
            )
        new = cast_to(as_tensor(factor).detach(), working_dtype(param.dtype))
        self.check_modulation(new, param)
        return new

    def check_modulation(self, factor: Tensor, param: Tensor) -> None:
        """The error for a factor that does not fit its parameter."""
        try:
            fits = np.broadcast_shapes(factor.shape, param.shape) == param.shape
        except ValueError:
            fits = False
        if not fits:
            raise ShapeError(
                self.name,
                "a modulation broadcasts to its parameter's shape",
                met=f"{factor.shape} for {param.shape}",
                fix="pass a number, or one factor a connection",
            )
        if not np.all(np.isfinite(factor._values("modulate"))):
            raise ArgumentError(
                self.name, "a modulation is finite", met="inf or nan", fix="use 0 to freeze"
            )

    # -- one step ----------------------------------------------------------------------------

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or make them zeros."""
        for p in self.parameters():
            if set_to_none:
                p.grad = None
            elif p.grad is not None:
                p.grad = Tensor(np.zeros(p.shape, p.dtype))

    def step(self, closure: Callable[[], Any] | None = None, *, grads: Any = None) -> Any:
        """Change every parameter that has a gradient by one step of the formula.

        `closure` computes the loss again and calls backward; its result is returned. `grads` is a
        pytree of gradients (what `value_and_grad` of a model or of a list of parameters gives), to
        be used in place of `.grad`; it has one leaf for each trainable parameter, in their order.
        """
        if state.trace is not None:
            state.trace.reach(self)
        for hook in list(self._before):
            hook(self, (closure,), {"grads": grads})
        loss = None
        if closure is not None:
            with recording(True):
                loss = closure()
        given = None if grads is None else self._given(grads)
        with recording(False):
            self._step_all(given)
        for hook in list(self._after):
            hook(self, (closure,), {"grads": grads})
        return loss

    def _given(self, grads: Any) -> dict[Tensor, Tensor]:
        """Gradients of a pytree by parameter."""
        leaves = [as_tensor(leaf) for leaf in tree_leaves(grads)]
        params = [p for p in self.parameters() if p.requires_grad]
        if len(leaves) != len(params):
            raise ArgumentError(
                self.name,
                "grads has one leaf for each trainable parameter",
                met=f"{len(leaves)} gradients for {len(params)} parameters",
                fix="differentiate with respect to the same parameters that the optimizer has",
            )
        for p, g in zip(params, leaves, strict=True):
            if g.shape != p.shape:
                raise ShapeError(
                    self.name,
                    "a gradient has another shape than its parameter",
                    met=f"{g.shape} for {p.shape}",
                    cause="gradients in another order than the parameters",
                    fix="pass the gradients in the order of the optimizer's parameters",
                )
        return dict(zip(params, leaves, strict=True))

    def _step_all(self, given: Mapping[Tensor, Tensor] | None) -> None:
        """One step of all parameters that have a gradient: their own, or the given one."""
        due = [
            (p, g, group)
            for group in self.param_groups
            for p in group["params"]
            if (g := p.grad if given is None else given.get(p)) is not None and p.size
        ]
        if due:
            counts = self.counts.following([p for p, _, _ in due])
            for p, g, group in due:
                self._step_of(p, g, group, counts.number(p))
            counts.done()

    def _step_of(self, p: Tensor, g: Tensor, group: ParamGroup, step: Any) -> None:
        """One step of one parameter: read the boxes, apply the formula, write the boxes."""
        names = self.slots(group, p)
        boxes = self.state.get(p)
        if boxes is None or any(name not in boxes for name in names):
            boxes = self.open_state(p, group)
        factor = self.modulation.get(p)
        if state.trace is not None or p.is_symbolic or g.is_symbolic:
            self._traced_step(p, g, group, boxes, names, factor, step)
            return
        work = working_dtype(p.dtype)
        slots: Slots = {name: boxes[name]._data for name in names}
        slots["step"] = step
        value, gradient = p._data, g._data
        if value.dtype != work or gradient.dtype != work:
            value, gradient = value.astype(work), gradient.astype(work)
        run = self._in_blocks if self.elementwise and value.size > 2 * _BLOCK else self.advance
        modulation = None if factor is None else factor._data
        new, slots = run(np, value, gradient, slots, group, modulation)
        for name in names:
            boxes[name].assign(Tensor(slots[name]))
        write_parameter(p, Tensor(new))

    def _traced_step(
        self,
        p: Tensor,
        g: Tensor,
        group: ParamGroup,
        boxes: dict[str, Any],
        names: tuple[str, ...],
        factor: Variable | None,
        step: Any,
    ) -> None:
        """The same with tensors, in a trace: the step is recorded as ops."""
        work = working_dtype(p.dtype)
        slots: Slots = {name: Tensor(boxes[name]._data, boxes[name]._node) for name in names}
        slots["step"] = step
        value, options = Tensor(p._data, p._node), group.traced_options()
        new, slots = self.advance(
            traced, cast_to(value, work), cast_to(g, work), slots, options, factor
        )
        for name in names:
            boxes[name].assign(slots[name])
        write_parameter(p, new)

    def advance(
        self, xp: Any, p: Array, g: Array, s: Slots, o: Options, modulation: Array | None = None
    ) -> tuple[Array, Slots]:
        """The new parameter and state."""
        change, s = self._change(xp, p, g, s, o, modulation)
        return p - change, s

    def _change(
        self, xp: Any, p: Array, g: Array, s: Slots, o: Options, modulation: Array | None
    ) -> tuple[Array, Slots]:
        """What is taken from the parameter, and the new state: the formula with all that is common
        to the optimizers.

        Weight decay is either added to the gradient (an L2 penalty), or taken from the parameter
        next to the formula's step ("decoupled", Loshchilov and Hutter 2019).
        """
        if o.get("maximize", False):
            g = -g
        decay, coupled = o.get("weight_decay", 0.0), not o.get("decoupled_weight_decay", False)
        decays = not self.decays_itself and not left_out(decay)
        if decays and coupled:
            g = g + decay * p
        change, s = self.update(xp, p, g, s, o)
        if decays and not coupled:
            change = change + (o["lr"] * decay) * p
        if modulation is not None:
            change = modulation * change
        return change, s

    def _in_blocks(
        self, xp: Any, p: Array, g: Array, s: Slots, o: Options, modulation: Array | None
    ) -> tuple[Array, Slots]:
        """`advance` for a large parameter and an element-wise formula, a cacheful at a time."""
        new = np.empty(p.size, p.dtype)
        slots = {k: np.empty(p.size, v.dtype) for k, v in s.items() if np.shape(v) == p.shape}
        flat = {k: s[k].reshape(-1) for k in slots}
        flat_p, flat_g = p.reshape(-1), g.reshape(-1)
        if modulation is not None:
            modulation = np.broadcast_to(modulation, p.shape).reshape(-1)
        part = s
        for start in range(0, p.size, _BLOCK):
            here = slice(start, start + _BLOCK)
            part = s | {k: v[here] for k, v in flat.items()}
            factor = None if modulation is None else modulation[here]
            change, part = self._change(xp, flat_p[here], flat_g[here], part, o, factor)
            np.subtract(flat_p[here], change, out=new[here])
            for k, v in slots.items():
                v[here] = part[k]
        return new.reshape(p.shape), part | {k: v.reshape(p.shape) for k, v in slots.items()}

    def open_state(self, p: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        """The boxes that hold the state of one parameter, made where they are missing."""
        boxes = self.state.setdefault(p, {})
        like = Spec(p.shape, working_dtype(p.dtype))
        for slot in self.slots(group, p):
            if slot not in boxes:
                boxes[slot] = Variable(self.initial(slot, like, group))
        return boxes

    def export_state(self, p: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        """What a state dict has of one parameter: the present values of its boxes."""
        boxes = self.state[p]
        slots = {s: Tensor(boxes[s]._values("state_dict")) for s in self.slots(group, p)}
        return {"step": Tensor(np.array(self.counts.taken(p))), **slots}

    def import_state(self, p: Tensor, o: Options, given: Mapping[str, Any]) -> dict[str, Any]:
        """The values for the boxes of one parameter, once it is clear that all of them fit."""
        checkpoint.same_entries(self.name, given, ("step", *self.slots(o, p)))
        like = Spec(p.shape, working_dtype(p.dtype))
        arrays = {slot: self.initial(slot, like, o) for slot in self.slots(o, p)}
        arrays["step"] = np.array(0)
        return {
            name: checkpoint.fitting(self.name, name, value, arrays[name])
            for name, value in given.items()
        }

    # -- compiled steps ----------------------------------------------------------------------

    def _compiled_for(self) -> Any:
        boxes = [(id(box) for box in slots.values()) for slots in self.state.values()]
        return [
            *(("group", *group.static_options()) for group in self.param_groups),
            ("parameters", *map(id, self.parameters())),
            ("state", *(b for each in boxes for b in each), *map(id, self.counts.boxes())),
            ("modulation", *(id(m) for m in self.modulation.values())),
            ("hooks", *map(id, self._before), *map(id, self._after)),
            ("schedules", *map(id, self.schedules)),
        ]

    def _named_boxes(self) -> Iterator[tuple[str, Any]]:
        for i, p in enumerate(self.parameters()):
            yield f"parameter {i} of {self.name}", p
            for name, box in self.state.get(p, {}).items():
                yield f"{name} {i} of {self.name}", box
        for box in self.counts.boxes():
            yield f"steps of {self.name}", box
        for i, group in enumerate(self.param_groups):
            for name, follower in group.followers.items():
                each = follower if isinstance(follower, tuple) else (follower,)
                yield from ((f"{name} of {self.name}'s group {i}", box) for box in each)

    # -- hooks -------------------------------------------------------------------------------

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call `hook(optimizer, args, kwargs)` before each step: to clip gradients, say."""
        self._before.append(hook)
        settings_changed()
        return Handle(self._before, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call `hook(optimizer, args, kwargs)` after each step."""
        self._after.append(hook)
        settings_changed()
        return Handle(self._after, hook)

    # -- checkpoints -------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs: a snapshot, in PyTorch's layout.

        `{"state": {i: {slot: tensor}}, "param_groups": [{option: value, "params": [i, …]}],
        "modulation": {i: tensor}}`, parameters numbered in order.
        """
        return checkpoint.state_dict(self)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where the optimizer that gave `state_dict` stood. All is checked before
        anything is changed."""
        checkpoint.load_state_dict(self, state_dict)

    def __repr__(self) -> str:
        lines = [f"{self.name}("]
        for i, group in enumerate(self.param_groups):
            options = ", ".join(
                f"{k}={v!r}" for k, v in group.items() if k not in ("params", "param_names")
            )
            lines.append(f"  group {i}: {len(group['params'])} parameters, {options}")
        return "\n".join([*lines, ")"])


UNBOUND: Any = object()  # in place of params: an optimizer for the functional form, without groups


def working_dtype(dtype: DType) -> DType:
    """The dtype of state and arithmetic: half-precision parameters are updated in float32."""
    return dtype if dtype.itemsize >= 4 else dtypes.float32


def write_parameter(p: Tensor, new: Tensor) -> None:
    """Give a parameter its new value; a plain tracked tensor is a box like any other here."""
    Variable.assign(p, new)  # type: ignore[arg-type]
