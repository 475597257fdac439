"""A small writer of LLVM's textual language.

`Module` collects functions and declarations; `Function` appends instructions to one of them and
hands out `Value`s, which know their type and combine with `+ - * /` and Python numbers. Loops and
conditions are contexts:

    f = module.function("scale", [PTR, I64])
    x, n = f.args
    with f.loop(0, n) as i:
        place = f.at(x, i, F32)
        f.store(f.load(F32, place) * 2.0, place)
    f.ret()

Floating-point instructions carry no fast-math flags: what is written is what is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Union

from wengert.compiler.llvm.types import (
    I1,
    I32,
    I64,
    PTR,
    alignment,
    element_of,
    is_floating,
    lanes_of,
    literal,
    mangled,
    size_of,
    vector,
)

Number = int | float | bool
Operand = Union["Value", int, float, bool]

NO_UNROLL = '!{!"llvm.loop.unroll.disable"}'


class Value:
    """The result of an instruction, an argument or a constant: a type and a name."""

    __slots__ = ("f", "name", "type")

    def __init__(self, type: str, name: str, f: Function) -> None:
        self.type = type
        self.name = name
        self.f = f

    def __str__(self) -> str:
        return self.name

    @property
    def lanes(self) -> int:
        """Entries of a vector; 0 for a scalar."""
        return lanes_of(self.type)

    @property
    def element(self) -> str:
        """Type of the entries of a vector; a scalar's own type."""
        return element_of(self.type)

    def __add__(self, other: Operand) -> Value:
        return self.f.arith("add", "fadd", self, other)

    def __radd__(self, other: Operand) -> Value:
        return self.f.arith("add", "fadd", self, other)

    def __sub__(self, other: Operand) -> Value:
        return self.f.arith("sub", "fsub", self, other)

    def __rsub__(self, other: Operand) -> Value:
        return self.f.arith("sub", "fsub", self.f.like(self, other), self)

    def __mul__(self, other: Operand) -> Value:
        return self.f.arith("mul", "fmul", self, other)

    def __rmul__(self, other: Operand) -> Value:
        return self.f.arith("mul", "fmul", self.f.like(self, other), self)

    def __truediv__(self, other: Operand) -> Value:
        return self.f.arith("sdiv", "fdiv", self, other)

    def __rtruediv__(self, other: Operand) -> Value:
        return self.f.arith("sdiv", "fdiv", self.f.like(self, other), self)

    def __floordiv__(self, other: Operand) -> Value:
        """Quotient of unsigned integers (indices are never negative)."""
        return self.f.arith("udiv", "?", self, other)

    def __mod__(self, other: Operand) -> Value:
        """Remainder of unsigned integers."""
        return self.f.arith("urem", "?", self, other)

    def __and__(self, other: Operand) -> Value:
        return self.f.arith("and", "?", self, other)

    def __or__(self, other: Operand) -> Value:
        return self.f.arith("or", "?", self, other)

    def __xor__(self, other: Operand) -> Value:
        return self.f.arith("xor", "?", self, other)

    def __lshift__(self, other: Operand) -> Value:
        return self.f.arith("shl", "?", self, other)

    def __rshift__(self, other: Operand) -> Value:
        """Logical (unsigned) shift; `Function.ashr` keeps the sign."""
        return self.f.arith("lshr", "?", self, other)

    def __neg__(self) -> Value:
        if is_floating(self.type):
            return self.f.op(self.type, f"fneg {self.type} {self.name}")
        return self.f.like(self, 0) - self


class Variable:
    """A place on the stack that LLVM turns into a register: for accumulators in loops."""

    __slots__ = ("f", "name", "type")

    def __init__(self, f: Function, type: str, name: str) -> None:
        self.f, self.type, self.name = f, type, name

    def get(self) -> Value:
        """The current value."""
        return self.f.op(self.type, f"load {self.type}, ptr {self.name}")

    def set(self, value: Operand) -> None:
        """Replace it."""
        self.f.write(f"store {self.type} {self.f.constant(self.type, value)}, ptr {self.name}")


