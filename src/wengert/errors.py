"""The errors that the library raises, for `except` clauses: `from wengert.errors import …`."""

from wengert.core.errors import (
    ArgumentError,
    AxisError,
    BoundsError,
    CacheWarning,
    DtypeError,
    GradientError,
    LinalgError,
    MissingExtraError,
    NotCompiledWarning,
    RecompileWarning,
    ShapeError,
    StateError,
    TraceError,
    WengertError,
    show_framework_frames,
)

__all__ = [
    "ArgumentError",
    "AxisError",
    "BoundsError",
    "CacheWarning",
    "DtypeError",
    "GradientError",
    "LinalgError",
    "MissingExtraError",
    "NotCompiledWarning",
    "RecompileWarning",
    "ShapeError",
    "StateError",
    "TraceError",
    "WengertError",
    "show_framework_frames",
]
