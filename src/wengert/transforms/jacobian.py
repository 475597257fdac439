"""Whole derivatives: Jacobians and Hessians as trees of blocks, and Hessian-vector products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np

from wengert.core.dtypes import is_float
from wengert.core.errors import ArgumentError, DtypeError
from wengert.core.spec import Spec, describe
from wengert.core.tensor import Tensor, as_tensor
from wengert.core.tree import tree_flatten, tree_paths, tree_structure
from wengert.transforms.batch import vmap
from wengert.transforms.call import check_function, positions, replaced
from wengert.transforms.forward import jvp, linearize
from wengert.transforms.gradient import grad, vjp

__all__ = ["hessian", "hvp", "jacfwd", "jacrev"]


def jacfwd(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """The Jacobian of `f` by forward mode: one tangent an input entry, all in one batch.

    The result is a pytree like `f`'s result, in which each leaf is replaced by a pytree like the
    chosen argument (a tuple of such where `argnums` is a sequence) of blocks with the shape
    `out.shape + in.shape`. With `has_aux`, `f` returns `(result, aux)`, and this
    `(jacobian, aux)`. Best where the inputs have fewer entries than the outputs; see `jacrev`.

    >>> import wengert as wg
    >>> wg.jacfwd(lambda x: x * x)(wg.asarray([1.0, 2.0]))
    Tensor([[2., 0.],
            [0., 4.]], dtype=float32)
    """

    check_function("jacfwd", f)

    @wraps(f)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        primals, chosen = _of_chosen("jacfwd", f, argnums, args, kwargs)
        result, push, *aux = linearize(chosen, *primals, has_aux=has_aux)
        ins, in_tree = tree_flatten(primals)
        in_specs = [Spec.of(as_tensor(x)) for x in ins]
        outs, out_tree = _floating_result("jacfwd", result)
        columns = vmap(push, out_axes=-1)(*in_tree.unflatten(_basis(in_specs)))
        rows = [
            in_tree.unflatten(
                part.reshape((*out.shape, *spec.shape))
                for part, spec in zip(_parts(block, in_specs, last=True), in_specs, strict=True)
            )
            for block, out in zip(tree_flatten(columns)[0], outs, strict=True)
        ]
        found = out_tree.unflatten(row[0] if isinstance(argnums, int) else row for row in rows)
        return (found, *aux) if has_aux else found

    return jacobian


def jacrev(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """The Jacobian of `f` by reverse mode: one cotangent an output entry, all in one batch.

    Arguments and result as in `jacfwd`. Best where the outputs have fewer entries than the inputs.

    >>> import wengert as wg
    >>> wg.jacrev(lambda x: wg.sum(x * x))(wg.asarray([1.0, 2.0]))
    Tensor([2., 4.], dtype=float32)
    """

    check_function("jacrev", f)

    @wraps(f)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        primals, chosen = _of_chosen("jacrev", f, argnums, args, kwargs)
        result, pullback, *aux = vjp(chosen, *primals, has_aux=has_aux)
        in_tree = tree_structure(primals)
        outs, out_tree = _floating_result("jacrev", result)
        rows = vmap(pullback)(out_tree.unflatten(_basis(outs)))
        columns = [
            [
                part.reshape((*out.shape, *block.shape[1:]))
                for part, out in zip(_parts(block, outs, last=False), outs, strict=True)
            ]
            for block in tree_flatten(rows)[0]
        ]
        blocks = [in_tree.unflatten(column[k] for column in columns) for k in range(len(outs))]
        found = out_tree.unflatten(row[0] if isinstance(argnums, int) else row for row in blocks)
        return (found, *aux) if has_aux else found

    return jacobian


def hessian(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """The second derivatives of `f`, by forward mode over reverse mode.

    Blocks as in `jacfwd`, twice: `hessian(f)(x)` of a scalar function of a vector is a matrix.

    >>> import wengert as wg
    >>> wg.hessian(lambda x: x[0] ** 2 * x[1])(wg.asarray([1.0, 2.0]))
    Tensor([[4., 2.],
            [2., 0.]], dtype=float32)
    """
    return jacfwd(jacrev(f, argnums, has_aux), argnums, has_aux)


def hvp(f: Callable[..., Any], primals: Sequence[Any], vectors: Sequence[Any]) -> Any:
    """The product `∇²f(primals) · vectors` of a scalar function, without its Hessian.

    By forward mode over reverse mode, at the cost of a few gradients. `primals` and `vectors` are
    tuples of pytrees of one structure. The product of a function of one argument is a pytree like
    that argument; of a function of several, a tuple with one such an argument.

    >>> import wengert as wg
    >>> wg.hvp(lambda x: wg.sum(x**3), (wg.asarray([1.0, 2.0]),), (wg.asarray([1.0, 1.0]),))
    Tensor([ 6., 12.], dtype=float32)

    Source: Pearlmutter, "Fast exact multiplication by the Hessian", 1994.
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(vectors, (tuple, list)):
        raise ArgumentError(
            "hvp",
            "primals and vectors must be tuples",
            met=f"{type(primals).__name__} and {type(vectors).__name__}",
            fix="write hvp(f, (x,), (v,))",
        )
    argnums: Any = 0 if len(primals) == 1 else tuple(range(len(primals)))
    return jvp(grad(f, argnums), primals, vectors)[1]


# -- pieces ------------------------------------------------------------------------------------


def _of_chosen(
    name: str,
    f: Callable[..., Any],
    argnums: int | Sequence[int],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[tuple[Any, ...], Callable[..., Any]]:
    """The arguments that `argnums` chooses, and `f` as a function of those alone."""
    numbers = positions(name, argnums, args)
    chosen = lambda *primals: f(*replaced(args, numbers, primals), **kwargs)
    return tuple(args[n] for n in numbers), chosen


def _floating_result(name: str, result: Any) -> tuple[list[Tensor], Any]:
    leaves, tree = tree_flatten(result)
    for i, leaf in enumerate(leaves):
        if not is_float(leaf.dtype):
            raise DtypeError(
                name,
                f"the result{tree_paths(result)[i]} is not floating, so it has no derivative",
                met=describe(leaf),
                fix="return it as aux with has_aux=True, or leave it out",
            )
    return leaves, tree


def _basis(specs: Sequence[Any]) -> list[Tensor]:
    """All unit vectors of a space of several arrays, stacked along a leading axis of each."""
    total = sum(s.size for s in specs)
    stacks, start = [], 0
    for s in specs:
        block = np.zeros((total, s.size), s.dtype)
        np.fill_diagonal(block[start:], 1)
        stacks.append(Tensor(block.reshape((total, *s.shape))))
        start += s.size
    return stacks


def _parts(x: Tensor, specs: Sequence[Any], last: bool) -> list[Tensor]:
    """Cut the first or last axis into one piece of `spec.size` for each spec."""
    parts, start = [], 0
    for s in specs:
        stop = start + s.size
        parts.append(x[..., start:stop] if last else x[start:stop])
        start = stop
    return parts