class Module:
    """Functions, declarations and metadata that are compiled together."""

    def __init__(self) -> None:
        self.bodies: dict[str, str] = {}  # finished functions, by name
        self.declared: dict[str, str] = {}
        self.globals: list[str] = []
        self.metadata: list[str] = []
        self.libraries: set[str] = set()  # what must be loaded before (`kernels.library`)

    def function(
        self,
        name: str,
        args: Sequence[str],
        ret: str = "void",
        *,
        internal: bool = False,
        attributes: str = "nounwind",
    ) -> Function:
        """Start a function. Argument types may carry attributes: `"ptr noalias readonly"`."""
        return Function(self, name, args, ret, internal, attributes)

    def declare(self, name: str, ret: str, args: Sequence[str]) -> None:
        """Declare a function that is defined elsewhere (an intrinsic, another module)."""
        if name not in self.declared:
            self.declared[name] = f"declare {ret} @{name}({', '.join(args)})"

    def has(self, name: str) -> bool:
        """Whether a function of this name is finished already."""
        return name in self.bodies

    def no_unroll(self) -> str:
        """Loop metadata that keeps LLVM from unrolling."""
        i = len(self.metadata)
        self.metadata.append(f"!{i} = distinct !{{!{i}, {NO_UNROLL}}}")
        return f", !llvm.loop !{i}"

    def streaming(self) -> str:
        """Metadata of stores that go past the cache."""
        entry = "!{i32 1}"
        for line in self.metadata:
            if line.endswith(f"= {entry}"):
                return f", !nontemporal {line.split(' ', 1)[0]}"
        i = len(self.metadata)
        self.metadata.append(f"!{i} = {entry}")
        return f", !nontemporal !{i}"

    def text(self) -> str:
        """The module as LLVM reads it."""
        declared = [d for name, d in self.declared.items() if name not in self.bodies]
        return "\n".join([*self.globals, *self.bodies.values(), *declared, *self.metadata, ""])


