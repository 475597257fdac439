"""Pytrees: every container comes back as what it was."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import Any, NamedTuple

import pytest

import wengert as wg
from wengert.core.errors import ArgumentError
from wengert.tree import tree_flatten, tree_leaves, tree_map, tree_paths, tree_structure


class Point(NamedTuple):
    x: Any
    y: Any


TREES = [
    [1, (2, 3)],
    Point(1, [2, None]),
    {"b": 2, "a": 1},
    {1: 1, "a": 2},
    OrderedDict(b=1, a=2),
    defaultdict(list, b=2, a=1),
    None,
    [],
    7,
]


@pytest.mark.parametrize("tree", TREES, ids=repr)
def test_flatten_and_back(tree: Any) -> None:
    leaves, definition = tree_flatten(tree)
    back = definition.unflatten(leaves)
    assert back == tree
    assert type(back) is type(tree)
    assert leaves == sorted(leaves)
    assert len(tree_paths(tree)) == len(leaves)
    assert tree_structure(back) == definition


def test_dicts_keep_their_kind() -> None:
    ordered = tree_map(lambda v: -v, OrderedDict(b=1, a=2))
    assert list(ordered.items()) == [("b", -1), ("a", -2)]
    assert tree_leaves({"b": 1, "a": 2}) == [2, 1]
    counts = tree_map(lambda v: -v, defaultdict(int, a=1))
    assert counts["missing"] == 0
    slopes = wg.grad(lambda p: p["b"] ** 2 * p["a"])(OrderedDict(b=3.0, a=2.0))
    assert isinstance(slopes, OrderedDict)
    assert [(k, float(v)) for k, v in slopes.items()] == [("b", 12.0), ("a", 9.0)]


def test_structures_must_agree() -> None:
    with pytest.raises(ArgumentError, match="different structures"):
        tree_map(lambda a, b: a, [1, 2], (1, 2))
    with pytest.raises(ArgumentError, match="different structures"):
        tree_map(lambda a, b: a, OrderedDict(a=1, b=2), OrderedDict(b=2, a=1))
