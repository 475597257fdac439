"""What is compiled again, and why; the report; arguments of every kind; errors by message."""

from __future__ import annotations

import copy
import io
import math
import random
import re
import statistics
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.compiler.jitting import X, Y
from wengert.core.errors import ArgumentError, RecompileWarning, TraceError

pytestmark = pytest.mark.usefixtures("interpreted")


def compiled(f: Any) -> int:
    return len(f.history.events)


# -- the key -------------------------------------------------------------------------------------


def test_one_program_for_each_shape_and_dtype() -> None:
    f = wg.jit(lambda x: x * 2.0)
    for _ in range(3):
        f(np.ones(3, np.float32))
        f(wg.ones(3))
    assert compiled(f) == 1
    f(np.ones(4, np.float32))
    f(np.ones(3))
    assert compiled(f) == 3
    f(np.ones(3, np.float32))
    assert compiled(f) == 3


def test_arguments_are_pytrees_and_keywords() -> None:
    @wg.jit
    def f(batch: Any, *, scale: Any, names: Any = ("a",)) -> Any:
        return {"out": batch["x"] * scale[0] + batch["y"][0], "names": names, "n": 3, "none": None}

    x = np.ones(2, np.float32)
    for _ in range(2):
        found = f({"x": x, "y": (x,)}, scale=[wg.asarray(2.0)])
        assert found["out"].tolist() == [3.0, 3.0]
        assert (found["names"], found["n"], found["none"]) == (("a",), 3, None)
    assert compiled(f) == 1


def test_numbers_are_static_and_promote_as_they_do_eagerly() -> None:
    for x in (np.ones(2, np.float32), np.ones(2, np.int64), np.ones(2, np.float64)):
        for k in (2, 2.0, True, np.float64(2.0)):
            assert wg.jit(lambda x, k: x * k)(x, k).dtype == (wg.asarray(x) * k).dtype
    g = wg.jit(lambda x, n: wg.stack([x] * n) if n > 1 else x)
    assert g(wg.ones(2), 3).shape == (3, 2)
    zero = wg.jit(lambda x, z: x / z)
    assert float(zero(wg.asarray(1.0), 0.0)) == np.inf
    assert float(zero(wg.asarray(1.0), -0.0)) == -np.inf


def test_static_arguments() -> None:
    f = wg.jit(lambda x, kind, options: x * len(options), static_argnums=(2,))
    assert f(wg.ones(1), "a", ("b", 2)).tolist() == [2.0]
    g = wg.jit(lambda x, axes=None: wg.sum(x, axis=axes), static_argnames="axes")
    assert g(wg.ones((2, 3)), axes=(0, 1)).tolist() == 6.0
    with pytest.raises(ArgumentError, match=r"\[jit\] argument 2 is neither an array nor hashable"):
        f(wg.ones(1), "a", ["b"])
    with pytest.raises(ArgumentError, match=r"argument 1\['s'\] is neither .* got set"):
        f(wg.ones(1), {"s": {1}}, ())


def test_the_mode_is_part_of_the_key() -> None:
    f = wg.jit(lambda x: wg.asarray(1.5) * x)
    assert f(np.ones(1, np.float32)).dtype == np.float32
    wg.set_default_dtype("float64")
    try:
        assert f(np.ones(1, np.float32)).dtype == np.float64
    finally:
        wg.set_default_dtype("float32")
    assert f(np.ones(1, np.float32)).dtype == np.float32
    assert compiled(f) == 2


def test_the_cache_is_bounded_and_can_be_cleared() -> None:
    f = wg.jit(lambda x: x + 1.0, cache_size=2)
    shapes = [1, 2, 1, 3]  # 2 was not used for longest
    for n in shapes:
        f(wg.ones(n))
    assert compiled(f) == 3
    f(wg.ones(1))
    assert compiled(f) == 3
    f.clear_cache()
    assert compiled(f) == 0
    assert f(wg.ones(1)).tolist() == [2.0]
    assert compiled(f) == 1
    with pytest.raises(ArgumentError, match=r"\[jit\] cache_size is at least 1"):
        wg.jit(lambda x: x, cache_size=0)


