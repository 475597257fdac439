"""The reference documents every public name, and the documentation has no page that is nowhere."""

from __future__ import annotations

import importlib
import inspect
import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import wengert as wg
from wengert.core.methods import ArrayMethods

DOCS = Path(__file__).parent.parent / "docs"
SPACES = (
    "wengert",
    "wengert.data",
    "wengert.diagnostics",
    "wengert.errors",
    "wengert.linalg",
    "wengert.nn",
    "wengert.nn.functional",
    "wengert.nn.init",
    "wengert.optim",
    "wengert.random",
    "wengert.train",
    "wengert.tree",
)


def public(space: Any) -> dict[str, Any]:
    """The names that a module offers, but for its submodules."""
    names = getattr(space, "__all__", None) or [n for n in dir(space) if not n.startswith("_")]
    found = {name: getattr(space, name) for name in names}
    return {name: x for name, x in found.items() if not isinstance(x, ModuleType)}


def resolve(path: str) -> Any:
    """The object at a dotted path."""
    parts = path.split(".")
    for i in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:i]))
        except ImportError:
            continue
        for name in parts[i:]:
            found = getattr(found, name)
        return found
    raise ImportError(path)


@cache
def pages() -> str:
    """The text of all reference pages."""
    return "\n".join(p.read_text(encoding="utf-8") for p in sorted(DOCS.glob("reference/*.md")))


@cache
def documented() -> dict[str, list[Any]]:
    """Name → the objects of that name which a `:::` of a reference page shows."""
    found: dict[str, list[Any]] = {}
    for path in re.findall(r"^::: (\S+)$", pages(), re.M):
        shown = resolve(path)
        entries = public(shown) if isinstance(shown, ModuleType) else {path.split(".")[-1]: shown}
        for name, entry in entries.items():
            found.setdefault(name, []).append(entry)
    return found


@cache
def mentioned() -> set[str]:
    """What stands in backticks in the text of the pages, without a prefix such as `wg.`."""
    return {quoted.split(".")[-1] for quoted in re.findall(r"`([\w.]+)`", pages())}


@pytest.mark.parametrize("space", SPACES)
def test_every_public_name_is_in_the_reference(space: str) -> None:
    missing = []
    for name, value in public(importlib.import_module(space)).items():
        if getattr(value, "__name__", "") == name:
            found = any(value is entry for entry in documented().get(name, ()))
        else:  # a constant, or another name of something
            found = name in mentioned()
        if not found:
            missing.append(name)
    assert not missing, "add them to a page in docs/reference"


@pytest.mark.parametrize("space", SPACES)
def test_every_public_name_has_a_docstring_that_starts_with_a_sentence(space: str) -> None:
    without = []
    for name, value in public(importlib.import_module(space)).items():
        if not callable(value) or isinstance(value, type(wg.float32)):
            continue
        own = value.__doc__ if isinstance(value, type) else inspect.getdoc(value)
        first = inspect.cleandoc(own or "").split("\n\n")[0]
        if not first.endswith((".", "…")) or first.startswith(">>>"):
            without.append(f"{name}: {first!r}")
    assert not without


@pytest.mark.parametrize("space", SPACES)
def test_parameters_that_docstrings_describe_exist(space: str) -> None:
    wrong = []
    for name, value in public(importlib.import_module(space)).items():
        section = re.search(r"^Parameters\n-+\n((?:.+\n?)*)", inspect.getdoc(value) or "", re.M)
        if section is None or not callable(value):
            continue
        known = set(inspect.signature(value).parameters)
        for entry in re.findall(r"^(\S.*?) : ", section[1], re.M):
            wrong += [f"{name}({p})" for p in entry.split(", ") if p.strip("*") not in known]
    assert not wrong


def test_every_method_of_a_tensor_is_in_the_reference() -> None:
    names = {name for name in vars(ArrayMethods) if not name.startswith("_")}
    quoted = set(re.findall(r"`(?:x\.)?(\w+)(?:\([^`]*\)|\[key\])?`", pages()))
    assert names <= quoted


def test_every_page_is_in_the_navigation_and_exists() -> None:
    text = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    linked = re.findall(r"^ +- .+: (\S+\.md)$", text[text.index("\nnav:") :], re.M)
    assert len(linked) == len(set(linked))
    assert set(linked) == {str(p.relative_to(DOCS)) for p in DOCS.rglob("*.md")}


NAME = re.compile(r"\b(?:wg|wengert)\.(?!md\b)([A-Za-z_][\w.]*\w)")
INVENTED = {"gudermannian"}  # what the page about adding an op adds


@pytest.mark.parametrize("page", [*DOCS.rglob("*.md"), DOCS.parent / "README.md"], ids=str)
def test_names_in_the_text_exist(page: Path) -> None:
    for name in NAME.findall(page.read_text(encoding="utf-8")):
        if name not in INVENTED:
            resolve(f"wengert.{name}")


LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)?(?:#([\w-]+))?\)")


@pytest.mark.parametrize("page", [*DOCS.rglob("*.md"), DOCS.parent / "README.md"], ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        linked = page.parent / target if target else page
        assert linked.exists(), target
        if anchor and linked.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.M)
            assert anchor in {_slug(h) for h in headings}, f"{target}#{anchor}"


def _slug(heading: str) -> str:
    """The anchor that Python-Markdown gives a heading."""
    plain = re.sub(r"[^\w\s-]", "", heading.encode("ascii", "ignore").decode()).strip().lower()
    return re.sub(r"[-\s]+", "-", plain)
