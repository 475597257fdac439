"""The kernels of attention and of its gradient; see `kernel_calls` for what a maker is."""

from __future__ import annotations

from wengert.compiler.form import Strides
from wengert.compiler.ir import Term
from wengert.compiler.kernel_calls import Call, NeedsCopy, NoKernel, Site
from wengert.compiler.kernels.attention import Attention
from wengert.compiler.kernels.attention_gradient import AttentionGradient
from wengert.compiler.kernels.attention_tile import Problem
from wengert.compiler.operands import Operand
from wengert.core import dtypes
from wengert.core.index import strides_of
from wengert.core.spec import Spec
from wengert.ops.attention_blocks import Operands


def attention(term: Term, site: Site) -> Call:
    """Results of attention, and what its gradient wants to know."""
    out, lse = term.specs
    problem, found = _problem(term, site, (), ((out, 0),))
    reads = [(x.base, x.start) for x in found]
    results = (*problem.results, strides_of(lse.shape))
    return Call(Attention(problem), reads, results[0], results)


def attention_gradient(term: Term, site: Site) -> Call:
    """Cotangents of queries, keys and values."""
    n = len(term.args)
    like = tuple((spec, i) for i, spec in enumerate(term.specs))
    problem, found = _problem(term, site, (n - 3, n - 1), like)
    reads = [(x.base, x.start) for x in found]
    return Call(AttentionGradient(problem), reads, problem.results[0], problem.results)


def _like(spec: Spec, steps: Strides, is_free: bool) -> Strides:
    """The steps of a result whose axes lie in the order of those of an operand."""
    axes = sorted(range(len(spec.shape) - 1), key=lambda a: -steps[a])
    return strides_of(spec.shape, (*axes, len(axes)) if is_free else None)


def _problem(
    term: Term, site: Site, more: tuple[int, ...], like: tuple[tuple[Spec, int], ...]
) -> tuple[Problem, list[Operand]]:
    """The problem, with the strides of q, k, v and some `more` operands, and of results that lie
    `like` operands. What else is read, but the mask, must lie row by row."""
    if term.dtype.itemsize == 2 or not term.size or not term.args[0].size:
        raise NoKernel
    params = term.params
    found = site.operands(term)
    steps = [x.even() for x in found]
    flexible = {0, 1, 2, *more, *([3] if params["masked"] else [])}
    copies = {}
    for i, (a, s) in enumerate(zip(term.args, steps, strict=True)):
        plain = strides_of(a.shape)
        dense = s is not None and all(
            n == 1 or x == y for n, x, y in zip(a.shape, s, plain, strict=True)
        )
        if s is None or not (dense or i in flexible):
            copies[i] = tuple(range(a.ndim))
    if copies:
        raise NeedsCopy(copies)
    x = Operands.of(term.args, params["masked"], params["dropout"])
    at = dict(enumerate(s or () for s in steps))
    problem = Problem(
        x.q.dtype,
        x.q.shape[:-2],
        x.q.shape[-2],
        x.k.shape[-2],
        x.q.shape[-1],
        x.v.shape[-1],
        tuple(at[i] for i in (0, 1, 2, *more)),
        tuple(_like(s, at[i], n in site.free) for n, (s, i) in enumerate(like)),
        at[3] if params["masked"] else None,
        x.mask is not None and x.mask.dtype == dtypes.bool,
        params["scale"],
        params["causal"],
        params["dropout"],
    )
    return problem, found