def test_results_of_every_kind() -> None:
    kept = wg.Variable(wg.ones(2))

    @wg.jit
    def f(x: Any) -> Any:
        return x, x, wg.zeros(2), np.arange(2), "text", kept, x * 0.0 + kept, None

    a, b, zeros, numbers, text, box, total, none = f(wg.asarray([1.0, 2.0]))
    assert a.tolist() == b.tolist() == [1.0, 2.0]
    zeros += 1.0
    assert f(wg.asarray([1.0, 2.0]))[2].tolist() == [0.0, 0.0]
    assert (numbers.tolist(), text, none) == ([0, 1], "text", None)
    assert box is kept
    assert total.tolist() == [1.0, 1.0]


def test_the_program_can_be_seen() -> None:
    f = wg.jit(lambda x: wg.sin(x) * 2.0)
    text = str(f.program(wg.ones(3)))
    assert "sin" in text
    assert "test_jit_cache.py" in text
    assert str(f.lower(wg.ones(3))) == text
    assert compiled(f) == 1
    assert "jit of" in repr(f)


# -- the report ----------------------------------------------------------------------------------


def test_explain_tells_what_and_why() -> None:
    def step(x: Any, rate: Any) -> Any:
        return x * rate

    f = wg.jit(step)
    assert str(f.explain()).endswith("not compiled yet")
    f(np.ones((4, 2), np.float32), 0.1)
    f(np.ones((4, 2), np.float32), 0.1)
    f(np.ones((3, 2), np.float32), 0.1)
    f(np.ones((3, 2), np.float32), 0.2)
    f(np.ones((3, 2), np.float64), 0.2)
    with wg.no_grad():
        f(np.ones((3, 2), np.float32), 0.2)
    report = f.explain()
    assert report.recompilations == 4
    assert [e.calls for e in report.events][:2] == [2, 1]
    text = str(report)
    for wanted in (
        r"compiled 5 times in .* s, 6 calls; up to 64 programs are kept",
        r"x float32\[4,2\], rate 0.1",
        r"because of x: float32\[4,2\] → float32\[3,2\]\n +fix: keep the shape of x: .*drop_last",
        r"because of rate: 0.1 → 0.2\n +fix: pass rate as an array, wg.asarray\(rate\)",
        r"because of x: float32\[3,2\] → float64\[3,2\]\n +fix: cast x to one dtype",
        r"because of the mode: recording.* → no_grad",
    ):
        assert re.search(wanted, text), wanted
    html = report._repr_html_()
    assert html.count("<tr>") == 6
    assert "float32[4,2]" in html
    from rich.console import Console

    console = Console(width=200, record=True, file=io.StringIO())
    console.print(report)
    assert "rate: 0.1 → 0.2" in console.export_text()


def test_explain_names_settings_and_gradients() -> None:
    net = wg.nn.Dropout(0.5)
    f = wg.jit(lambda x: net(x))
    f(wg.ones(3))
    net.eval()
    f(wg.ones(3))
    assert "Dropout.training: True → False" in str(f.explain())
    weight = wg.Parameter(wg.ones(2))

    @wg.jit
    def g(x: Any) -> Any:
        (weight * x).sum().backward()

    g(wg.ones(2))
    g(wg.ones(2))
    assert "gradients that parameters had at the call" in str(g.explain())


def test_the_third_recompilation_for_one_reason_warns() -> None:
    def step(x: Any, mask: Any) -> Any:
        return x * mask

    f = wg.jit(step)
    for n in (1, 2, 3):
        f(np.ones((n, 2)), np.ones(2))
    pattern = r"step was compiled again for the 3rd time because of x: .*; fix: keep the shape of x"
    with pytest.warns(RecompileWarning, match=pattern) as caught:
        f(np.ones((4, 2)), np.ones(2))
    assert caught[0].filename == __file__
    f(np.ones((5, 2)), np.ones(2))


# -- what cannot be traced -----------------------------------------------------------------------

COUNT = 0
KEPT: list[Any] = []
HIDDEN: dict[str, Any] = {}
GENERATOR = np.random.default_rng(0)


def branch(x: Any) -> Any:
    return x if x.sum() > 0 else -x


def grow(x: Any) -> Any:
    KEPT.append(x * 2.0)
    return x


def count(x: Any) -> Any:
    global COUNT
    COUNT += 1
    return x


