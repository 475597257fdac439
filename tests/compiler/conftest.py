"""Shared by the compiler's tests: compiled code is kept in a folder of the run, not the user's."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from wengert.compiler.threads import set_num_threads


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Programs that the tests start inherit it."""
    before = os.environ.get("WENGERT_CACHE_DIR")
    os.environ["WENGERT_CACHE_DIR"] = str(tmp_path_factory.mktemp("compiled"))
    yield
    if before is None:
        del os.environ["WENGERT_CACHE_DIR"]
    else:
        os.environ["WENGERT_CACHE_DIR"] = before


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs are interpreted: for tests of what stands in front of the compiler."""
    from wengert.compiler import cached, function
    from wengert.compiler.executable import Interpreted

    monkeypatch.setattr(cached, "compile_program", Interpreted)
    monkeypatch.setattr(function, "compile_program", Interpreted)


@pytest.fixture
def threads() -> Iterator[None]:
    """The number of threads may be set; it is the default again after the test."""
    yield
    set_num_threads(None)
