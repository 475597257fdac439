"""A module as a pytree: its leaves are the values of its trainable parameters.

* `tree_leaves(model)` gives one leaf for each parameter that requires a gradient, in the order of
  `named_parameters()`; a parameter that stands at several places (tied weights) is one leaf.
* A leaf is the parameter's *value* (a tensor that is not tracked), not the box: derivatives with
  respect to a model start from its values and leave the boxes' own `.grad` alone.
* `unflatten` makes a structural copy: new module objects of the same classes, with the leaves in
  the places of the trainable parameters. All else is shared with the original: settings, hooks,
  frozen parameters and buffers. So batch statistics that are updated in a copy's forward pass
  update the model, and `wg.grad` of a model gives a copy that holds gradients: `grads.fc.weight`.
* Two modules have the same structure if they are of one class and have the same trainable
  parameters at the same places. Settings, mode (`train`, `eval`), buffers and frozen values take no
  part in the comparison: they come from the first tree. (So a cache of compiled functions must
  look at them as well.)
"""

from __future__ import annotations

from typing import Any

from wengert.core.tensor import Tensor
from wengert.core.tree import register_pytree_node
from wengert.core.variable import Parameter, Variable
from wengert.nn.module import Module
from wengert.nn.owner import MODULE, PARAMETER

Place = tuple[str, str]  # path of the owner, name in it


class Template:
    """What is needed besides the leaves to rebuild a module: the module that was flattened, and
    the places that each leaf stands at."""

    __slots__ = ("module", "places")

    def __init__(self, module: Module, places: tuple[tuple[Place, ...], ...]) -> None:
        self.module, self.places = module, places

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Template)
            and type(self.module) is type(other.module)
            and self.places == other.places
        )

    def __hash__(self) -> int:
        return hash((type(self.module), self.places))

    def __repr__(self) -> str:
        return type(self.module).__name__


def flatten(root: Module) -> tuple[list[Any], Template]:
    """Leaves of a module, and the template that puts such leaves back."""
    leaves: list[Any] = []
    places: list[list[Place]] = []
    known: dict[int, int] = {}
    for path, module in root.named_modules():
        for name, kind in module._members.items():
            value = module.__dict__[name]
            if kind != PARAMETER or value is None or _is_frozen(value):
                continue
            key = id(module._ties.get(name, value))
            if key in known and module._identifies(name):
                places[known[key]].append((path, name))
                continue
            if module._identifies(name):
                known[key] = len(leaves)
            leaves.append(_value_of(value))
            places.append([(path, name)])
    return leaves, Template(root, tuple(map(tuple, places)))


def _is_frozen(value: Any) -> bool:
    return isinstance(value, Parameter) and not value.requires_grad


def _value_of(value: Any) -> Any:
    if isinstance(value, Variable):
        return Tensor(value._data, value._node if value.is_symbolic else None)
    return value


def unflatten(template: Template, leaves: list[Any]) -> Module:
    """A structural copy of the template's module with other leaves."""
    copies: dict[int, Module] = {}
    root = copy_structure(template.module, copies)
    by_path = dict(root.named_modules())
    for places, leaf in zip(template.places, leaves, strict=True):
        tie = object() if len(places) > 1 else None
        for path, name in places:
            owner = by_path[path]
            owner.__dict__[name] = leaf
            if tie is not None:
                owner.__dict__["_ties"] = {**owner._ties, name: tie}
    return root


def copy_structure(module: Module, copies: dict[int, Module]) -> Module:
    """New module objects with the same contents; one that stands twice is copied once."""
    copied = object.__new__(type(module))
    copies[id(module)] = copied
    own = copied.__dict__
    own.update(module.__getstate__())
    own["_members"] = dict(module._members)
    own.pop("_ties", None)
    for name, kind in module._members.items():
        part = module.__dict__[name]
        if kind == MODULE and part is not None:
            known = copies.get(id(part))
            own[name] = copy_structure(part, copies) if known is None else known
    return copied


def _names(module: Module) -> list[str]:
    _, template = flatten(module)
    return ["." + ".".join(filter(None, places[0])) for places in template.places]


register_pytree_node(Module, flatten, unflatten, _names)