numpy_sine = np.sin
VALUES = {
    "if": (branch, r"\[bool\].*symbolic.*x.sum\(\) > 0.*fix: use wg.where .*wg.scan"),
    "item": (lambda x: x.sum().item(), r"\[item\].*return it from the traced function"),
    "float": (lambda x: float(x.sum()), r"\[item\].*float\(\), int\(\), .item\(\)"),
    "int": (lambda x: int(x.sum()), r"\[item\].*symbolic"),
    "index": (lambda x: [1, 2][wg.astype(x[0], "int64")], r"\[index\].*wg.asarray\(table\)\[i\]"),
    "size": (lambda x: x.reshape(wg.astype(x[0], "int64"), 3), r"\[index\].*Python numbers, which"),
    "range": (lambda x: [*range(wg.astype(x[0], "int64"))], r"\[index\].*bounds, counts and axes"),
    "repetitions": (lambda x: x.repeat(wg.astype(x[0], "int64")), r"\[repeat\].*as Python numbers"),
    "copy": (lambda x: copy.deepcopy(x), r"\[deepcopy\].*at .*test_jit_cache.py.*copy.deepcopy"),
    "statistics": (lambda x: statistics.fmean(x), r"statistics.fmean met .*test_jit_cache.py"),
    "numpy": (lambda x: x.numpy(), r"\[numpy\].*wg.sin for np.sin"),
    "NumPy function": (lambda x: np.sin(x), r"\[numpy\] np.sin met .*write wg.sin, or return"),
    "another name": (lambda x: numpy_sine(x), r"numpy_sine met a symbolic .*write wg.sin"),
    "several lines": (
        lambda x: np.concatenate([x, x]),
        r"np.concatenate met .*write wg.concatenate",
    ),
    "a function of NumPy that calls another": (
        lambda x: np.linalg.norm(x),
        r"np.linalg.norm met .*write wg.linalg.norm.*at .*test_jit_cache.py.*np.linalg.norm",
    ),
    "a function that is not here": (
        lambda x: np.apply_along_axis(np.sort, 0, x),
        r"np.apply_along_axis met .*write functions of wengert, or return",
    ),
    "math": (lambda x: math.tanh(x[0]), r"\[item\] math.tanh met .*write wg.tanh"),
    "format": (lambda x: f"{x.sum():.3f}", r"\[format\].*return the tensor and print it outside"),
    "list": (grow, r"grow changes the contents of 'KEPT'.*symbolic tensor, made at .*x \* 2.0"),
    "global": (count, r"count rebinds the global 'COUNT'; got at .*COUNT \+= 1.*wg.Variable"),
    "random": (lambda x: x * random.random(), r"draws random numbers from random;.*wg.random"),
    "np.random": (lambda x: x * np.random.rand(), r"draws random numbers from np.random"),
    "generator": (
        lambda x: x * GENERATOR.normal(),
        r"draws random numbers from the NumPy generator 'GENERATOR'",
    ),
    "nonzero": (lambda x: wg.nonzero(x), r"\[nonzero\] the shape of the result depends on values"),
}


@pytest.mark.parametrize("name", VALUES)
def test_what_a_trace_cannot_do(name: str) -> None:
    f, message = VALUES[name]
    before = COUNT, list(KEPT), random.getstate(), GENERATOR.bit_generator.state
    with pytest.raises(TraceError, match="(?s)" + message) as caught:
        wg.jit(f)(wg.ones(3))
    assert "test_jit_cache.py" in str(caught.value)
    assert (COUNT, list(KEPT)) == before[:2]
    assert random.getstate() == before[2]
    assert GENERATOR.bit_generator.state == before[3]


