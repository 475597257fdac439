"""Clipping gradients in `.grad`, before an optimizer's step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from wengert.core import dtypes, methods
from wengert.core.errors import GradientError
from wengert.core.spec import Spec
from wengert.core.state import recording
from wengert.core.tensor import Tensor
from wengert.optim.checks import number, positive


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients down together, so that their common norm is at most `max_norm`.

    The norm is that of all gradients as one vector: (Σ|gᵢ|ᵖ)^(1/p), or the largest |gᵢ| for
    `norm_type=inf`. Returns the norm before clipping, a 0-d tensor.

    >>> import wengert as wg
    >>> w = wg.Parameter(wg.asarray([3.0, 4.0])); (w * w * 0.5).sum().backward()
    >>> float(wg.optim.clip_grad_norm_([w], 1.0)), [round(v, 4) for v in w.grad.tolist()]
    (5.0, [0.6, 0.8])

    Source: Pascanu, Mikolov and Bengio 2013.
    """
    positive("clip_grad_norm_", max_norm=max_norm)
    if number("clip_grad_norm_", "norm_type", norm_type) != math.inf:
        positive("clip_grad_norm_", norm_type=norm_type)
    held = _with_gradients(parameters)
    traced = any(p.grad.is_symbolic for p in held if p.grad is not None)
    xp = methods._F if traced else np
    with recording(False):
        grads = [_array(p, traced) for p in held]
        total = _norm(xp, grads, float(norm_type))
        if not traced:
            if error_if_nonfinite and not np.isfinite(total):
                raise _nonfinite(held, float(total))
            if total <= max_norm:
                return Tensor(np.asarray(total))
        scale = xp.minimum(max_norm / (total + 1e-6), 1.0)
        for p, g in zip(held, grads, strict=True):
            p.grad = methods._F.astype(_tensor(g * scale), p.dtype, copy=False)
    return _tensor(total)


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Bring each entry of the gradients into [−clip_value, clip_value].

    >>> import wengert as wg
    >>> w = wg.Parameter(wg.asarray([3.0, -4.0])); (w * w).sum().backward()
    >>> wg.optim.clip_grad_value_([w], 1.0); w.grad.tolist()
    [1.0, -1.0]
    """
    positive("clip_grad_value_", clip_value=clip_value)
    for p in _with_gradients(parameters):
        assert p.grad is not None
        with recording(False):
            p.grad = methods._F.clip(p.grad, -clip_value, clip_value)


def _with_gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    params = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p for p in params if p.grad is not None]


def _array(p: Tensor, traced: bool) -> Any:
    """A gradient to compute with: at least float32."""
    assert p.grad is not None
    if traced:
        return p.grad if p.dtype.itemsize >= 4 else methods._F.astype(p.grad, dtypes.float32)
    g = p.grad._data
    return g if g.dtype.itemsize >= 4 else g.astype(np.float32)


def _tensor(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else Tensor(np.asarray(x))


def _norm(xp: Any, grads: list[Any], p: float) -> Any:
    """The p-norm of several arrays as one vector."""
    if not grads:
        return np.float32(0.0)
    if p == math.inf:
        parts = [xp.max(xp.abs(g)) for g in grads if g.size]
        return xp.max(xp.stack(parts)) if parts else np.float32(0.0)
    if p == 2.0:
        total = sum(xp.sum(g * g) for g in grads)
        return xp.sqrt(total)
    total = sum(xp.sum(xp.abs(g) ** p) for g in grads)
    return total ** (1.0 / p)


def _nonfinite(params: list[Tensor], total: float) -> GradientError:
    """The error that names the gradients which are not finite."""
    bad = [
        f"parameter {i}, {Spec.of(p)}"
        for i, p in enumerate(params)
        if p.grad is not None and not np.all(np.isfinite(p.grad._data.astype(np.float64)))
    ]
    return GradientError(
        "clip_grad_norm_",
        "the norm of the gradients is not finite",
        met=f"{total} from " + ("; ".join(bad[:5]) or "finite gradients whose squares overflow"),
        cause="a learning rate that is too large, or log, sqrt or a division at 0",
        fix="lower the learning rate, or find the op that made the value",
    )
