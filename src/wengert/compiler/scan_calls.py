"""The kernel of running results along an axis; see `kernel_calls` for what a maker is."""

from __future__ import annotations

from math import prod

from wengert.compiler.index_calls import is_dense, merged
from wengert.compiler.ir import Term
from wengert.compiler.kernel_calls import Call, NeedsCopy, Site
from wengert.compiler.kernels.scan import Scan
from wengert.core.index import strides_of


def scan(term: Term, site: Site) -> Call:
    """Running sums, products, extremes, recurrences."""
    assert term.op is not None
    axis, shape = term.params["axis"], term.shape
    found = site.operands(term)
    whole = prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])
    steps, copies = [], {}
    for i, x in enumerate(found):
        parts = merged(x, 0, axis), merged(x, axis, axis + 1), merged(x, axis + 1, term.ndim)
        if None in parts or not is_dense(parts[2], whole[2]):
            copies[i] = tuple(range(term.ndim))
        steps.append((parts[0] or 0, parts[1] or 0, parts[2] or 0))
    if copies:
        raise NeedsCopy(copies)
    reverse = term.params.get("reverse", False)
    kernel = Scan(term.op.name, term.args[0].dtype, whole, tuple(steps), reverse)
    return Call(kernel, [(x.base, x.start) for x in found], strides_of(shape))
