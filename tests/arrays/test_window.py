"""Windows, folding and the contractions of convolution, against sums written out by hand."""

from __future__ import annotations

import itertools
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from scipy import signal

import wengert as wg
from tests.arrays.derivatives import assert_derivatives
from wengert.core.errors import ArgumentError, DtypeError, ShapeError, WengertError
from wengert.ops.convolve import conv, conv_input, conv_weight
from wengert.ops.window import fold, windows

RNG = np.random.default_rng(3)


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape)


def written_out(
    x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> np.ndarray[Any, Any]:
    """Convolution by its definition, one product at a time."""
    x = np.pad(x, ((0, 0), (0, 0), *padding))
    filters, depth, *kernel = w.shape
    outs = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True)
    ]
    y = np.zeros((x.shape[0], filters, *outs))
    per_group = filters // groups
    for n, f in itertools.product(range(x.shape[0]), range(filters)):
        first = f // per_group * depth
        for o in np.ndindex(*outs):
            for c, k in itertools.product(range(depth), np.ndindex(*kernel)):
                at = tuple(i * s + j * d for i, s, j, d in zip(o, stride, k, dilation, strict=True))
                y[(n, f, *o)] += x[(n, first + c, *at)] * w[(f, c, *k)]
    return y


GEOMETRIES: list[tuple[Any, Any, dict[str, Any]]] = [
    ((2, 3, 7), (4, 3, 3), {}),
    ((1, 2, 8), (2, 2, 3), {"stride": (3,)}),
    ((1, 2, 8), (2, 2, 3), {"dilation": (2,), "padding": ((3, 0),)}),
    ((2, 2, 5, 6), (3, 2, 3, 2), {"padding": ((1, 1), (0, 1))}),
    ((2, 4, 5, 5), (6, 2, 3, 3), {"groups": 2, "stride": (2, 1), "padding": ((1, 0), (2, 2))}),
    ((1, 3, 5, 5), (6, 1, 3, 3), {"groups": 3, "padding": ((1, 1), (1, 1))}),
    ((2, 3, 4, 4), (3, 1, 3, 3), {"groups": 3}),
    ((2, 3, 4, 4), (5, 3, 1, 1), {}),
    ((2, 3, 5, 4), (5, 3, 1, 1), {"stride": (2, 2)}),
    ((2, 3, 4, 4), (5, 3, 4, 4), {}),
    ((1, 2, 3, 4, 5), (2, 2, 2, 2, 2), {"stride": (1, 2, 2), "padding": ((0, 1),) * 3}),
    ((20, 2, 3, 3), (2, 2, 2, 2), {}),
]


def geometry(x: Any, **given: Any) -> dict[str, Any]:
    count = len(x) - 2
    plain = {"stride": (1,) * count, "padding": ((0, 0),) * count, "dilation": (1,) * count}
    return {**plain, "groups": 1, **given}


@pytest.mark.parametrize(("x", "w", "given"), GEOMETRIES)
def test_convolution_is_its_definition_and_the_others_its_transposes(
    x: Any, w: Any, given: Any
) -> None:
    params = geometry(x, **given)
    a, b = normal(*x), normal(*w)
    expected = written_out(a, b, **params)
    out = conv(wg.asarray(a), wg.asarray(b), **params)
    np.testing.assert_allclose(out, expected, atol=1e-12)
    # ⟨conv(x, w), y⟩ is one trilinear form: each partial contraction must give the same number.
    y = normal(*out.shape)
    form = float((expected * y).sum())
    to_x = conv_input(wg.asarray(b), wg.asarray(y), size=x[2:], **params)
    to_w = conv_weight(wg.asarray(a), wg.asarray(y), size=w[2:], **params)
    np.testing.assert_allclose(float((to_x.numpy() * a).sum()), form, rtol=1e-10)
    np.testing.assert_allclose(float((to_w.numpy() * b).sum()), form, rtol=1e-10)
    assert to_x.shape == x
    assert to_w.shape == w


@pytest.mark.parametrize("memory", ["channels last", "images inside", "reversed", "broadcast"])
def test_any_memory_order_of_the_operands(memory: str) -> None:
    a, b = normal(4, 3, 6, 6), normal(5, 3, 3, 3)
    if memory == "channels last":
        a = np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    elif memory == "images inside":
        a = np.ascontiguousarray(a.transpose(1, 2, 3, 0)).transpose(3, 0, 1, 2)
    elif memory == "reversed":
        a, b = a[:, :, ::-1, ::-1], b[::-1]
    else:
        a = np.broadcast_to(a[:1], a.shape)
    params = geometry(a.shape, padding=((1, 1), (1, 1)))
    expected = written_out(a, b, **params)
    np.testing.assert_allclose(conv(wg.asarray(a), wg.asarray(b), **params), expected, atol=1e-12)


