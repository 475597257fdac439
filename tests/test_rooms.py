"""Imports run downwards: what each room of the package may import, as docs/architecture.md says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "src" / "wengert"

ARRAYS = {"core", "ops", "transforms", "namespaces"}
ROOMS = {
    "core": set(),
    "errors": {"core"},
    "tree": {"core"},
    "ops": {"core"},
    "transforms": {"core", "ops"},
    "namespaces": {"core", "ops"},
    "system": set(),
    "compiler": ARRAYS | {"system"},
    "random": ARRAYS,
    "linalg": ARRAYS,
    "nn": ARRAYS | {"random", "linalg"},
    "optim": {"core"},
    "data": {"core", "ops", "random"},
    "diagnostics": {"core", "ops", "transforms"},
    "train": ARRAYS | {"random", "nn", "optim", "data", "compiler"},
}
ABOVE = {"__init__", "__main__", "cli", "recipes"}  # may import whatever is public


def modules(folder: Path) -> dict[str, Path]:
    """Dotted name, within the package, of each file."""
    found = {}
    for path in folder.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and parts[:-1] else parts)] = path
    return found


KNOWN = modules(ROOT)


@cache
def imports(path: Path) -> list[tuple[str, bool]]:
    """The modules of the package that a file imports, and whether at once (not in a function, and
    not for types alone)."""

    def walk(node: ast.AST, at_once: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((a.name, at_once) for a in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module:
                for a in child.names:
                    name = f"{child.module}.{a.name}"
                    inner = name.removeprefix("wengert.")
                    yield name if inner in KNOWN else child.module, at_once
            later = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            typing = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            yield from walk(child, at_once and not later and not typing)

    found = walk(ast.parse(path.read_text(encoding="utf-8")), True)
    return [(name, at_once) for name, at_once in found if f"{name}.".startswith("wengert.")]


def test_every_room_is_listed() -> None:
    assert {name.split(".")[0] for name in KNOWN} == {*ROOMS, *ABOVE}


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_what_is_below(room: str) -> None:
    wrong = []
    for name, path in KNOWN.items():
        if name.split(".")[0] != room:
            continue
        for target, at_once in imports(path):
            other = target.removeprefix("wengert").lstrip(".").split(".")[0]
            # Functions may use the package as a whole: its version, its functions.
            allowed = other in (room, *ROOMS[room]) or (other == "" and not at_once)
            if not allowed:
                wrong.append(f"{name} imports {target}")
    assert not wrong


def test_only_the_trainer_and_the_command_line_load_the_compiler_and_late() -> None:
    for name, path in KNOWN.items():
        if name.startswith("compiler"):
            continue
        for target, at_once in imports(path):
            if target.startswith("wengert.compiler"):
                assert name.split(".")[0] in ("__init__", "train", "cli"), name
                assert not at_once, name


def test_modules_of_the_compiler_import_each_other_without_a_cycle() -> None:
    graph = {
        name: {
            target.removeprefix("wengert.")
            for target, at_once in imports(path)
            if at_once and target.startswith("wengert.compiler.")
        }
        for name, path in KNOWN.items()
        if name.startswith("compiler")
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, with the cycle
