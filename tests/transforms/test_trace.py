"""wg.trace, Graph.of and how graphs print."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from tests.transforms.support import f64, same
from wengert.errors import TraceError
from wengert.transforms.trace import interpret


def f(x: wg.Tensor, w: wg.Tensor) -> wg.Tensor:
    return wg.sum(wg.sin(x * w) + 1.0)


def test_trace_computes_nothing_and_can_be_run() -> None:
    graph = wg.trace(f, wg.Spec((2, 3), np.dtype("float64")), f64(3))
    assert len(graph.inputs) == 2
    assert graph.outputs[0].is_symbolic
    assert graph.outputs[0].shape == ()
    x, w = f64(2, 3), f64(3)
    same(interpret(graph, [x, w])[0], f(x, w))
    slope = wg.grad(lambda x: interpret(graph, [x, w])[0])(x)
    same(slope, wg.grad(f)(x, w))


def test_each_node_says_where_it_comes_from() -> None:
    graph = wg.trace(wg.grad(f), f64(2, 3), f64(3))
    sites = [(node.op.name, node.site.phase, node.site.text) for node in graph]
    forward = [s for s in sites if s[1] == "" and s[0] != "placeholder"]
    backward = [s for s in sites if s[1] == "backward"]
    assert {name for name, *_ in backward} >= {"mul", "cos"}
    assert all("wg.sin(x * w)" in text for _, _, text in backward)
    assert ("mul", "", "return wg.sum(wg.sin(x * w) + 1.0)") in forward
    pushed = wg.trace(lambda x, w: wg.jvp(lambda x: f(x, w), (x,), (x,)), f64(2, 3), f64(3))
    assert "tangent" in {node.site.phase for node in pushed}


def test_graph_prints_one_line_a_node() -> None:
    x = f64(3).requires_grad_()
    text = str(wg.Graph.of(wg.sum(x * 2.0)))
    lines = text.splitlines()
    assert [line.split(" = ")[1].split("(")[0] for line in lines] == ["leaf", "mul", "sum"]
    assert lines[1].startswith("%1 = mul(%0, const) float64[3]")
    assert "test_trace.py:" in lines[1]
    assert "text = str(wg.Graph.of(wg.sum(x * 2.0)))" in lines[1]
    assert "(backward)" in str(wg.trace(wg.grad(f), f64(2, 3), f64(3)))


def test_parameters_and_ops_with_several_results_are_printed() -> None:
    x = f64(6).requires_grad_()
    values, _ = wg.linalg.qr(wg.reshape(x, (3, 2)))
    text = str(wg.Graph.of(values))
    assert "%1 = reshape(%0, shape=(3, 2)) float64[3,2]  #" in text
    assert "several  #" in text
    assert "pick(%2, index=0" in text
    assert "made by qr" in repr(values)


def test_graph_of_several_results_and_of_none() -> None:
    x = f64(3).requires_grad_()
    a, b = wg.sin(x), wg.cos(x)
    assert [n.op.name for n in wg.Graph.of(a, b)] == ["leaf", "sin", "cos"]
    assert len(wg.Graph.of(f64(3))) == 0


def test_a_trace_undoes_writes_and_reports_them() -> None:
    count = wg.Variable(wg.asarray(1.0))

    def step(x: wg.Tensor) -> wg.Tensor:
        count.assign(count + wg.sum(x))
        return x * count

    graph = wg.trace(step, wg.ones(2))
    assert float(count) == 1.0
    ((written, value),) = graph.writes
    assert written is count
    assert value.is_symbolic


def test_a_leaked_tensor_names_its_line() -> None:
    leaked = []
    wg.vmap(lambda v: leaked.append(v * 2.0) or v)(wg.ones(3))
    with pytest.raises(
        TraceError, match=r"symbolic.*leaked.append\(v \* 2.0\).*kept from a trace that has ended"
    ):
        float(leaked[0])
