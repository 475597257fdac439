"""The most that the processor's arithmetic can do: fused multiply-adds between registers."""

from __future__ import annotations

import ctypes
import math
from concurrent.futures import ThreadPoolExecutor, wait

from benchmarks.workload import Case

CHAINS = 12  # independent sums: enough to hide the latency of an addition
LEAST = 2e9  # operations of one call, so that waking the threads costs nothing


def lanes() -> int:
    """float32 numbers in the widest register."""
    from wengert.compiler.llvm import build

    target = build.host()
    return next((n for f, n in (("avx512f", 16), ("avx", 8)) if target.has(f)), 4)


def text(lanes: int, fused: bool) -> str:
    """A function that runs `count` rounds of one multiply-add for each chain."""
    kind = f"<{lanes} x float>"
    chains = range(CHAINS)
    starts = "\n".join(
        f"  %a{i} = phi {kind} [ zeroinitializer, %enter ], [ %b{i}, %loop ]" for i in chains
    )
    if fused:
        call = f"call {kind} @llvm.fma.v{lanes}f32({kind} %x, {kind} %x, {kind} "
        steps = "\n".join(f"  %b{i} = {call}%a{i})" for i in chains)
    else:
        steps = "\n".join(
            f"  %p{i} = fmul {kind} %a{i}, %x\n  %b{i} = fadd {kind} %p{i}, %x" for i in chains
        )
    total = ["%b0", *(f"%s{i}" for i in range(1, CHAINS))]
    sums = "\n".join(f"  %s{i} = fadd {kind} {total[i - 1]}, %b{i}" for i in range(1, CHAINS))
    return f"""
declare {kind} @llvm.fma.v{lanes}f32({kind}, {kind}, {kind})
define void @multiply_add(i64 %count, ptr %to) {{
enter:
  %x = load {kind}, ptr %to, align 4
  br label %loop
loop:
  %n = phi i64 [ 0, %enter ], [ %next, %loop ]
{starts}
{steps}
  %next = add i64 %n, 1
  %more = icmp ult i64 %next, %count
  br i1 %more, label %loop, label %leave
leave:
{sums}
  store {kind} {total[-1]}, ptr %to, align 4
  ret void
}}
"""


def case(flops: float, threads: int) -> Case:
    """As many operations as a workload has, on all threads."""
    from wengert.compiler.llvm import build

    width, target = lanes(), build.host()
    fused = target.has("fma") or "aarch64" in target.triple or "arm64" in target.triple
    library = build.load(text(width, fused))
    kind = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)
    run = kind(library.address("multiply_add"))
    buffers = [(ctypes.c_float * width)() for _ in range(threads)]
    repeats = max(1, math.ceil(LEAST / flops))
    count = max(1, round(repeats * flops / (2 * width * CHAINS * threads)))
    pool = ThreadPoolExecutor(threads)

    def step() -> object:
        assert library  # the code lives as long as its library
        return wait([pool.submit(run, count, ctypes.addressof(b)) for b in buffers])

    return Case(step, dict, steps=repeats)
