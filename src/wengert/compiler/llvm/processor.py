"""Which processor is compiled for: this one, or one that can do less.

    WENGERT_CPU=haswell              the processors of a kind: those of that name, and all later
    WENGERT_CPU=x86-64-v2            a level of the x86 psABI
    WENGERT_CPU=-avx512f             this one, without a feature and all that rests on it
    WENGERT_CPU=x86-64-v3,-fma       both

It is read once, when the first program is compiled. Code on disk is kept apart by it.
"""

from __future__ import annotations

from wengert.core.errors import ArgumentError

VARIABLE = "WENGERT_CPU"

_V1 = ("64bit", "cmov", "cx8", "fxsr", "mmx", "sse", "sse2")
_V2 = (*_V1, "cx16", "popcnt", "sahf", "sse3", "ssse3", "sse4.1", "sse4.2", "crc32")
_V3 = (*_V2, "avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave")
_V4 = (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
KINDS = {
    "x86-64": _V1,
    "x86-64-v2": _V2,
    "nehalem": _V2,
    "x86-64-v3": _V3,
    "haswell": _V3,
    "x86-64-v4": _V4,
    "skylake-avx512": _V4,
}
_OF_AVX2 = ("vaes", "vpclmulqdq", "sha512", "sm3", "sm4", "avx10.1", "avx10.2")
_BELOW = {
    "avx512f": "avx2 fma f16c",
    "avx2": "avx",
    "fma": "avx",
    "fma4": "avx sse4a",
    "xop": "fma4",
    "f16c": "avx",
    "avx": "sse4.2 xsave",
    "sse4.2": "sse4.1",
    "sse4.1": "ssse3",
    "ssse3": "sse3",
    "sse4a": "sse3",
    "sse3": "sse2",
    "aes": "sse2",
    "pclmul": "sse2",
    "gfni": "sse2",
    "sha": "sse2",
}


def chosen(request: str, cpu: str, features: str) -> tuple[str, str]:
    """LLVM's name and features of the processor that a request asks for, on a machine with a
    processor of that name and those features.

    >>> chosen("-avx", "haswell", "+avx,+avx2,+sse2,-xop")
    ('haswell', '-avx,-avx2,+sse2,-xop')
    """
    real = {f[1:]: f[0] == "+" for f in features.split(",") if f}
    has = dict(real)
    words = [w.strip() for w in request.split(",") if w.strip()]
    if words and words[0][0] not in "+-":
        cpu, has = _of_kind(request, words.pop(0), has)
    for word in words:
        sign, feature = word[0], word[1:]
        if sign not in "+-" or feature not in has:
            raise _refused(
                request,
                f"{word!r} is no feature that LLVM knows of this processor",
                "name a kind of processor first, then features such as -avx512f,-fma",
            )
        if sign == "+" and not real[feature]:
            raise _refused(request, f"this processor has no {feature}", "leave it out")
        if sign == "+":
            for added in (feature, *_all_below(feature)):
                has[added] = True
        if sign == "-":
            if has.get("64bit") and feature in _V1:
                raise _refused(request, f"every x86-64 processor has {feature}", "leave it out")
            for gone in has:
                if gone == feature or feature in _all_below(gone):
                    has[gone] = False
    return cpu, ",".join(("+" if on else "-") + name for name, on in has.items())


def _of_kind(request: str, kind: str, has: dict[str, bool]) -> tuple[str, dict[str, bool]]:
    if kind not in KINDS:
        raise _refused(
            request, f"{kind!r} is no known kind of processor", f"use one of {', '.join(KINDS)}"
        )
    missing = [f for f in KINDS[kind] if not has.get(f)]
    if missing:
        raise _refused(
            request,
            f"this processor is no {kind}: it lacks {', '.join(missing)}",
            f"unset {VARIABLE}: what the processor can do is found out",
        )
    return kind, {f: f in KINDS[kind] for f in has}


def _all_below(feature: str) -> set[str]:
    """All features that a feature needs."""
    found: set[str] = set()
    stack = [feature]
    while stack:
        name = stack.pop()
        below = _BELOW.get(name, "")
        if name.startswith("avx512") and name != "avx512f":
            below = "avx512f"
        elif not below and (name.startswith("avx") or name in _OF_AVX2) and name != "avx":
            below = "avx2"
        fresh = set(below.split()) - found
        found |= fresh
        stack.extend(fresh)
    return found


def _refused(request: str, what: str, fix: str) -> ArgumentError:
    return ArgumentError(VARIABLE, what, met=f"{VARIABLE}={request}", fix=fix)
