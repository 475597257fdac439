"""Activation functions as modules: the functions of `wengert.nn.functional` with
their settings.

`inplace` is accepted so that ported code runs, and changes nothing: tensors are immutable.
"""

from __future__ import annotations

from typing import Any

from wengert import namespaces as xp
from wengert.core.errors import ArgumentError
from wengert.core.tensor import Tensor
from wengert.core.variable import Parameter
from wengert.nn import functional as F
from wengert.nn.init import constant_
from wengert.nn.module import Module

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "SELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "Mish",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]


class Activation(Module):
    """A function of one input; `settings` names what `repr` shows."""

    settings: tuple[str, ...] = ()

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self.settings)


class ReLU(Activation):
    """`max(x, 0)`; see `functional.relu`.

    >>> import wengert as wg
    >>> wg.nn.ReLU()([-1.0, 2.0])
    Tensor([0., 2.], dtype=float32)
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()

    def forward(self, input: Any) -> Tensor:
        return F.relu(input)


class ReLU6(Activation):
    """`min(max(x, 0), 6)`; see `functional.relu6`.

    >>> import wengert as wg
    >>> wg.nn.ReLU6()([-1.0, 9.0])
    Tensor([0., 6.], dtype=float32)
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()

    def forward(self, input: Any) -> Tensor:
        return F.relu6(input)


class LeakyReLU(Activation):
    """`x` for x > 0, else `negative_slope·x`; see `functional.leaky_relu`.

    >>> import wengert as wg
    >>> wg.nn.LeakyReLU(0.5)([-1.0, 2.0])
    Tensor([-0.5,  2. ], dtype=float32)
    """

    settings = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, input: Any) -> Tensor:
        return F.leaky_relu(input, self.negative_slope)


class PReLU(Activation):
    """Leaky rectifier with learnt slopes, `weight`: one, or one a channel (axis 1); see
    `functional.prelu`.

    >>> import wengert as wg
    >>> wg.nn.PReLU()([-1.0, 2.0]).tolist()
    [-0.25, 2.0]

    Source: He, Zhang, Ren and Sun 2015.
    """

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.init = init
        self.weight = Parameter(xp.full((num_parameters,), float(init), dtype=dtype, device=device))

    def reset_parameters(self) -> None:
        """Put all slopes back to `init`."""
        constant_(self.weight, self.init)

    def forward(self, input: Any) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.weight.size}"


class RReLU(Activation):
    """Leaky rectifier with random slopes in training; see `functional.rrelu`.

    >>> import wengert as wg
    >>> wg.nn.RReLU(0.25, 0.75).eval()([-1.0, 2.0])
    Tensor([-0.5,  2. ], dtype=float32)
    """

    settings = ("lower", "upper")

    def __init__(
        self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False
    ) -> None:
        super().__init__()
        self.lower, self.upper = lower, upper

    def forward(self, input: Any) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training)


class Threshold(Activation):
    """`x` above the threshold, else `value`; see `functional.threshold`.

    >>> import wengert as wg
    >>> wg.nn.Threshold(1.0, -7.0)([1.0, 2.0])
    Tensor([-7.,  2.], dtype=float32)
    """

    settings = ("threshold", "value")

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold, self.value = threshold, value

    def forward(self, input: Any) -> Tensor:
        return F.threshold(input, self.threshold, self.value)


class Hardtanh(Activation):
    """`x` limited to an interval; see `functional.hardtanh`.

    >>> import wengert as wg
    >>> wg.nn.Hardtanh()([-3.0, 0.5])
    Tensor([-1. ,  0.5], dtype=float32)
    """

    settings = ("min_val", "max_val")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        if not min_val < max_val:
            raise ArgumentError(
                type(self).__name__,
                "min_val must be less than max_val",
                met=f"min_val={min_val}, max_val={max_val}",
                fix="exchange them",
            )
        self.min_val, self.max_val = min_val, max_val

    def forward(self, input: Any) -> Tensor:
        return F.hardtanh(input, self.min_val, self.max_val)


class ELU(Activation):
    """`x` for x > 0, else `alpha·(eˣ − 1)`; see `functional.elu`.

    >>> import wengert as wg
    >>> wg.nn.ELU()([-100.0, 2.0])
    Tensor([-1.,  2.], dtype=float32)
    """

    settings = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, input: Any) -> Tensor:
        return F.elu(input, self.alpha)