def test_convolution_is_not_flipped_and_agrees_with_scipy() -> None:
    x, w = normal(1, 1, 9, 8), normal(1, 1, 3, 4)
    found = conv(wg.asarray(x), wg.asarray(w), **geometry(x.shape))
    np.testing.assert_allclose(
        found.numpy()[0, 0], signal.correlate2d(x[0, 0], w[0, 0], "valid"), atol=1e-12
    )


def test_convolution_differentiates_to_third_order() -> None:
    params = geometry((2, 4, 5), groups=2, stride=(2,), padding=((1, 0),))
    x, w = normal(2, 4, 5), normal(2, 2, 3)
    assert_derivatives(lambda x, w: wg.sin(conv(x, w, **params)), x, w)
    cube = lambda t: wg.sum(conv(t * t, wg.asarray(w) * t[:1, :2, :3], **params))
    third = wg.grad(lambda t: wg.sum(wg.grad(lambda s: wg.sum(wg.grad(cube)(s)))(t)))(wg.asarray(x))
    # The form is cubic in t, so its third derivative does not depend on t.
    other = wg.grad(lambda t: wg.sum(wg.grad(lambda s: wg.sum(wg.grad(cube)(s)))(t)))(
        wg.asarray(normal(2, 4, 5))
    )
    np.testing.assert_allclose(third, other, atol=1e-10)
    assert float(wg.max(wg.abs(third))) > 0.1


