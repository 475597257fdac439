"""Modules that hold modules or parameters: sequences, lists, dicts, residual connections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, overload

from wengert.core.errors import ArgumentError, BoundsError
from wengert.core.tensor import Tensor
from wengert.core.variable import Parameter
from wengert.nn.module import Module
from wengert.nn.owner import MODULE, PARAMETER

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Residual", "Sequential"]


class _Numbered(Module):
    """Base of the containers whose parts are numbered "0", "1", …: `_kind` says what they hold."""

    _kind = MODULE

    def _names(self) -> list[str]:
        return [name for name, kind in self._members.items() if kind == self._kind]

    def _items(self) -> list[Any]:
        return [self.__dict__[name] for name in self._names()]

    def _replace(self, items: Iterable[Any]) -> None:
        """Hold these parts and no others, numbered from 0."""
        for name in self._names():
            delattr(self, name)
        for i, item in enumerate(items):
            self._put(str(i), item)

    def _put(self, name: str, item: Any) -> None:
        if self._kind == MODULE:
            self.add_module(name, item)
        else:
            self._register(name, _as_parameter(item), PARAMETER)

    def _name_at(self, index: int) -> str:
        names = self._names()
        if not isinstance(index, int) or not -len(names) <= index < len(names):
            raise BoundsError(
                type(self).__name__,
                "no part has this number",
                met=f"{index!r} of {len(names)}",
                fix=f"use -{len(names)} to {len(names) - 1}" if names else "it is empty",
            )
        return names[index]

    def __len__(self) -> int:
        return len(self._names())

    def __bool__(self) -> bool:
        return True  # an empty container is a module like any other

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items())

    def __contains__(self, item: Any) -> bool:
        return any(item is own for own in self._items())

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            chosen = self._empty()
            chosen._replace(self._items()[index])
            return chosen
        return self.__dict__[self._name_at(index)]

    def _empty(self) -> Self:
        """A container of the same class without parts, in the same mode."""
        return type(self)().train(self.training)

    def __setitem__(self, index: int, item: Any) -> None:
        self._put(self._name_at(index), item)

    def __delitem__(self, index: int | slice) -> None:
        items = self._items()
        if isinstance(index, int):
            self._name_at(index)
        del items[index]
        self._replace(items)

    def append(self, item: Any) -> Self:
        """Add a part at the end; returns the container."""
        self._put(str(len(self)), item)
        return self

    def extend(self, items: Iterable[Any]) -> Self:
        """Add several parts at the end; returns the container."""
        for item in list(items):
            self.append(item)
        return self

    def insert(self, index: int, item: Any) -> Self:
        """Add a part before another; returns the container."""
        items = self._items()
        items.insert(index, item)
        self._replace(items)
        return self

    def pop(self, index: int = -1) -> Any:
        """Take a part out and return it."""
        item = self[index]
        del self[index]
        return item


class Sequential(_Numbered):
    """Modules run one after the other, each on the result of the one before.

    Takes modules, or one mapping of names to modules. Parts are reached by number, by name and
    by slice.

    >>> import wengert as wg
    >>> model = wg.nn.Sequential(wg.nn.Linear(4, 8), wg.nn.ReLU(), wg.nn.Linear(8, 2))
    >>> model(wg.ones((5, 4))).shape, model[-1].out_features, len(model[:2])
    ((5, 2), 2, 2)
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.add_module(name, module)
        else:
            for i, module in enumerate(modules):
                self.add_module(str(i), module)

    def forward(self, x: Any) -> Any:
        for module in self._items():
            x = module(x)
        return x

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):  # keeps the names
            chosen = self._empty()
            for name in self._names()[index]:
                chosen.add_module(name, self.__dict__[name])
            return chosen
        return super().__getitem__(index)


