"""Every Python block of the documentation and the README runs, in order, page by page."""

from __future__ import annotations

import doctest
import os
import re
from pathlib import Path

import numpy as np
import pytest

import wengert as wg
import wengert.compiler.control
import wengert.compiler.jit  # their ops are registered now, not by the page that uses them first
from wengert.core.op import REGISTRY

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)```(python|pycon)\n(.*?)^\1```", re.M | re.S)


def blocks(page: Path) -> list[tuple[str, str, int]]:
    """Kind, text and line number of each block that runs. A ```py fence is only shown."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        indent, kind, body = match.groups()
        body = "\n".join(line.removeprefix(indent) for line in body.splitlines()) + "\n"
        found.append((kind, body, text.count("\n", 0, match.start()) + 2))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_examples_of_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wg.random.seed(0)
    np.random.seed(0)
    names: dict[str, object] = {"__name__": "__main__"}
    before = set(REGISTRY)
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    try:
        for kind, body, line in blocks(page):
            if kind == "python":
                code = "\n" * (line - 1) + body  # so that errors name the page's own line
                exec(compile(code, os.fspath(page), "exec"), names)
            else:
                test = doctest.DocTestParser().get_doctest(body, names, page.name, str(page), line)
                runner = doctest.DocTestRunner(optionflags=options)
                runner.run(test, clear_globs=False)
                names.update(test.globs)
                assert not runner.failures, f"{page}:{line}"
    finally:
        for name in set(REGISTRY) - before:  # ops that a page declares end with it
            del REGISTRY[name]
