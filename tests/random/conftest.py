"""Each test starts from one state of the default generator, and leaves it as it was."""

from __future__ import annotations

import pytest

from wengert import random


@pytest.fixture(autouse=True)
def _same_start():
    before = random.get_state()
    random.seed(1234)
    yield
    random.set_state(before)
