"""Pytrees: nested containers whose leaves are tensors, arrays, numbers or anything else.

Lists, tuples, named tuples, dicts (keys in sorted order; an `OrderedDict`'s in its own) and None
(no leaf) are containers; `register_pytree_node` adds a class. Modules register themselves, so a
model is a pytree.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from wengert.core.errors import ArgumentError

Flatten = Callable[[Any], tuple[Iterable[Any], Any]]
Unflatten = Callable[[Any, list[Any]], Any]


class _Container(NamedTuple):
    flatten: Flatten  # value → (children, what else is needed to rebuild it)
    unflatten: Unflatten  # (what else, children) → value
    names: Callable[[Any], list[str]]  # value → how to write each child's place


@dataclass(frozen=True)
class TreeDef:
    """The structure of a pytree without its leaves. Equal structures compare equal."""

    kind: type | None  # None: a leaf
    aux: Any
    children: tuple[TreeDef, ...]
    num_leaves: int

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        """The tree with these leaves."""
        leaves = list(leaves)
        if len(leaves) != self.num_leaves:
            raise ArgumentError(
                "tree_unflatten",
                "wrong number of leaves",
                met=f"{len(leaves)} for {self.num_leaves}",
                fix="pass one leaf a place",
            )
        return self._build(iter(leaves))

    def _build(self, leaves: Any) -> Any:
        if self.kind is None:
            return next(leaves)
        children = [child._build(leaves) for child in self.children]
        return _REGISTRY[self.kind].unflatten(self.aux, children)

    def __repr__(self) -> str:
        if self.kind is None:
            return "*"
        inside = ", ".join(map(repr, self.children))
        return f"{self.kind.__name__}({inside})"


LEAF = TreeDef(None, None, (), 1)

_REGISTRY: dict[type, _Container] = {
    list: _Container(
        lambda v: (v, None), lambda _, c: c, lambda v: [f"[{i}]" for i in range(len(v))]
    ),
    tuple: _Container(
        lambda v: (v, None), lambda _, c: tuple(c), lambda v: [f"[{i}]" for i in range(len(v))]
    ),
    type(None): _Container(lambda v: ((), None), lambda _, c: None, lambda v: []),
    dict: _Container(
        lambda v: ([v[k] for k in _keys(v)], _keys(v)),
        lambda keys, c: dict(zip(keys, c, strict=True)),
        lambda v: [f"[{k!r}]" for k in _keys(v)],
    ),
    OrderedDict: _Container(
        lambda v: (v.values(), tuple(v)),
        lambda keys, c: OrderedDict(zip(keys, c, strict=True)),
        lambda v: [f"[{k!r}]" for k in v],
    ),
    defaultdict: _Container(
        lambda v: ([v[k] for k in _keys(v)], (v.default_factory, _keys(v))),
        lambda aux, c: defaultdict(aux[0], zip(aux[1], c, strict=True)),
        lambda v: [f"[{k!r}]" for k in _keys(v)],
    ),
}


def _keys(mapping: dict[Any, Any]) -> tuple[Any, ...]:
    try:
        return tuple(sorted(mapping))
    except TypeError:  # keys of several types have no order: keep the given one
        return tuple(mapping)


def register_pytree_node(
    kind: type,
    flatten: Flatten,
    unflatten: Unflatten,
    names: Callable[[Any], list[str]] | None = None,
) -> None:
    """Make a class a pytree container: `flatten(v) -> (children, aux)`, `unflatten(aux, children)`.

    `aux` must compare by value; `names(v)` gives the children's places for messages.
    """
    numbered: Callable[[Any], list[str]] = lambda v: [
        f"[{i}]" for i in range(len(list(flatten(v)[0])))
    ]
    _REGISTRY[kind] = _Container(flatten, unflatten, names or numbered)


def _find(value: Any) -> tuple[type, _Container] | None:
    kind = type(value)
    entry = _REGISTRY.get(kind)
    if entry is not None:
        return kind, entry
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        register_pytree_node(
            kind, lambda v: (v, None), lambda _, c: kind(*c), lambda v: [f".{n}" for n in v._fields]
        )
        return kind, _REGISTRY[kind]
    for base in kind.__mro__[1:-1]:
        if base in _REGISTRY:
            _REGISTRY[kind] = _REGISTRY[base]
            return kind, _REGISTRY[base]
    return None


def tree_flatten(
    tree: Any, is_leaf: Callable[[Any], bool] | None = None
) -> tuple[list[Any], TreeDef]:
    """The leaves of a tree, left to right, and its structure.

    >>> import wengert as wg
    >>> wg.tree.tree_flatten({"b": 1, "a": (2, 3)})
    ([2, 3, 1], dict(tuple(*, *), *))
    """
    leaves: list[Any] = []
    definition = _flatten_into(leaves, tree, is_leaf)
    return leaves, definition


def _flatten_into(leaves: list[Any], value: Any, is_leaf: Callable[[Any], bool] | None) -> TreeDef:
    # Not a closure that calls itself: that would be a reference cycle, which keeps the leaves.
    found = None if is_leaf is not None and is_leaf(value) else _find(value)
    if found is None:
        leaves.append(value)
        return LEAF
    kind, entry = found
    before = len(leaves)
    children, aux = entry.flatten(value)
    kids = tuple([_flatten_into(leaves, child, is_leaf) for child in children])
    return TreeDef(kind, aux, kids, len(leaves) - before)


def tree_unflatten(definition: TreeDef, leaves: Iterable[Any]) -> Any:
    """The tree of this structure with these leaves."""
    return definition.unflatten(leaves)


def tree_leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[Any]:
    """The leaves of a tree, left to right."""
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: Any) -> TreeDef:
    """The structure of a tree."""
    return tree_flatten(tree)[1]


def tree_map(
    f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: Callable[[Any], bool] | None = None
) -> Any:
    """Apply `f` to the leaves of one tree, or of several trees of the same structure.

    >>> import wengert as wg
    >>> wg.tree.tree_map(lambda a, b: a + b, [1, (2,)], [10, (20,)])
    [11, (22,)]
    """
    leaves, definition = tree_flatten(tree, is_leaf)
    columns = [leaves]
    for other in rest:
        others, other_definition = tree_flatten(other, is_leaf)
        if other_definition != definition:
            raise ArgumentError(
                "tree_map",
                "the trees have different structures",
                met=f"{definition} and {other_definition}",
                fix="pass trees of one structure",
            )
        columns.append(others)
    return definition.unflatten(f(*group) for group in zip(*columns, strict=True))


def tree_paths(tree: Any) -> list[str]:
    """How to write the place of each leaf: `tree_paths({"a": [1, 2]}) == ["['a'][0]", …]`."""
    found = _find(tree)
    if found is None:
        return [""]
    children, _ = found[1].flatten(tree)
    return [
        name + path
        for name, child in zip(found[1].names(tree), children, strict=True)
        for path in tree_paths(child)
    ]