class SELU(Activation):
    """Self-normalising exponential unit; see `functional.selu`.

    >>> import wengert as wg
    >>> wg.nn.SELU()([0.0])
    Tensor([0.], dtype=float32)
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()

    def forward(self, input: Any) -> Tensor:
        return F.selu(input)


class CELU(Activation):
    """Continuously differentiable exponential unit; see `functional.celu`.

    >>> import wengert as wg
    >>> wg.nn.CELU()([-100.0, 2.0])
    Tensor([-1.,  2.], dtype=float32)
    """

    settings = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, input: Any) -> Tensor:
        return F.celu(input, self.alpha)


class GELU(Activation):
    """`x·Φ(x)`; see `functional.gelu`.

    >>> import wengert as wg
    >>> wg.nn.GELU()([0.0, 100.0])
    Tensor([  0., 100.], dtype=float32)
    """

    settings = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Any) -> Tensor:
        return F.gelu(input, self.approximate)


class SiLU(Activation):
    """`x·σ(x)`; see `functional.silu`.

    >>> import wengert as wg
    >>> wg.nn.SiLU()([0.0, 100.0])
    Tensor([  0., 100.], dtype=float32)
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()

    def forward(self, input: Any) -> Tensor:
        return F.silu(input)


class Mish(Activation):
    """`x·tanh(log(1 + eˣ))`; see `functional.mish`.

    >>> import wengert as wg
    >>> wg.nn.Mish()([0.0, 100.0])
    Tensor([  0., 100.], dtype=float32)
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()

    def forward(self, input: Any) -> Tensor:
        return F.mish(input)


class Softplus(Activation):
    """`log(1 + e^(beta·x)) / beta`; see `functional.softplus`.

    >>> import wengert as wg
    >>> wg.nn.Softplus()([-1e4, 1e4])
    Tensor([    0., 10000.], dtype=float32)
    """

    settings = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta, self.threshold = beta, threshold

    def forward(self, input: Any) -> Tensor:
        return F.softplus(input, self.beta, self.threshold)


class Softsign(Activation):
    """`x / (1 + |x|)`; see `functional.softsign`.

    >>> import wengert as wg
    >>> wg.nn.Softsign()([-1.0, 3.0])
    Tensor([-0.5 ,  0.75], dtype=float32)
    """

    def forward(self, input: Any) -> Tensor:
        return F.softsign(input)


class Sigmoid(Activation):
    """`1 / (1 + e⁻ˣ)`; see `functional.sigmoid`.

    >>> import wengert as wg
    >>> wg.nn.Sigmoid()([0.0])
    Tensor([0.5], dtype=float32)
    """

    def forward(self, input: Any) -> Tensor:
        return F.sigmoid(input)


class LogSigmoid(Activation):
    """`log σ(x)`; see `functional.logsigmoid`.

    >>> import wengert as wg
    >>> wg.nn.LogSigmoid()([-1e4])
    Tensor([-10000.], dtype=float32)
    """

    def forward(self, input: Any) -> Tensor:
        return F.logsigmoid(input)


class Tanh(Activation):
    """The hyperbolic tangent.

    >>> import wengert as wg
    >>> wg.nn.Tanh()([0.0, 1e4])
    Tensor([0., 1.], dtype=float32)
    """

    def forward(self, input: Any) -> Tensor:
        return F.tanh(input)


class Tanhshrink(Activation):
    """`x − tanh(x)`; see `functional.tanhshrink`.

    >>> import wengert as wg
    >>> wg.nn.Tanhshrink()([1e4])
    Tensor([9999.], dtype=float32)
    """

    def forward(self, input: Any) -> Tensor:
        return F.tanhshrink(input)


class Hardsigmoid(Activation):
    """`relu6(x + 3) / 6`; see `functional.hardsigmoid`.

    >>> import wengert as wg
    >>> wg.nn.Hardsigmoid()([0.0, 5.0])
    Tensor([0.5, 1. ], dtype=float32)
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()

    def forward(self, input: Any) -> Tensor:
        return F.hardsigmoid(input)


class Hardswish(Activation):
    """`x·relu6(x + 3) / 6`; see `functional.hardswish`.

    >>> import wengert as wg
    >>> wg.nn.Hardswish()([0.0, 4.0])
    Tensor([0., 4.], dtype=float32)
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()

    def forward(self, input: Any) -> Tensor:
        return F.hardswish(input)


class Hardshrink(Activation):
    """`x` where |x| > lambd, else 0; see `functional.hardshrink`.

    >>> import wengert as wg
    >>> wg.nn.Hardshrink()([-1.0, 0.5])
    Tensor([-1.,  0.], dtype=float32)
    """

    settings = ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Any) -> Tensor:
        return F.hardshrink(input, self.lambd)


class Softshrink(Activation):
    """`x` moved towards 0 by lambd; see `functional.softshrink`.

    >>> import wengert as wg
    >>> wg.nn.Softshrink()([-1.0, 0.25])
    Tensor([-0.5,  0. ], dtype=float32)
    """

    settings = ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Any) -> Tensor:
        return F.softshrink(input, self.lambd)