def test_nonlocals_and_attributes() -> None:
    total = 0

    def add(x: Any) -> Any:
        nonlocal total
        total += 1
        return x

    with pytest.raises(TraceError, match=r"add rebinds the nonlocal 'total'; got at .*total \+= 1"):
        wg.jit(add)(wg.ones(1))
    assert total == 0

    class Caching(wg.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cache = None
            self.calls = 0

        def forward(self, x: Any) -> Any:
            self.cache = x * 2.0
            return x

    net = Caching()
    with pytest.raises(TraceError, match=r"the attribute 'cache' of Caching; got at .*self"):
        wg.jit(net)(wg.ones(1))
    assert net.cache is None

    class Plain:
        pass

    plain = Plain()

    def keep(x: Any) -> Any:
        plain.value = x
        return x

    with pytest.raises(TraceError, match=r"keep changes the contents of 'plain'.*symbolic tensor"):
        wg.jit(keep)(wg.ones(1))
    assert not hasattr(plain, "value")

    def switch(x: Any) -> Any:
        net.eval()
        return x

    with pytest.raises(TraceError, match=r"changes the attribute 'training'.*fix: call train\(\)"):
        wg.jit(switch)(wg.ones(1))
    assert net.training


def test_freezing_inside() -> None:
    weight = wg.Parameter(wg.ones(2))

    def f(x: Any) -> Any:
        weight.requires_grad_(False)
        return x * weight

    with pytest.raises(TraceError, match="requires_grad of a variable is changed inside"):
        wg.jit(f)(wg.ones(2))
    assert weight.requires_grad


def test_leaked_tensors() -> None:
    class Leaky:
        kept: Any = None

    def leak(x: Any) -> Any:
        Leaky.kept = x * 2.0
        return x

    wg.jit(leak)(wg.asarray(1.0))
    message = r"(?s)\[jit\] a symbolic tensor leaked .*made at .*Leaky.kept = x \* 2.0.*fix: return"
    with pytest.raises(TraceError, match=message):
        Leaky.kept + 1.0
    with pytest.raises(TraceError, match=message):
        wg.jit(lambda x: x + Leaky.kept)(wg.asarray(1.0))
    with pytest.raises(TraceError, match="kept from a trace that has ended"):
        float(Leaky.kept)


def test_recursion() -> None:
    @wg.jit
    def endless(x: Any) -> Any:
        return endless(x * 0.5) + 1.0

    with pytest.raises(TraceError, match=r"endless calls itself with arguments like those"):
        endless(wg.ones(1))

    @wg.jit
    def power(x: Any, n: int) -> Any:
        return x if n == 0 else x * power(x, n - 1)

    assert power(wg.asarray(2.0), 3).item() == 16.0


def test_a_graph_from_outside() -> None:
    weight = wg.Parameter(wg.ones(2))
    loss = (weight * 2.0).sum()

    def f(x: Any) -> Any:
        loss.backward()
        return x

    with pytest.raises(TraceError, match="went through a graph that was recorded outside"):
        wg.jit(f)(wg.ones(2))
    assert weight.grad is None


def test_a_second_backward_pass() -> None:
    weight = wg.Parameter(wg.ones(2))

    def f(x: Any) -> Any:
        loss = (weight * x).sum()
        loss.backward()
        loss.backward()

    with pytest.raises(wg.errors.GradientError, match="already walked"):
        wg.jit(f)(wg.ones(2))


def test_a_computed_variable_that_stays() -> None:
    class Holder:
        box: Any = None

    def f(x: Any) -> Any:
        Holder.box = wg.Variable(x * 2.0)
        return x

    with pytest.raises(TraceError, match="a variable that the function made outlives the call"):
        wg.jit(f)(wg.ones(2))


def test_what_is_no_function() -> None:
    with pytest.raises(TypeError, match=r"\[jit\] the first argument must be a function"):
        wg.jit(wg.ones(2))


def test_side_effects_that_undo_themselves_are_none() -> None:
    net = wg.nn.Dropout(0.5)

    @wg.jit
    def f(x: Any) -> Any:
        net.eval()
        out = net(x)
        net.train()
        scratch = []
        scratch.append(out)
        return scratch[0]

    assert f(wg.ones(3)).tolist() == [1.0, 1.0, 1.0]
    assert net.training
    assert X.shape[0] == Y.shape[0]


def test_functions_that_are_not_deterministic() -> None:
    class Clock:
        ticks = 0

    def f(x: Any) -> Any:
        Clock.ticks += 1
        return wg.sin(x) if Clock.ticks % 2 else wg.cos(x)

    with pytest.raises(TraceError, match=r"f is not deterministic.*sin\(.*then.*cos\("):
        wg.jit(f, check=True)(wg.ones(2))
    model = wg.nn.Sequential(wg.nn.Linear(2, 2), wg.nn.Dropout(0.5))
    opt = wg.optim.Adam(model.parameters())

    @wg.jit(check=True)
    def step(x: Any) -> Any:
        loss = model(x).sum()
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss

    assert float(step(X[0])) != float(step(X[0]))
