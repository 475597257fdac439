"""What the array API standard asks a namespace to say about itself, and its constants."""

from __future__ import annotations

import math
from typing import Any

from wengert.core import dtypes as _d
from wengert.core.errors import ArgumentError
from wengert.namespaces.arguments import check_device

__all__ = ["__array_api_version__", "__array_namespace_info__", "e", "inf", "nan", "newaxis", "pi"]

__array_api_version__ = "2024.12"

e = math.e
inf = math.inf
nan = math.nan
newaxis = None
pi = math.pi

# The standard's dtypes; float16 and bfloat16, which it does not know, exist beside them.
_KINDS: dict[str, tuple[_d.DType, ...]] = {
    "bool": (_d.bool,),
    "signed integer": _d.SIGNED,
    "unsigned integer": _d.UNSIGNED,
    "integral": _d.INTEGERS,
    "real floating": (_d.float32, _d.float64),
    "complex floating": (),
    "numeric": (*_d.INTEGERS, _d.float32, _d.float64),
}


class ArrayNamespaceInfo:
    """See `__array_namespace_info__`."""

    __slots__ = ()

    def capabilities(self) -> dict[str, Any]:
        """What of the standard's optional behaviour there is (outside of traces)."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        """The device of new arrays."""
        return "cpu"

    def devices(self) -> list[Any]:
        """All devices."""
        return ["cpu"]

    def default_dtypes(self, *, device: Any = None) -> dict[str, _d.DType]:
        """The dtypes of arrays made from Python numbers."""
        check_device("default_dtypes", device)
        return {
            "real floating": _d.default_float(),
            "integral": _d.default_int,
            "indexing": _d.default_int,
        }

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, _d.DType]:
        """The standard's dtypes by name: all, or those of one kind or of several."""
        check_device("dtypes", device)
        if kind is None:
            kind = ("bool", "numeric")
        kinds = kind if isinstance(kind, tuple) else (kind,)
        for k in kinds:
            if k not in _KINDS:
                raise ArgumentError(
                    "dtypes",
                    "unknown kind of dtype",
                    met=repr(k),
                    fix="use one of " + ", ".join(map(repr, _KINDS)),
                )
        return {str(d): d for k in kinds for d in _KINDS[k]}


def __array_namespace_info__() -> ArrayNamespaceInfo:  # noqa: N807
    """Devices, dtypes and capabilities, as the array API standard asks for them.

    >>> import wengert as wg
    >>> wg.__array_namespace_info__().dtypes(kind="real floating")
    {'float32': dtype('float32'), 'float64': dtype('float64')}
    """
    return ArrayNamespaceInfo()
