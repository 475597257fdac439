"""Points of the simplex: softmax and its relatives, and one-hot vectors."""

from __future__ import annotations

from typing import Any

from wengert import namespaces as xp
from wengert import random
from wengert.core.dtypes import int64, is_integer
from wengert.core.errors import ArgumentError, DtypeError
from wengert.core.rules import normalize_axis
from wengert.core.spec import describe
from wengert.core.tensor import Tensor, as_tensor
from wengert.nn.functional.arguments import at
from wengert.nn.functional.reduction import checked_classes

__all__ = ["gumbel_softmax", "log_softmax", "one_hot", "softmax", "softmin"]


def softmax(input: Any, dim: int = -1, dtype: Any = None) -> Tensor:
    """`eˣ / Σ eˣ` along `dim`, without overflow. `dtype` casts the input first.

    >>> import wengert as wg
    >>> wg.nn.functional.softmax([1e4, 1e4])
    Tensor([0.5, 0.5], dtype=float32)

    Source: Bridle 1990.
    """
    return xp.softmax(_cast(input, dtype), axis=dim)


def log_softmax(input: Any, dim: int = -1, dtype: Any = None) -> Tensor:
    """`x − log Σ eˣ` along `dim`, without overflow. `dtype` casts the input first.

    >>> import wengert as wg
    >>> wg.nn.functional.log_softmax([1e4, 1e4])
    Tensor([-0.6931472, -0.6931472], dtype=float32)
    """
    return xp.log_softmax(_cast(input, dtype), axis=dim)


def softmin(input: Any, dim: int = -1, dtype: Any = None) -> Tensor:
    """`softmax(−x)` along `dim`. `dtype` casts the input first.

    >>> import wengert as wg
    >>> wg.nn.functional.softmin([0.0, 1e4])
    Tensor([1., 0.], dtype=float32)
    """
    return xp.softmax(-_cast(input, dtype), axis=dim)


def _cast(input: Any, dtype: Any) -> Tensor:
    x = as_tensor(input)
    return x if dtype is None else x.astype(dtype)


def gumbel_softmax(
    logits: Any,
    tau: float = 1.0,
    hard: bool = False,
    eps: float = 1e-10,
    dim: int = -1,
    *,
    generator: Any = None,
) -> Tensor:
    """A differentiable sample of a categorical distribution: `softmax((logits + G) / tau)` with
    Gumbel noise G.

    With `hard`, the result is the one-hot vector of the greatest entry, and the derivative is that
    of the soft sample (straight-through). `eps` is accepted for PyTorch's signature; the noise
    needs no guard.

    >>> import wengert as wg
    >>> sample = wg.nn.functional.gumbel_softmax(wg.zeros(4), hard=True)
    >>> float(sample.sum())
    1.0

    Source: Jang, Gu and Poole 2017; Maddison, Mnih and Teh 2017.
    """
    if tau <= 0:
        raise ArgumentError(
            at("gumbel_softmax"), "tau must be positive", met=f"tau={tau}", fix="pass 1.0"
        )
    x = as_tensor(logits)
    noise = random.gumbel(shape=x.shape, dtype=x.dtype, generator=generator)
    soft = xp.softmax((x + noise) / tau, axis=dim)
    if not hard:
        return soft
    axis = normalize_axis("gumbel_softmax", dim, x.ndim)
    winner = xp.argmax(soft.detach(), axis=axis, keepdims=True)
    places = xp.arange(x.shape[axis]).reshape((-1,) + (1,) * (x.ndim - 1 - axis))
    chosen = (places == winner).astype(soft.dtype)
    return chosen - soft.detach() + soft


def one_hot(tensor: Any, num_classes: int = -1) -> Tensor:
    """Class indices of shape (…) as vectors of shape (…, num_classes), 1 at the index and else 0.

    With `num_classes=-1`, the number of classes is the greatest index + 1. The result is int64.

    >>> import wengert as wg
    >>> wg.nn.functional.one_hot(wg.asarray([0, 2]))
    Tensor([[1, 0, 0],
            [0, 0, 1]], dtype=int64)
    """
    indices = as_tensor(tensor)
    if not is_integer(indices.dtype):
        raise DtypeError(
            at("one_hot"),
            "class indices must be integers",
            met=describe(indices),
            fix="cast with wg.astype(x, wg.int64)",
        )
    if num_classes == -1:
        values = indices._values("one_hot")
        if values.size == 0:
            raise ArgumentError(
                at("one_hot"),
                "the number of classes cannot be read off an empty array",
                met=describe(indices),
                fix="pass num_classes=",
            )
        num_classes = int(values.max()) + 1
    indices = checked_classes("one_hot", indices, num_classes)
    places = xp.arange(num_classes)
    return (xp.expand_dims(indices, axis=-1) == places).astype(int64)
