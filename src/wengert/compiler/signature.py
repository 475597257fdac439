"""What a call is compiled for: the structure of its arguments, and what each of their leaves is.

* Arrays (tensors, ndarrays, NumPy scalars) are inputs; shape and dtype are part of the signature.
* Variables, modules, optimizers, generators are boxes of state: the signature has their identity.
* All else is static: numbers, strings, None, functions and other hashable values are part of the
  signature, and the function sees them as they are. So a Python number promotes as it does eagerly,
  and may be used for shapes, ranges and `if`.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import ArgumentError
from wengert.core.live import Holder
from wengert.core.spec import Spec
from wengert.core.state import state
from wengert.core.tensor import Tensor
from wengert.core.tree import TreeDef, tree_flatten, tree_paths
from wengert.core.variable import Variable
from wengert.ops.structure import leaf

ARRAY, LEAF, TRACKED = "array", "tracked leaf", "tracked array"


class Static:
    """Marks an argument that static_argnums or static_argnames names: it is a leaf."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


@dataclass
class Signature:
    """One call's arguments as leaves, and the key under which its program is kept.

    `kinds` says for each leaf whether it is an array of some kind (and thus an input) or None.
    """

    leaves: list[Any]
    treedef: TreeDef
    kinds: list[str | None]
    key: tuple[Any, ...]
    entries: tuple[Any, ...] = field(default=())

    @property
    def tracked(self) -> bool:
        """Whether a derivative may be asked for with respect to an argument."""
        return TRACKED in self.kinds or (LEAF in self.kinds and state.recording)

    def without_values(self) -> Signature:
        """The same without the arguments themselves, which are not to be kept alive."""
        return Signature([], self.treedef, self.kinds, self.key, self.entries)

    def array(self, i: int) -> Tensor:
        """Leaf `i` as a tensor; its bytes are in the order of this machine."""
        x = self.leaves[i]
        if isinstance(x, Tensor):
            return x
        a = np.asarray(x)
        return Tensor(a if a.dtype.isnative else a.astype(a.dtype.newbyteorder("=")))


def read(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Signature:
    """The signature of a call."""
    leaves, treedef = tree_flatten((args, kwargs), is_leaf=_is_whole)
    kinds: list[str | None] = []
    entries: list[Any] = []
    for i, leaf_ in enumerate(leaves):
        kind, entry = _entry(leaf_)
        if entry is None:
            raise _unusable(args, kwargs, i, leaf_)
        kinds.append(kind)
        entries.append(entry)
    mode = (state.recording, dtypes.default_float())
    return Signature(leaves, treedef, kinds, (treedef, tuple(entries), mode), tuple(entries))


def _is_whole(value: Any) -> bool:
    return isinstance(value, Static) or (isinstance(value, Holder) and value._is_in_place())


def _entry(x: Any) -> tuple[str | None, Any]:
    """What kind of array a leaf is, and what the key has of it; None where it cannot be a key."""
    if isinstance(x, Variable):
        return None, ("variable", id(x))
    if isinstance(x, Tensor):
        kind = ARRAY
        if x._node is not None:
            leaf_ = x._node.op is leaf and not x.is_symbolic
            kind = LEAF if leaf_ else TRACKED
        held = kind == LEAF and x._node is not None and x._node.grad is not None
        return kind, (kind, tuple(x.shape), x.dtype, held)
    if isinstance(x, np.ndarray) or (isinstance(x, np.generic) and x.__class__ is not np.float64):
        dtype = x.dtype if x.dtype.isnative else x.dtype.newbyteorder("=")
        return ARRAY, (ARRAY, x.shape, dtype, False)
    if isinstance(x, Holder):
        return None, (type(x).__name__, id(x))
    return None, static_entry(x.value if isinstance(x, Static) else x)


def static_entry(value: Any) -> Any:
    """What the key has of a static value; None if it is not hashable."""
    if isinstance(value, float):  # 0.0 and -0.0 are different programs, NaN is itself
        return type(value), repr(value)
    try:
        hash(value)
    except TypeError:
        return None
    return type(value), value


def _unusable(args: tuple[Any, ...], kwargs: dict[str, Any], i: int, value: Any) -> ArgumentError:
    return ArgumentError(
        "jit",
        f"{place_of((args, kwargs), i)} is neither an array nor hashable",
        met=type(value.value if isinstance(value, Static) else value).__name__,
        cause="an object that holds arrays, or a list or array named in static_argnums",
        fix="pass its arrays, register its class with wg.tree.register_pytree_node, or give it "
        "__hash__ and __eq__",
    )


def parameter_names(f: Any) -> tuple[str, ...]:
    """The names of a function's positional parameters, as far as they can be told."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return ()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = tuple(p.name for p in parameters if p.kind in kinds)
    bound = hasattr(f, "__self__") and not inspect.ismethod(f)  # `self` is still in its signature
    return names[1:] if bound else names


def place_of(args_and_kwargs: Any, i: int) -> str:
    """How to write the place of leaf `i`: "[0]['w']" or "['bias']"."""
    paths = places(args_and_kwargs)
    return paths[i]


def places(args_and_kwargs: Any, names: Sequence[str] = ()) -> list[str]:
    """How to write the place of each leaf of a call's arguments, with the parameters' names."""
    args, kwargs = args_and_kwargs
    found = []
    for i, arg in enumerate(args):
        name = names[i] if i < len(names) else f"argument {i}"
        found += [name + path for path in _paths(arg)]
    for key in sorted(kwargs):
        found += [key + path for path in _paths(kwargs[key])]
    return found


def _paths(value: Any) -> list[str]:
    if _is_whole(value):
        return [""]
    leaves, _ = tree_flatten(value, is_leaf=_is_whole)
    paths = tree_paths(value)
    return paths if len(paths) == len(leaves) else [f"[leaf {i}]" for i in range(len(leaves))]


def describe(entry: Any) -> str:
    """An entry of a key, as a reader wants it."""
    if isinstance(entry, str):
        return entry
    if entry[0] in (ARRAY, LEAF, TRACKED):
        kind, shape, dtype, _ = entry
        return repr(Spec(shape, dtype)) + ("" if kind == ARRAY else f" ({kind})")
    if isinstance(entry[0], str):
        return f"another {entry[0]}"
    kind, value = entry
    return value if issubclass(kind, float) else repr(value)
