"""The summary table: shapes, parameters, operations and memory against counts by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert import nn
from wengert.errors import ArgumentError, ShapeError


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Sequential(nn.Conv2d(16, 32, 3), nn.ReLU()),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(288, 10),
        nn.LayerNorm(10),
        nn.Softmax(-1),
    )


def test_rows():
    table = nn.summary(network(), (64, 1, 8, 8))
    rows = {row.path: row for row in table.rows}
    assert list(rows) == ["", "0", "1", "2", "3", "3.0", "3.1", "4", "5", "6", "7", "8"]
    assert rows["3.0"].kind == "Conv2d"
    assert rows["3.0"].depth == 2
    assert rows["4"].outputs == ((64, 32, 3, 3),)
    assert rows[""].outputs == ((64, 10),)
    assert rows["0"].parameters == 16 * 9 + 16
    assert rows["3"].parameters == rows["3.0"].parameters == 32 * 16 * 9 + 32
    assert table.parameters == 160 + 32 + 4640 + 2890 + 20
    assert all(row.calls == 1 for row in table.rows)


def test_flops_count_a_multiply_add_as_two():
    rows = {row.path: row for row in nn.summary(network(), (64, 1, 8, 8)).rows}
    places = 64 * 16 * 8 * 8
    assert rows["0"].flops == 2 * places * 9 + places
    assert rows["2"].flops == places
    assert rows["3.0"].flops == 64 * 32 * 36 * (2 * 16 * 9 + 1)
    assert rows["4"].flops == 64 * 32 * 9 * 4  # comparisons
    assert rows["5"].flops == 0
    assert rows["6"].flops == 64 * 10 * (2 * 288 + 1)
    assert rows[""].flops == sum(rows[str(i)].flops for i in range(9))
    assert rows["3"].flops == rows["3.0"].flops + rows["3.1"].flops


def kept_bytes(model: nn.Module, x: Any) -> int:
    """Bytes of the arrays that a recorded forward pass really holds."""

    def owner(a: Any) -> Any:
        while a.base is not None:
            a = a.base
        return a

    graph = wg.Graph.of(model(x))
    boxes = (*model.parameters(), *model.buffers(), x)
    outside = {id(owner(box._data)) for box in boxes}
    held = {}
    for node in graph:
        outs = node.out if isinstance(node.out, tuple) else (node.out,)
        for data in (*(node.saved or ()), *outs):
            if isinstance(data, np.ndarray) and data.ndim and id(owner(data)) not in outside:
                held[id(owner(data))] = owner(data)
    return sum(a.nbytes for a in held.values())


def test_activation_memory_is_what_a_forward_pass_keeps():
    model = network()
    x = wg.asarray(np.random.default_rng(0).normal(size=(8, 1, 8, 8)).astype(np.float32))
    assert nn.summary(model, x).activation_bytes == kept_bytes(model, x)
    model.freeze("0", "1", "3")
    assert nn.summary(model, x).activation_bytes == kept_bytes(model, x)
    model.freeze()
    assert nn.summary(model, x).activation_bytes == kept_bytes(model, x) == 0


def test_parameter_memory_counts_ties_once():
    layer = nn.Linear(4, 4)
    table = nn.summary(nn.Sequential(layer, nn.BatchNorm1d(4), layer), (2, 4))
    assert table.parameter_bytes == 4 * (20 + 8 + 8) + 8
    assert table.parameters == 28
    assert [row.calls for row in table.rows] == [1, 2, 1]


def test_nothing_changes():
    model = network()
    before = {k: v.tolist() for k, v in model.state_dict().items()}
    nn.summary(model, (4, 1, 8, 8))
    assert {k: v.tolist() for k, v in model.state_dict().items()} == before
    assert all(m.training and not m._hooks for m in model.modules())
    with pytest.raises(ShapeError, match=r"\[Conv2d at 0\]"):
        nn.summary(model, (4, 3, 8, 8))
    assert not any(m._hooks for m in model.modules())


def test_frozen_and_depth():
    table = nn.summary(network().freeze("0"), input_size=(2, 1, 8, 8), depth=1)
    assert table.trainable == table.parameters - 160
    assert max(row.depth for row in table.rows) == 1
    assert table.rows[1].trainable == 0


def test_text():
    text = str(nn.summary(network().freeze("0"), (64, 1, 8, 8)))
    assert "(64, 16, 8, 8)" in text
    assert "Parameters: 7,742 (7,582 trainable, 160 frozen)" in text
    assert "a multiply-add counts as 2" in text
    assert "activations kept for backward" in text
    assert "\n" in text
    assert repr(nn.summary(nn.Linear(2, 1), (1, 2))) == str(nn.summary(nn.Linear(2, 1), (1, 2)))


def test_several_inputs_and_integer_inputs():
    table = nn.summary(nn.Bilinear(3, 4, 2), input_size=[(5, 3), (5, 4)])
    assert table.rows[0].outputs == ((5, 2),)
    table = nn.summary(nn.Embedding(10, 4), (3, 5), dtype=wg.int64)
    assert table.rows[0].outputs == ((3, 5, 4),)
    assert table.flops == 0
    table = nn.summary(nn.Embedding(10, 4), wg.Spec((3, 5), wg.int64))
    assert table.rows[0].outputs == ((3, 5, 4),)


class Peeking(nn.Module):
    """Looks at values, which a trace does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(2, 2)
        self.b = nn.BatchNorm1d(2)
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Any) -> Any:
        x = self.a(x)
        if float(wg.sum(x * 0)) == 0:
            x = self.b(x)
        return x, x


def test_a_model_that_looks_at_values_is_run():
    model = Peeking()
    table = nn.summary(model, (3, 2))
    rows = {row.path: row for row in table.rows}
    assert rows["a"].flops == 3 * 2 * (2 * 2 + 1)
    assert rows[""].outputs == ((3, 2), (3, 2))
    assert (rows["a"].calls, rows["b"].calls, rows["unused"].calls) == (1, 1, 0)
    assert "not run" in str(table)
    assert int(model.b.num_batches_tracked) == 0


def test_errors():
    with pytest.raises(ArgumentError, match=r"\[summary\] needs to know the input"):
        nn.summary(nn.Linear(2, 1))
    with pytest.raises(ArgumentError, match="takes a module; got function"):
        nn.summary(lambda x: x, (1, 2))
