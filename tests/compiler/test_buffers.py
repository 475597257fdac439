"""Where arrays begin, who holds them, and that nothing is written that somebody may see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.compiler import buffers
from wengert.core.spec import Spec

F32 = np.dtype("float32")


@pytest.mark.parametrize("shape", [(), (3,), (64,), (1000, 5), (300, 400)])
def test_new_arrays_begin_with_a_cache_line(shape: tuple[int, ...]) -> None:
    a = buffers.fresh(Spec(shape, F32))
    assert a.shape == shape
    assert a.dtype == F32
    assert type(a) is np.ndarray
    assert buffers.usable(a)
    assert a.flags.writeable
    assert a.nbytes < 256 or a.ctypes.data % buffers.LINE == 0
    a[...] = 1.0
    assert a.sum() == a.size


def test_large_arrays_begin_at_different_places_of_a_page() -> None:
    made = [buffers.fresh(Spec((1 << 16,), F32)) for _ in range(8)]
    assert len({a.ctypes.data % buffers.PAGE for a in made}) == 8


@pytest.mark.parametrize("size", [8, 1000, 1 << 16])
def test_a_view_is_a_reference_to_the_array_itself(size: int) -> None:
    box = wg.Variable(buffers.fresh(Spec((size,), F32)))
    assert buffers.own(box)
    view = box._data[2:][1:]
    assert not buffers.own(box)
    del view
    assert buffers.own(box)


def test_memory_of_others_is_not_owned() -> None:
    lent = np.frombuffer(bytearray(4000), np.float32)
    assert not buffers.own(wg.Variable(lent))
    assert not buffers.own(wg.Variable(np.zeros(1000, np.float32)[:10]))


def test_a_view_of_a_parameter_keeps_its_values() -> None:
    w = wg.Parameter(np.ones((100, 10), np.float32))
    opt = wg.optim.SGD([w], lr=0.5)

    @wg.jit
    def step() -> None:
        (w.sum() * 2.0).backward()
        opt.step()
        opt.zero_grad()

    step()
    assert w._data.ctypes.data % buffers.LINE == 0
    view = w.numpy()[3:, 1:]
    step()
    assert (view == 0.0).all()
    assert (w.numpy() == -1.0).all()
    del view
    place = w._data.ctypes.data
    step()
    step()
    assert w._data.ctypes.data == place


def test_a_program_that_only_reads_sees_a_parameter_that_was_moved() -> None:
    w = wg.Parameter(np.ones((100, 10), np.float32))
    opt = wg.optim.SGD([w], lr=1.0)
    read = wg.jit(lambda: w.sum())

    @wg.jit
    def step() -> None:
        w.sum().backward()
        opt.step()
        opt.zero_grad()

    found = []
    for _ in range(3):
        found.append(float(read()))
        step()
    assert found == [1000.0, 0.0, -1000.0]
    assert float(read()) == -2000.0


# -- runs on condition that nobody else holds the arrays ----------------------------------------


def training() -> tuple[wg.Parameter, Any]:
    w = wg.Parameter(np.ones((40, 10), np.float32))
    opt = wg.optim.SGD([w], lr=1.0)

    @wg.jit
    def step() -> Any:
        loss = w.sum()
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss

    return w, step


def entry_of(step: Any) -> Any:
    return step.explain().events[-1].cached.entry


def test_counts_of_references_are_read_in_native_code() -> None:
    assert buffers.COUNTS_ARE_KNOWN
    _w, step = training()
    for _ in range(6):
        step()
    entry = entry_of(step)
    assert all(request is not None for request in entry.requests)
    plain = []
    entry._run = lambda: plain.append(1)
    assert float(step()) == -2000.0
    assert not plain


def test_who_holds_an_array_keeps_it_whatever_was_prepared() -> None:
    w, step = training()
    for _ in range(6):
        step()
    kept = w.numpy()
    for value in (-2000.0, -2400.0, -2800.0):
        assert float(step()) == value
        assert (kept == -5.0).all()
    losses = [step() for _ in range(5)]
    assert [float(x) for x in losses] == [-3200.0 - 400 * i for i in range(5)]
    first = step()
    again = [float(step()) for _ in range(6)]
    assert float(first) == -5200.0
    assert again == [-5600.0 - 400 * i for i in range(6)]


def test_assigned_variables_and_other_numbers_of_threads_are_seen(threads: None) -> None:
    w, step = training()
    for _ in range(6):
        step()
    w.assign(wg.zeros((40, 10)))
    assert float(step()) == 0.0
    for _ in range(4):
        step()
    for count, value in ((1, -2000.0), (3, -2400.0), (2, -2800.0)):
        wg.set_num_threads(count)
        assert float(step()) == value
