"""Tensors as Python objects: copies, pickles, other libraries' protocols, and arguments refused."""

from __future__ import annotations

import copy
import pickle
import traceback
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.core.errors import ArgumentError, BoundsError, DtypeError, GradientError, ShapeError

# -- copies and pickles ------------------------------------------------------------------------


def test_deep_copies_keep_what_is_tracked() -> None:
    for x in (
        wg.ones(2),
        wg.ones(2).requires_grad_(),
        wg.Variable(1.0),
        wg.Variable(1.0, requires_grad=True),
        wg.Parameter([1.0]),
        wg.Parameter(wg.asarray([1]), requires_grad=False),
    ):
        twin = copy.deepcopy(x)
        assert type(twin) is type(x)
        assert twin.requires_grad == x.requires_grad
        assert not np.shares_memory(twin.numpy(), x.numpy())
        pair = copy.deepcopy([x, x])
        assert pair[0] is pair[1]


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "int8", "bool"])
def test_leaves_are_pickled_by_value(dtype: str) -> None:
    x = wg.asarray([[1, 0]], dtype=dtype)
    back = pickle.loads(pickle.dumps(x))
    assert back.dtype == x.dtype
    assert back.tolist() == x.tolist()
    assert not back.requires_grad


def test_variables_are_pickled_as_such() -> None:
    parameter = wg.Parameter([1.0, 2.0])
    (parameter * parameter).sum().backward()
    counter = wg.Parameter(wg.asarray([1]), requires_grad=False)
    for x in (parameter, counter, wg.Variable(2), wg.ones(1).requires_grad_()):
        back = pickle.loads(pickle.dumps(x))
        assert type(back) is type(x)
        assert back.tolist() == x.tolist()
        assert back.requires_grad == x.requires_grad
        assert back.grad is None


def test_a_tracked_result_is_not_pickled() -> None:
    x = wg.ones(2).requires_grad_() * 2
    with pytest.raises(GradientError, match=r"\[pickle\] .* fix: pickle x.detach\(\)"):
        pickle.dumps(x)
    assert pickle.loads(pickle.dumps(x.detach())).tolist() == [2.0, 2.0]


# -- other libraries ---------------------------------------------------------------------------


def test_memory_handed_out_is_not_to_be_written() -> None:
    x = wg.asarray([1.0, 2.0])
    for shared in (np.asarray(x), np.from_dlpack(x), x.numpy()):
        assert np.shares_memory(shared, x.numpy())
        with pytest.raises(ValueError, match="read-only"):
            shared[0] = 9.0
    own = np.array(x)
    own[0] = 9.0
    assert x.tolist() == [1.0, 2.0]


def test_a_cast_needs_a_copy() -> None:
    x = wg.asarray([1.0])
    assert np.asarray(x, dtype=np.int32).dtype == np.int32
    with pytest.raises(ArgumentError, match=r"needs a copy.*got float32 as int32"):
        np.asarray(x, dtype=np.int32, copy=False)


@pytest.mark.parametrize("leave", [np.asarray, np.from_dlpack], ids=["array", "dlpack"])
def test_no_gradient_is_cut_unseen(leave: Any) -> None:
    with pytest.raises(GradientError, match="would cut its gradient"):
        wg.grad(lambda x: wg.sum(wg.asarray(leave(x))))(wg.ones(2))


# -- arguments ---------------------------------------------------------------------------------