class Function:
    """One function being written. `args` are its arguments; end with `ret()`."""

    def __init__(
        self,
        module: Module,
        name: str,
        args: Sequence[str],
        ret: str,
        internal: bool,
        attributes: str,
    ) -> None:
        self.module, self.name = module, name
        self.args = [Value(a.split(" ", 1)[0], f"%a{i}", self) for i, a in enumerate(args)]
        for i, a in enumerate(args):  # a vector type contains blanks
            if a[0] == "<":
                self.args[i].type = a[: a.index(">") + 1]
        signature = ", ".join(f"{a} %a{i}" for i, a in enumerate(args))
        linkage = "internal " if internal else ""
        self.head = f"define {linkage}{ret} @{name}({signature}) {attributes} {{\nentry:"
        self.allocas: list[str] = []
        self.first: list[str] = []
        self.lines: list[str] = []
        self.block = "entry"
        self.count = 0

    # -- instructions ------------------------------------------------------------------------

    def write(self, line: str) -> None:
        """Append an instruction without a result."""
        self.lines.append("  " + line)

    def op(self, type: str, instruction: str) -> Value:
        """Append an instruction with a result of a type."""
        self.count += 1
        name = f"%t{self.count}"
        self.lines.append(f"  {name} = {instruction}")
        return Value(type, name, self)

    def constant(self, type: str, x: Operand) -> Value:
        """A number as a constant of a type (the same in all lanes of a vector)."""
        if isinstance(x, Value):
            return x
        lanes = lanes_of(type)
        if lanes:
            element = element_of(type)
            one = literal(element, x)
            if one in ("0", "0x0000000000000000"):
                return Value(type, "zeroinitializer", self)
            return Value(type, f"splat ({element} {one})", self)
        return Value(type, literal(type, x), self)

    def constants(self, element: str, xs: Sequence[Number]) -> Value:
        """A vector constant with these entries."""
        inside = ", ".join(f"{element} {literal(element, x)}" for x in xs)
        return Value(vector(len(xs), element), f"<{inside}>", self)

    def like(self, model: Value, x: Operand) -> Value:
        """A number as a constant of another value's type."""
        return x if isinstance(x, Value) else self.constant(model.type, x)

    def i64(self, x: Operand) -> Value:
        """An index."""
        return x if isinstance(x, Value) else Value(I64, str(int(x)), self)

    def arith(self, integer: str, floating: str, a: Value, b: Operand) -> Value:
        """A binary instruction, by the kind of type. Exact integer identities fold here."""
        b = self.like(a, b)
        if is_floating(a.type):
            return self.op(a.type, f"{floating} {a.type} {a.name}, {b.name}")
        if a.type == I64:
            folded = _fold(integer, a, b)
            if folded is not None:
                return folded
        return self.op(a.type, f"{integer} {a.type} {a.name}, {b.name}")

    def ashr(self, a: Value, b: Operand) -> Value:
        """Shift to the right that keeps the sign."""
        return self.op(a.type, f"ashr {a.type} {a.name}, {self.like(a, b)}")

    def compare(self, predicate: str, a: Value, b: Operand) -> Value:
        """`fcmp` or `icmp` with a predicate of LLVM (`olt`, `slt`, `ult`, `eq`, …)."""
        b = self.like(a, b)
        kind = "fcmp" if is_floating(a.type) else "icmp"
        return self.op(vector(a.lanes, I1), f"{kind} {predicate} {a.type} {a.name}, {b.name}")

    def select(self, condition: Value, a: Operand, b: Operand) -> Value:
        """`a` where the condition holds, else `b`; one of the two must be a `Value`."""
        if not isinstance(a, Value):
            assert isinstance(b, Value)
            a = self.like(b, a)
        b = self.like(a, b)
        if condition.name in ("true", "false"):
            return a if condition.name == "true" else b
        return self.op(
            a.type, f"select {condition.type} {condition.name}, {a.type} {a.name}, {b.type} {b}"
        )

    def cast(self, how: str, x: Value, type: str) -> Value:
        """A conversion instruction (`sitofp`, `fptrunc`, `bitcast`, `zext`, …)."""
        return x if x.type == type else self.op(type, f"{how} {x.type} {x.name} to {type}")

    def intrinsic(self, name: str, *args: Operand, extra: str = "") -> Value:
        """An overloaded intrinsic whose result and operands are of one type: `fma`, `sqrt` …"""
        first = next(a for a in args if isinstance(a, Value))
        t = first.type
        given = [f"{t} {self.like(first, a)}" for a in args]
        full = f"llvm.{name}.{mangled(t)}"
        kinds = [t] * len(args)
        if extra:
            given.append(extra)
            kinds.append(extra.split(" ", 1)[0])
        self.module.declare(full, t, kinds)
        return self.op(t, f"call {t} @{full}({', '.join(given)})")

    def fma(self, a: Value, b: Operand, c: Operand) -> Value:
        """a·b + c, rounded once."""
        return self.intrinsic("fma", a, b, c)

    def scale(self, x: Value, n: Value) -> Value:
        """x·2ⁿ rounded once, for int32 n (slow where no instruction does it)."""
        name = f"llvm.ldexp.{mangled(x.type)}.{mangled(n.type)}"
        self.module.declare(name, x.type, [x.type, n.type])
        return self.op(x.type, f"call {x.type} @{name}({x.type} {x}, {n.type} {n})")

    def smin(self, a: Value, b: Operand) -> Value:
        """The smaller of two signed integers."""
        if isinstance(b, int) and a.name.lstrip("-").isdigit():
            return self.like(a, min(int(a.name), b))
        return self.select(self.compare("slt", a, b), a, b)

    def smax(self, a: Value, b: Operand) -> Value:
        """The larger of two signed integers."""
        if isinstance(b, int) and a.name.lstrip("-").isdigit():
            return self.like(a, max(int(a.name), b))
        return self.select(self.compare("sgt", a, b), a, b)

    # -- vectors -----------------------------------------------------------------------------

    def splat(self, x: Value, lanes: int) -> Value:
        """A scalar in all lanes."""
        t = vector(lanes, x.type)
        one = self.op(t, f"insertelement {t} poison, {x.type} {x.name}, i64 0")
        return self.op(t, f"shufflevector {t} {one}, {t} poison, <{lanes} x i32> zeroinitializer")

    def shuffle(self, a: Value, b: Value | None, lanes: Sequence[int]) -> Value:
        """A vector of chosen lanes of `a` and `b` (numbered on from a's); -1 for any."""
        other = "poison" if b is None else b.name
        mask = ", ".join("i32 poison" if i < 0 else f"i32 {i}" for i in lanes)
        return self.op(
            vector(len(lanes), a.element),
            f"shufflevector {a.type} {a.name}, {a.type} {other}, <{len(lanes)} x i32> <{mask}>",
        )

    def extract(self, a: Value, lane: Operand) -> Value:
        """One entry of a vector."""
        return self.op(a.element, f"extractelement {a.type} {a.name}, i64 {self.i64(lane)}")

    def insert(self, a: Value, x: Value, lane: Operand) -> Value:
        """The vector with one entry replaced."""
        where = self.i64(lane)
        return self.op(a.type, f"insertelement {a.type} {a.name}, {x.type} {x.name}, i64 {where}")

    def first_lanes(self, count: Operand, lanes: int) -> Value:
        """The mask of the first `count` lanes."""
        if not isinstance(count, Value):
            return self.constants(I1, [i < count for i in range(lanes)])
        each = self.constants(I64, range(lanes))
        return self.compare("ult", each, self.splat(count, lanes))

    # -- memory ------------------------------------------------------------------------------

    def at(self, base: Value, index: Operand, type: str) -> Value:
        """The address of entry `index` of an array of a type."""
        if not isinstance(index, Value) and index == 0:
            return base
        return self.op(
            PTR, f"getelementptr inbounds {element_of(type)}, ptr {base}, i64 {self.i64(index)}"
        )

    def load(self, type: str, address: Value, align: int = 0) -> Value:
        """What stands at an address; aligned to its entries unless told more."""
        return self.op(type, f"load {type}, ptr {address}, align {align or alignment(type)}")

    def store(self, x: Value, address: Value, align: int = 0, hint: str = "") -> None:
        """Write a value to an address."""
        self.write(f"store {x.type} {x}, ptr {address}, align {align or alignment(x.type)}{hint}")

    def masked_load(self, type: str, address: Value, mask: Value, other: Operand = 0) -> Value:
        """Load the lanes of the mask; the rest are `other`, and their memory is not touched."""
        name = f"llvm.masked.load.{mangled(type)}.p0"
        self.module.declare(name, type, [PTR, mask.type, type])
        fill = self.constant(type, other)
        return self.op(
            type,
            f"call {type} @{name}(ptr align {alignment(type)} {address}, {mask.type} {mask}, "
            f"{type} {fill})",
        )

    def streamed_store(self, x: Value, address: Value) -> None:
        """Write a vector of at least 16 bytes to an address that is a multiple of 16, past the
        cache; a `fence` must follow before others read it."""
        lanes = max(1, 16 // size_of(x.type))
        for at in range(0, x.lanes, lanes):
            part = self.shuffle(x, None, range(at, at + lanes))
            where = self.at(address, at, x.element)
            self.store(part, where, 16, self.module.streaming())

    def fetch(self, address: Value, index: int, type: str) -> None:
        """Let entry `index` from an address on, if there is one, come to the second cache."""
        self.module.declare("llvm.prefetch.p0", "void", [PTR, I32, I32, I32])
        where = self.op(PTR, f"getelementptr {type}, ptr {address}, i64 {index}")
        self.write(f"call void @llvm.prefetch.p0(ptr {where}, i32 0, i32 2, i32 1)")

    def fence(self) -> None:
        """All that is written here is there before what follows."""
        self.write("fence seq_cst")

    def masked_store(self, x: Value, address: Value, mask: Value) -> None:
        """Store the lanes of the mask; the rest of the memory is not touched."""
        lanes = [i for i, lane in enumerate(mask.name.split(",")) if "true" in lane]
        if mask.name.startswith("<") and len(lanes) == 1:
            # LLVM turns a truncation that is stored so into a store of the wider number.
            one = self.extract(x, lanes[0])
            self.store(one, self.at(address, lanes[0], one.type))
            return
        name = f"llvm.masked.store.{mangled(x.type)}.p0"
        self.module.declare(name, "void", [x.type, PTR, mask.type])
        self.write(
            f"call void @{name}({x.type} {x}, ptr align {alignment(x.type)} {address}, "
            f"{mask.type} {mask})"
        )

    def gather(self, type: str, addresses: Value, mask: Value, other: Operand = 0) -> Value:
        """Load each lane of the mask from its own address."""
        name = f"llvm.masked.gather.{mangled(type)}.v{lanes_of(type)}p0"
        self.module.declare(name, type, [addresses.type, mask.type, type])
        fill = self.constant(type, other)
        return self.op(
            type,
            f"call {type} @{name}({addresses.type} align {alignment(type)} {addresses}, "
            f"{mask.type} {mask}, {type} {fill})",
        )

    def clear(self, address: Value, nbytes: Operand, align: int = 8) -> None:
        """Fill memory with zeros."""
        self.module.declare("llvm.memset.p0.i64", "void", [PTR, "i8", I64, I1])
        self.write(
            f"call void @llvm.memset.p0.i64(ptr align {align} {address}, i8 0, "
            f"i64 {self.i64(nbytes)}, i1 false)"
        )

    def copy(self, target: Value, source: Value, nbytes: Operand, align: int = 1) -> None:
        """Copy memory that does not overlap."""
        self.module.declare("llvm.memcpy.p0.p0.i64", "void", [PTR, PTR, I64, I1])
        self.write(
            f"call void @llvm.memcpy.p0.p0.i64(ptr align {align} {target}, "
            f"ptr align {align} {source}, i64 {self.i64(nbytes)}, i1 false)"
        )

    def variable(self, type: str, initial: Operand | None = None) -> Variable:
        """A variable; make it outside of the loop that uses it."""
        self.count += 1
        name = f"%v{self.count}"
        self.allocas.append(f"  {name} = alloca {type}")
        made = Variable(self, type, name)
        if initial is not None:
            made.set(initial)
        return made

    def buffer(self, count: int, type: str, align: int = 64) -> Value:
        """Fixed scratch memory on the stack."""
        self.count += 1
        name = f"%v{self.count}"
        self.allocas.append(f"  {name} = alloca [{count} x {type}], align {align}")
        return Value(PTR, name, self)

    @contextmanager
    def at_start(self) -> Iterator[None]:
        """What is written inside stands before all else in the function."""
        lines, self.lines = self.lines, self.first
        yield
        self.lines = lines

    # -- control -----------------------------------------------------------------------------

    def label(self, stem: str = "b") -> str:
        """A new label; place it with `place`."""
        self.count += 1
        return f"{stem}{self.count}"

    def place(self, label: str) -> None:
        """Start the block of a label."""
        self.lines.append(label + ":")
        self.block = label

    def jump(self, label: str) -> None:
        """Go to a block."""
        self.write(f"br label %{label}")

    def branch(self, condition: Value, then: str, other: str) -> None:
        """Go to one of two blocks."""
        self.write(f"br i1 {condition}, label %{then}, label %{other}")

    @contextmanager
    def loop(
        self, start: Operand, stop: Operand, step: Operand = 1, unroll: bool = False
    ) -> Iterator[Value]:
        """`for i in range(start, stop, step)` with a positive step; yields i."""
        static = isinstance(start, int) and isinstance(stop, int) and start < stop
        lo, hi = self.i64(start), self.i64(stop)
        before, head, after = self.label("pre"), self.label("loop"), self.label("end")
        self.jump(before)
        self.place(before)
        if static:
            self.jump(head)
        else:
            self.branch(self.compare("slt", lo, hi), head, after)
        self.place(head)
        self.count += 1
        i = Value(I64, f"%i{self.count}", self)
        slot = len(self.lines)
        self.lines.append("")
        yield i
        latch = self.label("next")
        self.jump(latch)
        self.place(latch)
        following = self.op(I64, f"add nuw nsw i64 {i}, {self.i64(step)}")
        self.lines[slot] = f"  {i} = phi i64 [{lo}, %{before}], [{following}, %{latch}]"
        more = self.compare("slt", following, hi)
        hint = "" if unroll else self.module.no_unroll()
        self.write(f"br i1 {more}, label %{head}, label %{after}{hint}")
        self.place(after)

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """`if condition:`."""
        then, after = self.label("then"), self.label("fi")
        self.branch(condition, then, after)
        self.place(then)
        yield
        self.jump(after)
        self.place(after)

    @contextmanager
    def choice(self, condition: Value) -> Iterator[tuple[str, str]]:
        """`if …: … else: …`: call `otherwise(labels)` between the two parts."""
        then, other, after = self.label("then"), self.label("else"), self.label("fi")
        self.branch(condition, then, other)
        self.place(then)
        yield other, after
        self.jump(after)
        self.place(after)

    def otherwise(self, labels: tuple[str, str]) -> None:
        """The `else` of a `choice`."""
        self.jump(labels[1])
        self.place(labels[0])

    def call(self, name: str, args: Sequence[Value], ret: str = "void") -> Value | None:
        """Call a function of this module, or a declared one."""
        given = ", ".join(f"{a.type} {a}" for a in args)
        if ret == "void":
            self.write(f"call void @{name}({given})")
            return None
        return self.op(ret, f"call {ret} @{name}({given})")

    def ret(self, value: Value | None = None) -> None:
        """End the function and add it to its module."""
        self.write("ret void" if value is None else f"ret {value.type} {value}")
        body = "\n".join([self.head, *self.allocas, *self.first, *self.lines, "}", ""])
        self.module.bodies[self.name] = body


def _fold(integer: str, a: Value, b: Value) -> Value | None:
    """Index arithmetic with constants, done here: less text for LLVM to read."""
    if b.name == "0" and integer in ("add", "sub", "or", "shl", "lshr"):
        return a
    if a.name == "0" and integer == "add":
        return b
    if integer == "mul" and "1" in (a.name, b.name):
        return b if a.name == "1" else a
    if integer == "mul" and "0" in (a.name, b.name):
        return Value(I64, "0", a.f)
    if integer == "udiv" and b.name == "1":
        return a
    if integer == "urem" and b.name == "1":
        return Value(I64, "0", a.f)
    if integer in ("add", "sub", "mul") and _is_number(a.name) and _is_number(b.name):
        x, y = int(a.name), int(b.name)
        return Value(I64, str({"add": x + y, "sub": x - y, "mul": x * y}[integer]), a.f)
    return None


def _is_number(name: str) -> bool:
    return name.lstrip("-").isdigit()