@pytest.mark.parametrize("marks", [(0, None), (None, 0), (0, 0), (1, 2)])
@pytest.mark.parametrize("groups", [1, 2])
def test_batched_operands_and_weights(marks: Any, groups: int) -> None:
    params = geometry((2, 4, 5, 5), groups=groups, padding=((1, 1), (1, 0)))
    x, w = normal(2, 4, 5, 5), normal(6, 4 // groups, 3, 3)
    args = [
        v if m is None else np.stack([v, 2 * v, v + 1], axis=m)
        for v, m in zip((x, w), marks, strict=True)
    ]
    f = lambda x, w: conv(x, w, **params)
    found = wg.vmap(f, in_axes=marks)(*map(wg.asarray, args))
    rows = [
        f(*[wg.asarray(v if m is None else v.take(i, m)) for v, m in zip(args, marks, strict=True)])
        for i in range(3)
    ]
    np.testing.assert_allclose(found, np.stack([r.numpy() for r in rows]), atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_convolution_accumulates_in_float32(dtype: Any) -> None:
    x = np.ones((1, 4096, 1), dtype)
    x[0, 0] = 2048
    out = conv(wg.asarray(x), wg.asarray(np.ones((1, 4096, 1), dtype)), **geometry(x.shape))
    assert out.dtype == dtype
    assert float(out.item()) == float(np.asarray(6143, dtype))


def test_integers_are_exact() -> None:
    x = np.array([[[2**60 + 1, 1, 5]]])
    out = conv(wg.asarray(x), wg.asarray(np.array([[[1, 2]]])), **geometry(x.shape))
    assert out.tolist() == [[[2**60 + 3, 11]]]


@pytest.mark.parametrize(
    ("x", "w", "given", "error", "match"),
    [
        ((1, 5, 5, 3), (4, 3, 3, 3), {}, ShapeError, "channels of the input do not fit"),
        ((1, 3, 2, 5), (4, 3, 3, 3), {}, ShapeError, r"window of \(3, 3\).*over \(2, 5\)"),
        ((3, 5, 5), (4, 3, 3, 3), {}, ShapeError, "a missing batch axis"),
        ((1, 3, 5, 5), (4, 3, 3, 3), {"stride": (0, 1)}, ArgumentError, "must be positive"),
        ((1, 3, 5, 5), (4, 3, 3, 3), {"padding": ((-1, 0), (0, 0))}, ArgumentError, "negative"),
        ((1, 3, 5, 5), (4, 3, 3, 3), {"groups": 2}, ArgumentError, "groups must divide"),
        ((1, 3, 5, 5), (4, 3, 3, 3), {"groups": 0}, ArgumentError, "groups must divide"),
        ((1, 4, 5, 5), (3, 2, 3, 3), {"groups": 2}, ArgumentError, "2 groups for 3 channels of w"),
    ],
)
def test_convolution_errors(x: Any, w: Any, given: Any, error: Any, match: str) -> None:
    params = {**geometry((1, 1, 2, 2)), **given}
    with pytest.raises(error, match=match):
        conv(wg.asarray(normal(*x)), wg.asarray(normal(*w)), **params)
    with pytest.raises(error, match=match):
        wg.trace(lambda a, b: conv(a, b, **params), normal(*x), normal(*w))


def test_convolution_wants_one_dtype() -> None:
    x, w = normal(1, 1, 3), normal(1, 1, 2).astype(np.float32)
    with pytest.raises(DtypeError, match="one dtype"):
        conv(wg.asarray(x), wg.asarray(w), **geometry(x.shape))


# -- windows and fold --------------------------------------------------------------------------


def test_windows_are_a_view_and_fold_is_their_transpose() -> None:
    x = normal(3, 9, 8)
    given = {"stride": (2, 1), "dilation": (1, 3)}
    seen = windows(wg.asarray(x), size=(3, 2), **given)
    assert np.shares_memory(seen.numpy(), x)
    expected = sliding_window_view(x, (3, 4), (1, 2))[:, ::2, :, :, ::3]
    np.testing.assert_array_equal(seen, expected)
    y = normal(*seen.shape)
    back = fold(wg.asarray(y), shape=(9, 8), **given)
    np.testing.assert_allclose(float((back.numpy() * x).sum()), float((y * expected).sum()))


@pytest.mark.parametrize(("places", "size"), [(1, 50), (50, 1), (4, 4), (2, 9)])
def test_fold_adds_what_overlaps(places: int, size: int) -> None:
    ones = wg.asarray(np.ones((2, places, size)))
    out = fold(ones, shape=(places + size - 1,), stride=(1,), dilation=(1,))
    counts = np.convolve(np.ones(places), np.ones(size))
    np.testing.assert_array_equal(out, np.stack([counts, counts]))


def test_fold_in_half_precision_accumulates_in_float32() -> None:
    ones = np.ones((5000, 2), np.float16)
    out = fold(wg.asarray(ones.T.copy()), shape=(5001,), stride=(1,), dilation=(1,))
    assert out.dtype == wg.float16
    assert float(out[1]) == 2.0


def test_sliding_window_view_agrees_with_numpy() -> None:
    x = normal(4, 5, 6)
    for shape, axis in (((2, 2, 2), None), (3, 1), ((3, 2), (2, 0)), ((2,), -1)):
        np.testing.assert_array_equal(
            wg.sliding_window_view(x, shape, axis), sliding_window_view(x, shape, axis)
        )
    assert_derivatives(lambda t: wg.sin(wg.sliding_window_view(t, (2, 3), (0, 2))), x, order=1)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: wg.sliding_window_view(normal(3, 3), 2), "one size for each axis"),
        (lambda: wg.sliding_window_view(normal(3, 3), (2, 2), (0, 0)), "each once"),
        (lambda: wg.sliding_window_view(normal(3), 4), "does not fit"),
        (lambda: wg.sliding_window_view(normal(3), 0), "must be positive"),
        (lambda: wg.sliding_window_view(normal(3), 2, 1), "no such axis"),
        (lambda: wg.convolve(normal(3, 3), normal(3)), "takes two sequences"),
        (lambda: wg.correlate(normal(3), normal(0)), "not empty"),
        (lambda: wg.convolve(normal(3), normal(2), "half"), "unknown mode"),
    ],
)
def test_errors_of_windows(call: Any, match: str) -> None:
    with pytest.raises(WengertError, match=match):
        call()


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_convolve_and_correlate_agree_with_numpy(mode: Any) -> None:
    for m, n in itertools.product(range(1, 7), repeat=2):
        a, v = normal(m), normal(n)
        where = f"{m}, {n}, {mode}"
        np.testing.assert_allclose(
            wg.convolve(a, v, mode), np.convolve(a, v, mode), atol=1e-12, err_msg=where
        )
        np.testing.assert_allclose(
            wg.correlate(a, v, mode), np.correlate(a, v, mode), atol=1e-12, err_msg=where
        )
    assert_derivatives(lambda a, v: wg.convolve(a, v, mode), normal(5), normal(3))
