"""`Owner`: what makes an object's parameters, buffers and submodules known by name.

The things themselves are ordinary attributes, as fast as any; beside them stands one table, name →
what it is, in order of registration. All walks over a model read that table.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from wengert.core import live
from wengert.core.errors import ArgumentError, DtypeError, StateError
from wengert.core.state import state
from wengert.core.tensor import Tensor, as_tensor
from wengert.core.variable import Parameter, Variable

if TYPE_CHECKING:
    from wengert.nn.module import Module

PARAMETER, BUFFER, TRANSIENT, MODULE = "parameter", "buffer", "transient buffer", "module"


class _Structure:
    """A number that changes whenever any owner gains or loses a submodule; caches compare it."""

    tick = itertools.count(1).__next__
    version = 0


def structure_version() -> int:
    """See `_Structure`."""
    return _Structure.version


def structure_changed() -> None:
    """Let caches of paths know."""
    _Structure.version = _Structure.tick()


class Owner(live.Holder):
    """Base of `Module`: registration by assignment, and walks over what was registered."""

    _members: dict[str, str]  # name → PARAMETER, BUFFER, TRANSIENT or MODULE
    _ties: dict[str, object] = {}  # in pytree copies: marks of values that stand at several places

    def __init__(self) -> None:
        object.__setattr__(self, "_members", {})
        if state.trace is not None:
            state.trace.on_new_holder(self)

    # -- registration ------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, (Variable, Owner)):
            members = self._members_or_error()
            if name not in members:
                self.__dict__.pop(name, None)  # an ordinary attribute, such as None, gives way
            self._register(name, value, _kind_of(value, members.get(name)))
        elif name in self.__dict__.get("_members", ()):
            self._reassign(name, value)
        else:
            if isinstance(value, (list, tuple, dict)):
                _warn_of_hidden(type(self).__name__, name, value)
            self._set(name, value)

    def _set(self, name: str, value: Any) -> None:
        """Change an attribute that is no box: compiled programs may rely on it."""
        if state.trace is not None:
            state.trace.on_setting(self, name)
        object.__setattr__(self, name, value)
        live.settings_changed()

    def _compiled_for(self) -> Any:
        found: list[Any] = []
        for name, value in self.__dict__.items():
            if name in ("_members", "_paths", "_ties"):
                continue
            if isinstance(value, Variable):
                found.append((name, id(value), value._node is not None, value.dtype))
            else:
                found.append((name, live.fingerprint(value)))
        return found

    def _holders(self) -> list[live.Holder]:
        return list(self.modules())

    def _named_boxes(self) -> Iterator[tuple[str, Any]]:
        return itertools.chain(self.named_parameters(), self.named_buffers())

    def _is_in_place(self) -> bool:
        return all(isinstance(p, Variable) for p in self.parameters())

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        if self._members.pop(name, None) == MODULE:
            structure_changed()

    def _members_or_error(self) -> dict[str, str]:
        members: dict[str, str] | None = self.__dict__.get("_members")
        if members is None:
            raise StateError(
                type(self).__name__,
                "parameters and modules cannot be assigned yet",
                cause="__init__ of the class does not start with super().__init__()",
                fix="call super().__init__() first",
            )
        return members

    def _register(self, name: str, value: Any, kind: str) -> None:
        members = self._members_or_error()
        if not isinstance(name, str) or not name or "." in name:
            raise ArgumentError(
                type(self).__name__,
                f"not a name for a {kind}",
                met=repr(name),
                cause="names are joined by dots, so they hold none themselves",
                fix="use a plain, non-empty name",
            )
        taken = name in self.__dict__ or getattr(type(self), name, None) is not None
        if taken and name not in members:
            raise ArgumentError(
                type(self).__name__,
                f"the {kind} would hide an attribute of the module",
                met=repr(name),
                fix="choose another name, or delete the attribute first",
            )
        if kind == MODULE or members.get(name) == MODULE:
            structure_changed()
        if state.trace is not None:
            state.trace.on_setting(self, name)
        live.settings_changed()
        members[name] = kind
        object.__setattr__(self, name, value)

    def _reassign(self, name: str, value: Any) -> None:
        """`self.name = value` for a registered name and a value that is no box."""
        kind = self._members[name]
        box = self.__dict__[name]
        if value is None:
            if kind == MODULE:
                structure_changed()
            object.__setattr__(self, name, None)
        elif kind in (BUFFER, TRANSIENT) and _is_array(value):
            if isinstance(box, Variable):
                box.assign(value)
            else:
                object.__setattr__(self, name, Variable(value))
        else:
            raise DtypeError(
                type(self).__name__,
                f"{name!r} is registered as a {kind}",
                met=f"a {type(value).__name__}",
                fix=f"use self.{name}.assign(value) inside wg.no_grad(), or nn.Parameter(value)"
                if kind == PARAMETER
                else f"assign a {'Module' if kind == MODULE else 'tensor'}, or `del` it first",
            )

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Register a parameter under a name; None keeps the name for a parameter left out."""
        if param is not None and not isinstance(param, Parameter):
            raise DtypeError(
                "register_parameter",
                f"{name!r} must be a Parameter or None",
                met=type(param).__name__,
                fix="wrap it: nn.Parameter(value)",
            )
        self._register(name, param, PARAMETER)

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Register state that is not trained, held as a `Variable`.

        `persistent` decides whether it is part of `state_dict`. Assigning a tensor to the
        attribute later writes into the variable (shape and dtype stay).
        """
        if tensor is not None and not isinstance(tensor, Variable):
            tensor = Variable(as_tensor(tensor))
        self._register(name, tensor, BUFFER if persistent else TRANSIENT)

    def add_module(self, name: str, module: Module | None) -> None:
        """Register a submodule under a name."""
        if module is not None and not isinstance(module, Owner):
            raise DtypeError(
                type(self).__name__,
                f"part {name!r} is not a module",
                met=repr(module),
                cause="a function or a class in place of a module object",
                fix="pass an instance of nn.Module, such as nn.ReLU()",
            )
        self._register(name, module, MODULE)

    register_module = add_module

    # -- what is inside ----------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The direct submodules with their names, each once."""
        seen: set[int] = set()
        for name, kind in self._members.items():
            module = self.__dict__[name]
            if kind == MODULE and module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """The direct submodules, each once."""
        return (module for _, module in self.named_children())

    def named_modules(
        self, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module (under `prefix`) and all below it, parents first, with dotted paths.

        A module that stands at several places is given once, at the first of them, unless
        `remove_duplicate` is False.
        """
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, cast("Module", self))]
        while stack:
            path, module = stack.pop()
            if id(module) in seen:
                continue
            if remove_duplicate:
                seen.add(id(module))
            yield path, module
            dot = path + "." if path else ""
            parts = [
                (dot + name, module.__dict__[name])
                for name, kind in module._members.items()
                if kind == MODULE and module.__dict__[name] is not None
            ]
            stack.extend(reversed(parts))

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def _named(
        self,
        *kinds: tuple[str, ...],
        prefix: str = "",
        recurse: bool = True,
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Any]]:
        """Values of some kinds with their paths, in each module those of the first group of kinds
        first; tied ones once, unless told otherwise."""
        seen: set[int] = set()
        owners: Iterable[tuple[str, Owner]] = [(prefix, self)]
        if recurse:
            owners = self.named_modules(prefix, remove_duplicate)
        for path, module in owners:
            dot = path + "." if path else ""
            names = [n for group in kinds for n, kind in module._members.items() if kind in group]
            for name in names:
                value = module.__dict__[name]
                if value is None:
                    continue
                key = id(module._ties.get(name, value))
                if not remove_duplicate or key not in seen or not module._identifies(name):
                    seen.add(key)
                    yield dot + name, value

    def _identifies(self, name: str) -> bool:
        """Whether a value's identity says that it is the same parameter as another. Boxes do; a
        plain value in a pytree copy does not (two gradients may be one and the same zero)."""
        return name in self._ties or isinstance(self.__dict__[name], Variable)

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The parameters with their dotted paths; a tied one once, at its first place."""
        return self._named(
            (PARAMETER,), prefix=prefix, recurse=recurse, remove_duplicate=remove_duplicate
        )

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, trained and frozen; a tied one once."""
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Variable]]:
        """The buffers, persistent or not, with their dotted paths."""
        return self._named(
            (BUFFER, TRANSIENT), prefix=prefix, recurse=recurse, remove_duplicate=remove_duplicate
        )

    def buffers(self, recurse: bool = True) -> Iterator[Variable]:
        """The buffers."""
        return (b for _, b in self.named_buffers(recurse=recurse))

    def _find(self, path: str, kinds: tuple[str, ...]) -> Any:
        found: Any = self
        for i, name in enumerate(path.split(".") if path else ()):
            inside = isinstance(found, Owner) and name in found._members
            if not inside or found.__dict__[name] is None:
                at = ".".join(path.split(".")[:i]) or type(self).__name__
                names = ", ".join(found._members) if isinstance(found, Owner) else "nothing"
                raise ArgumentError(
                    type(self).__name__,
                    f"there is no {name!r} in {at}",
                    met=repr(path),
                    fix=f"it has: {names or 'nothing'}",
                )
            kind, found = found._members[name], found.__dict__[name]
        if path and kind not in kinds:
            raise ArgumentError(
                type(self).__name__,
                f"{path!r} is a {kind}, not a {kinds[0]}",
                fix="use get_submodule, get_parameter or get_buffer, whichever fits",
            )
        return found

    def get_submodule(self, target: str) -> Module:
        """The module at a dotted path; "" is the module itself."""
        found: Module = self._find(target, (MODULE,))
        return found

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted path."""
        found: Parameter = self._find(target, (PARAMETER,))
        return found

    def get_buffer(self, target: str) -> Variable:
        """The buffer at a dotted path."""
        found: Variable = self._find(target, (BUFFER, TRANSIENT))
        return found


def _kind_of(value: Any, before: str | None) -> str:
    """What a value is registered as; a buffer stays out of the state if its name was."""
    if isinstance(value, Owner):
        return MODULE
    if isinstance(value, Parameter):
        return PARAMETER
    return TRANSIENT if before == TRANSIENT else BUFFER


def _is_array(value: Any) -> bool:
    return isinstance(value, (Tensor, bool, int, float)) or hasattr(value, "__array__")


def _warn_of_hidden(kind: str, name: str, value: Any) -> None:
    """Modules in a plain list are found by nobody: say so."""
    inside = value.values() if isinstance(value, dict) else value
    if any(isinstance(v, (Owner, Parameter)) for v in inside):
        warnings.warn(
            f"[{kind}] {name!r} is a plain {type(value).__name__} of modules or parameters, which "
            "parameters(), state_dict() and transforms do not see; "
            "fix: use nn.ModuleList, nn.ModuleDict or nn.ParameterList",
            UserWarning,
            stacklevel=3,
        )
