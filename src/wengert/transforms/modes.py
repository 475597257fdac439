"""Switches: parts of a computation that no derivative sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wengert.core.state import recording, state
from wengert.core.tensor import Tensor
from wengert.core.tree import tree_map
from wengert.transforms.call import cut

__all__ = ["enable_grad", "is_grad_enabled", "no_grad", "set_grad_enabled", "stop_gradient"]


def stop_gradient(x: Any) -> Any:
    """The same value as a constant: its derivative is zero, in reverse and in forward mode.

    `x` is a tensor or a pytree; leaves that are not tensors are passed through.

    >>> import wengert as wg
    >>> float(wg.grad(lambda x: x * wg.stop_gradient(x))(3.0))
    3.0
    """
    return tree_map(lambda leaf: cut(leaf) if isinstance(leaf, Tensor) else leaf, x)


def no_grad(f: Callable[..., Any] | None = None) -> Any:
    """Do not track what is computed: `with wg.no_grad():`, or as a decorator.

    Inside, results are constants for every derivative, reverse and forward, and nothing is kept
    for a backward pass.

    >>> import wengert as wg
    >>> x = wg.ones(2).requires_grad_()
    >>> with wg.no_grad():
    ...     y = x * 2.0
    >>> y.requires_grad
    False
    """
    return recording(False) if f is None else recording(False)(f)


def enable_grad(f: Callable[..., Any] | None = None) -> Any:
    """Track again inside of `no_grad`: a context manager or a decorator.

    >>> import wengert as wg
    >>> x = wg.ones(2).requires_grad_()
    >>> with wg.no_grad(), wg.enable_grad():
    ...     y = x * 2.0
    >>> y.requires_grad
    True
    """
    return recording(True) if f is None else recording(True)(f)


class set_grad_enabled(recording):
    """Switch tracking on or off, at once; as a context manager, until its end.

    >>> import wengert as wg
    >>> with wg.set_grad_enabled(False):
    ...     wg.is_grad_enabled()
    False
    >>> wg.is_grad_enabled()
    True
    """

    def __init__(self, mode: bool) -> None:
        super().__init__(bool(mode))
        self.before = state.recording
        state.recording = self.on

    def __enter__(self) -> set_grad_enabled:
        state.recording = self.on
        return self

    def __exit__(self, *exc: object) -> None:
        state.recording = self.before

    def __call__(self, f: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function; the switch itself is put back."""
        state.recording = self.before
        return super().__call__(f)


def is_grad_enabled() -> bool:
    """Whether computations on tracked tensors are recorded in this thread.

    >>> import wengert as wg
    >>> wg.is_grad_enabled()
    True
    """
    return state.recording
