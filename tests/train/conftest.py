"""The trainer's programs are interpreted in its tests, unless a test asks for `native`."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def interpreted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """See above."""
    from wengert.compiler import cached, function
    from wengert.compiler.executable import Interpreted

    if "native" not in request.fixturenames:
        monkeypatch.setattr(cached, "compile_program", Interpreted)
        monkeypatch.setattr(function, "compile_program", Interpreted)


@pytest.fixture
def native() -> None:
    """The test runs native code."""
