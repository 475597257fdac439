"""The kernel of random bits; see `kernel_calls` for what a maker is."""

from __future__ import annotations

from math import prod

from wengert.compiler.ir import Term
from wengert.compiler.kernel_calls import Call, NeedsCopy, Site
from wengert.compiler.kernels.philox import Philox
from wengert.core.index import strides_of


def random_bits(term: Term, site: Site) -> Call:
    """Blocks of a generator, one stream for each key and counter."""
    key, counter = term.args
    found = site.operands(term)
    steps = [x.even() for x in found]
    copies = {i: tuple(range(a.ndim)) for i, a in enumerate(term.args) if steps[i] is None}
    if copies:
        raise NeedsCopy(copies)
    shape = term.params["shape"]
    lead = term.shape[: term.ndim - len(shape)]
    *key_steps, key_word = steps[0] or ()
    kernel = Philox(
        lead,
        _broadcast(lead, key.shape[:-1], tuple(key_steps)),
        key_word,
        _broadcast(lead, counter.shape, steps[1] or ()),
        prod(shape) * term.dtype.itemsize,
        term.params["domain"],
    )
    return Call(kernel, [(x.base, x.start) for x in found], strides_of(term.shape))


def _broadcast(
    lead: tuple[int, ...], shape: tuple[int, ...], steps: tuple[int, ...]
) -> tuple[int, ...]:
    """The steps of an operand along all axes of the streams: 0 where it is broadcast."""
    own = tuple(0 if n == 1 else s for n, s in zip(shape, steps, strict=True))
    return (0,) * (len(lead) - len(shape)) + own