M = wg.ones((2, 3))
REFUSED = [
    (lambda: wg.zeros(2, dtype="i4,->"), DtypeError, r"\[dtype\] not a dtype"),
    (lambda: wg.zeros(2, dtype=np.zeros(2)), DtypeError, r"\[dtype\] not a dtype"),
    (lambda: wg.asarray([1.0], dtype="bfloat16") < 10**400, ArgumentError, "does not fit"),
    (lambda: wg.concat(3), DtypeError, r"\[concat\] takes a sequence of arrays; got 3"),
    (lambda: wg.stack(3), DtypeError, r"\[stack\] takes a sequence"),
    (lambda: wg.hstack(3.0), DtypeError, r"\[hstack\] takes a sequence"),
    (lambda: wg.vstack(3.0), DtypeError, r"\[vstack\] takes a sequence"),
    (lambda: wg.dstack(3.0), DtypeError, r"\[dstack\] takes a sequence"),
    (lambda: wg.lexsort(3.0), DtypeError, r"\[lexsort\] takes a sequence"),
    (lambda: wg.linalg.multi_dot(3.0), DtypeError, r"\[multi_dot\] takes a sequence"),
    (lambda: wg.einsum(M, M), DtypeError, r"\[einsum\] the first argument is the pattern"),
    (lambda: wg.tensordot(M, M, axes="01"), ArgumentError, r"\[tensordot\] axes must be a number"),
    (lambda: wg.tensordot(M, M, axes=(1,)), ArgumentError, r"\[tensordot\] .*got axes=\(1,\)"),
    (lambda: wg.rot90(M, axes=(0,)), ArgumentError, r"\[rot90\] a plane has two axes"),
    (lambda: wg.rot90(M, 0.5), DtypeError, r"\[rot90\] the number of quarter turns"),
    (lambda: wg.diag(M, 1.0), DtypeError, r"\[diagonal\] the offset must be an integer"),
    (lambda: wg.diag(wg.ones(2), 1.0), DtypeError, r"\[diag\] k must be an integer; got 1.0"),
    (lambda: wg.linalg.diagonal(M, offset=1.5), DtypeError, r"\[diagonal\] the offset"),
    (lambda: wg.tril(M, k=0.5), DtypeError, r"\[tril\] k must be an integer"),
    (lambda: wg.eye(2, k=0.5), DtypeError, r"\[eye\] k must be an integer"),
    (lambda: wg.tri(2, k=0.5), DtypeError, r"\[tri\] k must be an integer"),
    (lambda: wg.triu_indices(2, 0.5), DtypeError, r"\[triu_indices\] k must be an integer"),
    (lambda: wg.diag_indices(2.5), DtypeError, r"\[diag_indices\] a size"),
    (lambda: wg.diff(M, n=1.0), DtypeError, r"\[diff\] n must be an integer"),
    (lambda: wg.chunk(M, 2.0), DtypeError, r"\[chunk\] the number of pieces"),
    (lambda: wg.top_k(M, 2.0), DtypeError, r"\[top_k\] k must be an integer"),
    (lambda: wg.round(M, 1.5), DtypeError, r"\[round\] the number of decimals"),
    (lambda: wg.one_hot([0], 2.5), DtypeError, r"\[one_hot\] the number of classes"),
    (lambda: wg.delete(M, 0.5), DtypeError, r"\[delete\] indices must be integers"),
    (lambda: wg.delete(M, [True, False]), ShapeError, r"\[delete\] .* mask of the axis; got bool"),
    (lambda: wg.insert(M, [[0]], 1.0), ShapeError, r"\[insert\] .* for an axis of size 6"),
    (lambda: wg.digitize(M, 1.0), ArgumentError, r"\[digitize\] the bins must be 1-d"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_arguments_of_a_wrong_kind(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as info:
        call()
    assert "fix: " in str(info.value)


@pytest.mark.parametrize("read", [lambda x: x[5], lambda x: x[[5]], lambda x: wg.take(x, [5])])
def test_an_index_error_shows_the_users_frames_alone(read: Any) -> None:
    with pytest.raises(BoundsError, match="index 5 is out of bounds") as info:
        read(wg.ones(3))
    printed = "".join(traceback.format_exception(info.value))
    assert "/wengert/" not in printed
    assert "During handling" not in printed


# -- empty lists and narrow dtypes ----------------------------------------------------------------


def test_an_empty_list_holds_no_indices() -> None:
    assert wg.delete(wg.arange(3), []).tolist() == [0, 1, 2]
    assert wg.insert(wg.arange(3), [], []).tolist() == [0, 1, 2]
    assert [i.shape for i in wg.ix_([0, 1], [])] == [i.shape for i in np.ix_([0, 1], [])]
    assert [i.shape for i in wg.ix_([0, 1], [2])] == [(2, 1), (1, 1)]


def test_a_mask_says_where_to_insert() -> None:
    x, mask = np.arange(6).reshape(2, 3), np.array([True, False, True])
    assert wg.insert(x, mask, 9, axis=1).tolist() == np.insert(x, mask, 9, axis=1).tolist()
    assert wg.delete(x, mask, axis=1).tolist() == np.delete(x, mask, axis=1).tolist()


def test_segment_ids_of_any_integer_dtype() -> None:
    for dtype in ("uint8", "uint64", "int8"):
        ids = wg.asarray([0, 2, 0], dtype=dtype)
        assert wg.segment_sum([1.0, 2.0, 3.0], ids).tolist() == [4.0, 0.0, 2.0]
    assert wg.segment_sum(wg.ones(0), wg.zeros(0, dtype="uint8")).shape == (0,)


def test_logistic_functions_of_integers() -> None:
    for dtype in ("uint8", "uint64", "int8"):
        x = wg.asarray([0, 1, 100], dtype=dtype)
        real = x.astype("float32")
        assert wg.log_sigmoid(x).tolist() == wg.log_sigmoid(real).tolist()
        assert wg.logit(x[:2]).tolist() == [-np.inf, np.inf]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_power_of_one_half_is_no_square_root(dtype: str) -> None:
    x = wg.asarray([-np.inf, -0.0, 4.0, -1.0, np.nan], dtype=dtype)
    half = wg.asarray(0.5, dtype=dtype)
    for found in (x**0.5, x**half, wg.pow(x, wg.full((5,), 0.5, dtype=dtype))):
        assert found.dtype == x.dtype
        values = found.numpy().astype(float)
        np.testing.assert_array_equal(values, [np.inf, 0.0, 2.0, np.nan, np.nan])
        assert not np.signbit(values[1])