class ModuleList(_Numbered):
    """A list of modules, all of which the model knows; it computes nothing itself.

    >>> import wengert as wg
    >>> layers = wg.nn.ModuleList([wg.nn.Linear(2, 2) for _ in range(3)])
    >>> len(layers), [name for name, _ in layers.named_parameters()][:2]
    (3, ['0.weight', '0.bias'])
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)


class ParameterList(_Numbered):
    """A list of parameters, all of which the model knows. Arrays become parameters.

    >>> import wengert as wg
    >>> scales = wg.nn.ParameterList([wg.ones(2), wg.zeros(3)])
    >>> [tuple(p.shape) for p in scales.parameters()]
    [(2,), (3,)]
    """

    _kind = PARAMETER

    def __init__(self, values: Iterable[Any] = ()) -> None:
        super().__init__()
        self.extend(values)

    def __iadd__(self, values: Iterable[Any]) -> Self:
        return self.extend(values)

    def extra_repr(self) -> str:
        return ", ".join(str(tuple(p.shape)) for p in self._items())


class _Keyed(Module):
    """Base of the containers whose parts have names: `_kind` says what they hold."""

    _kind = MODULE

    def __init__(self, items: Any = None) -> None:
        super().__init__()
        self.update(items or {})

    def _put(self, key: str, item: Any) -> None:
        if self._kind == MODULE:
            self.add_module(key, item)
        else:
            self._register(key, _as_parameter(item), PARAMETER)

    def keys(self) -> list[str]:
        """The names, in order of insertion."""
        return [name for name, kind in self._members.items() if kind == self._kind]

    def values(self) -> list[Any]:
        """The parts, in order of insertion."""
        return [self.__dict__[name] for name in self.keys()]

    def items(self) -> list[tuple[str, Any]]:
        """Pairs of name and part, in order of insertion."""
        return [(name, self.__dict__[name]) for name in self.keys()]

    @overload
    def update(self, items: Mapping[str, Any]) -> None: ...
    @overload
    def update(self, items: Iterable[tuple[str, Any]]) -> None: ...
    def update(self, items: Any) -> None:
        """Add or replace parts: a mapping, or pairs of name and part."""
        pairs = items.items() if hasattr(items, "items") else items
        for key, item in pairs:
            self._put(key, item)

    def pop(self, key: str) -> Any:
        """Take a part out and return it."""
        item = self[key]
        delattr(self, key)
        return item

    def clear(self) -> None:
        """Take all parts out."""
        for key in self.keys():
            delattr(self, key)

    def __getitem__(self, key: str) -> Any:
        if key not in self.keys():
            raise BoundsError(
                type(self).__name__,
                "no part has this name",
                met=repr(key),
                fix="it has: " + (", ".join(self.keys()) or "nothing"),
            )
        return self.__dict__[key]

    def __setitem__(self, key: str, item: Any) -> None:
        self._put(key, item)

    def __delitem__(self, key: str) -> None:
        self.pop(key)

    def __len__(self) -> int:
        return len(self.keys())

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, key: object) -> bool:
        return key in self.keys()


class ModuleDict(_Keyed):
    """Modules by name, all of which the model knows; it computes nothing itself.

    >>> import wengert as wg
    >>> heads = wg.nn.ModuleDict({"age": wg.nn.Linear(4, 1), "kind": wg.nn.Linear(4, 3)})
    >>> heads["kind"](wg.ones(4)).shape
    (3,)
    """


class ParameterDict(_Keyed):
    """Parameters by name, all of which the model knows. Arrays become parameters.

    >>> import wengert as wg
    >>> consts = wg.nn.ParameterDict({"mass": wg.asarray(1.5), "charge": wg.asarray(-1.0)})
    >>> consts.num_parameters(), float(consts["mass"])
    (2, 1.5)
    """

    _kind = PARAMETER

    def extra_repr(self) -> str:
        return ", ".join(f"{key}: {tuple(p.shape)}" for key, p in self.items())


class Residual(Module):
    """Adds its input to the result of a module: x + f(x), or shortcut(x) + f(x).

    He, Zhang, Ren, Sun 2016.

    >>> import wengert as wg
    >>> wg.nn.Residual(wg.nn.ReLU())(wg.asarray([-1.0, 2.0]))
    Tensor([-1.,  4.], dtype=float32)
    """

    def __init__(self, module: Module, shortcut: Module | None = None) -> None:
        super().__init__()
        self.module = module
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        changed = self.module(x)
        base = x if self.shortcut is None else self.shortcut(x)
        if changed.shape != base.shape:
            raise ArgumentError(
                "Residual",
                "the module must keep the shape of its input",
                met=f"{changed.shape} from {base.shape}",
                fix="pass shortcut=, a module that brings the input to that shape",
            )
        total: Tensor = base + changed
        return total


def _as_parameter(value: Any) -> Parameter | None:
    return value if value is None or isinstance(value, Parameter) else Parameter(value)
