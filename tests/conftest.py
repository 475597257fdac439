"""Shared by all tests: a deterministic hypothesis, and a check that no test leaves state behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from wengert.core import dtypes
from wengert.core.state import state

settings.register_profile("deterministic", derandomize=True, deadline=None, database=None)
settings.load_profile("deterministic")


@pytest.fixture(autouse=True)
def clean_state() -> Iterator[None]:
    """Each test must put back the switches that it changed."""
    yield
    left = dict(vars(state))
    state.__dict__.clear()
    fresh = {name: getattr(state, name) for name in left}
    assert left == fresh, f"the test left {left}"
    assert dtypes.default_float() == dtypes.float32, "the test left another default dtype"
